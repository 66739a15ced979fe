"""The command line: verbs, flags, exit codes and errors."""

import csv
import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from photo_files import make_folder
from PIL import Image

import keras_wrn
from keras_wrn import cli
from keras_wrn.errors import Diverged, Stopped
from keras_wrn.scripts import recipe_paths

needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports need the TensorFlow backend"
)


def call(capsys, *args):
    """Run the command line; return exit code, output and the lines of the error output."""
    try:
        cli.main(list(args))
        code = 0
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    errors = [line for line in captured.err.splitlines() if line.startswith("keras-wrn: ")]
    return code, captured.out, errors


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("train", "digits_wrn10"), "did you mean 'digits_wrn10_1'?"),
        (("train", "absent.py"), "absent.py"),
        (("train", "digits_wrn10_1", "--epochs", "0"), "received 0"),
        (("train", "digits_wrn10_1", "--model.depth", "17"), "an integer 6 N + 4"),
        (("train", "cifar10_wrn16_2", "--data-dir", "absent"), "'absent' does not exist"),
        (("predict", "--model", "absent"), "Give either images or --data"),
        (("predict", "x.jpg", "--model", "absent"), "No such file or directory: x.jpg"),
        (("predict", "http://localhost/x.jpg", "--model", "absent"), "a Keras model"),
        (("evaluate", "absent"), "Expected a Keras model"),
        (("evaluate", "absent", "--data", "cifar10", "--data-dir", "nowhere"), "a Keras model"),
        (("list", "wrn_28"), "nothing matches 'wrn_28'"),
        (("export", "absent", "--integer-io"), "--integer-io is for"),
        (("export", "absent", "--format", "saved_model", "--precision", "int8"), "litert or onnx"),
        (
            ("export", "absent", "--format", "onnx", "--precision", "float16"),
            "of the format litert. Rec",
        ),
        (("report", "absent"), "no finished run below absent"),
    ],
)
def test_wrong_use_exits_with_2_and_one_line(capsys, tmp_path, monkeypatch, args, message):
    monkeypatch.chdir(tmp_path)
    code, _, errors = call(capsys, *args)
    assert code == 2
    assert len(errors) == 1
    assert message in errors[0]
    assert "[Errno" not in errors[0] and len(errors[0]) < 500
    assert "model.keras" not in {path.name for path in tmp_path.rglob("*")}


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((), ["train, study, evaluate"]),
        (("trian",), ["trian", "train, study, evaluate"]),
        (("train",), ["Missing", "RECIPE"]),
        (("train", "digits_wrn10_1", "--epohcs", "3"), ["--epohcs", "--epochs"]),
        (
            ("train", "digits_wrn10_1", "--epohcs", "3", "--optimizer.lr", "1"),
            ["--epohcs", "--optimizer.lr", "--epochs", "--optimizer.lr-multipliers"],
        ),
        (("predict", "a", "--modle", "x"), ["Missing", "--model", "Unrecognized", "--modle"]),
        (("list", "a", "b"), ["Unrecognized options: b"]),
        (("train", "digits_wrn10_1", "--epochs", "many"), ["--epochs", "base 10: 'many'"]),
        (("train", "digits_wrn10_1", "--precision", "int8"), ["--precision", "'int8'"]),
        (("export", "absent", "--format", "onxn"), ["--format", "'onxn'", "litert"]),
    ],
)
def test_flags_that_cannot_be_read_exit_with_2_and_say_which(capsys, monkeypatch, args, words):
    monkeypatch.setattr("keras_wrn.cli.run", lambda *args, **kwargs: pytest.fail("ran"))
    with pytest.raises(SystemExit) as stop:
        cli.main(list(args))
    said = " ".join(capsys.readouterr().err.translate({ord(x): " " for x in "│|"}).split())
    assert stop.value.code == 2 and said
    for word in words:
        assert word in said


def test_a_reader_that_stops_reading_is_no_error():
    listing = f"{sys.executable} -m keras_wrn list"
    command = ["bash", "-c", f"set -o pipefail; {listing} | head -1 > /dev/null"]
    said = subprocess.run(command, capture_output=True, text=True)
    assert said.returncode in (0, 141)
    assert "keras-wrn: error" not in said.stderr and "Traceback" not in said.stderr


def test_the_version(capsys):
    code, out, _ = call(capsys, "--version")
    assert code == 0 and out == f"keras-wrn {keras_wrn.__version__}\n"


def test_help_names_every_verb(capsys):
    code, out, _ = call(capsys, "--help")
    assert code == 0
    for verb in ("train", "study", "evaluate", "predict", "export", "convert", "report", "list"):
        assert f" {verb} " in out


@pytest.mark.parametrize(
    ("error", "code"), [(Diverged("nan"), 1), (Stopped(15, "x"), 143), (Stopped(2, "x"), 130)]
)
def test_a_failing_run_exits_with_its_code(capsys, monkeypatch, error, code):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr("keras_wrn.cli.run", fail)
    assert call(capsys, "train", "digits_wrn10_1")[0] == code


def test_flags_override_any_field(monkeypatch, tmp_path):
    received = {}
    monkeypatch.setattr(
        "keras_wrn.cli.run",
        lambda recipe, **options: received.update(options, r=recipe),
    )
    cli.main(
        ["train", "cifar10_wrn28_10", "--epochs", "30", "--optimizer.learning-rate", "0.05",
         "--model.dropout", "0.3", "--data.no-horizontal-flip", "--schedule.milestones", "0.5",
         "0.75", "--strategy", "none", "--run-dir", str(tmp_path), "--deterministic", "--resume"]
    )  # fmt: skip
    recipe = received["r"]
    assert (recipe.epochs, recipe.optimizer.learning_rate, recipe.model.dropout) == (30, 0.05, 0.3)
    assert recipe.optimizer.momentum == 0.9 and recipe.optimizer.reset_momentum_on_drop
    assert not recipe.data.horizontal_flip and recipe.schedule.milestones == (0.5, 0.75)
    assert recipe.strategy == "none" and recipe.deterministic
    assert received["run_dir"] == tmp_path and received["resume"] and not received["made_up"]


def test_help_explains_every_field_of_a_recipe(capsys):
    code, out, _ = call(capsys, "train", "cifar10_wrn28_10", "--help")
    assert code == 0
    for flag in ("--epochs", "--optimizer.learning-rate", "--data.cutout", "--schedule.kind",
                 "--run-dir", "--resume", "--smoke", "--data-dir", "--deterministic"):  # fmt: skip
        assert flag in out
    assert "Coupled weight decay" in out


def test_list_shows_networks_with_the_papers_errors_and_recipes(capsys):
    code, out, _ = call(capsys, "list")
    assert code == 0
    line = next(line for line in out.splitlines() if line.startswith("wrn_28_10"))
    assert "36,479,194" in line and "cifar10 4.00" in line and "cifar100 19.25" in line
    assert "svhn_wrn16_8" in out


@pytest.mark.parametrize("pattern", ["*", "wrn_16_*", "cifar100_*", "wrn_16_2.cifar10"])
def test_list_has_columns_and_no_empty_table(capsys, pattern):
    code, out, _ = call(capsys, "list", pattern)
    assert code == 0
    for table in out.rstrip("\n").split("\n\n"):
        header, *rows = table.splitlines()
        assert rows
        begin = header.rindex("  ") + 2  # of the last column
        for row in rows:
            assert row == row.rstrip()
            assert len(row) < begin or (row[begin - 2 : begin] == "  " and row[begin] != " ")
            assert row.split()[0] not in ("", header)


@pytest.mark.extra("tensorflow_serving")
def test_a_command_names_the_directory_to_serve(capsys, tmp_path, monkeypatch):
    exported = []

    def export_serving(network, directory, **settings):
        exported.append(directory)
        return directory / "models" / settings["name"] / "1"

    monkeypatch.setattr("keras_wrn.verbs.artifacts.export_serving", export_serving)
    arguments = ["export", "wrn_16_2.cifar10", "--format", "serving", "--out", str(tmp_path / "s")]
    code, out, _ = call(capsys, *arguments, "--name", "mine")
    assert (code, exported) == (0, [tmp_path / "s"])
    assert out == f"Exported serving to {tmp_path / 's'}: version 1 of mine\n"


def test_git_ignores_what_is_exported_but_for_what_ships():
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        pytest.skip("no checkout")
    names = "finetune_folder", "digits_wrn10_1", "cifar10_wrn16_2"
    paths = [f"saved_models/{name}/1/model.keras" for name in names]
    done = subprocess.run(["git", "check-ignore", *paths], cwd=root, capture_output=True, text=True)
    assert done.stdout.split() == paths[:2]


QUICK = {"cifar10_fast", "cifar10_wrn28_10", "digits_wrn10_1", "distill_wrn16_2"}


@needs_tensorflow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK))
        for name in sorted(recipe_paths())
    ],
)
def test_every_recipe_runs_its_smoke_test_without_data(capsys, tmp_path, monkeypatch, name):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "no data"))
    run_dir = tmp_path / "run"
    flags = ["--export.no-litert"] + ["--export.no-saved-model"] * (name != "digits_wrn10_1")
    code, _, errors = call(capsys, "train", name, "--smoke", "--run-dir", str(run_dir), *flags)
    assert (code, errors) == (0, [])
    summary = json.loads((run_dir / "summary.json").read_text())
    assert summary["recipe"] == f"{name}-smoke"
    assert (run_dir / "export" / "saved_model").is_dir() == (len(flags) == 1)
    assert not (run_dir / "export" / "model.tflite").exists()


@needs_tensorflow
def test_a_run_is_evaluated_predicted_exported_and_reported(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ["--epochs", "1", "--schedule.kind", "cosine", "--export.no-litert"]
    code, out, _ = call(capsys, "train", "digits_wrn10_1", "--run-dir", "runs/d", *flags)
    assert code == 0 and "% test error after 1 epoch; see runs/d\n" in out
    summary = json.loads((tmp_path / "runs/d/summary.json").read_text())

    code, out, _ = call(capsys, "evaluate", "runs/d", "--out", "evaluated")
    assert code == 0 and f"{summary['test_accuracy']:.2f} %" in out
    results = json.loads((tmp_path / "evaluated/results.json").read_text())
    assert results["accuracy"] == pytest.approx(summary["test_accuracy"])

    network = keras_wrn.load_model("runs/d")
    names = tuple("abcdefghij")
    network.preprocessing = dataclasses.replace(network.preprocessing, class_names=names)
    network.save("other.keras")
    code, out, errors = call(capsys, "evaluate", "other.keras", "--data", "digits")
    assert code == 0 and "classes are a, b, c, ..., and those of digits are 0, 1, 2" in errors[0]
    assert call(capsys, "predict", "absent.jpg", "--model", "runs/d")[::2] == (
        2, ["keras-wrn: error: No such file or directory: absent.jpg"],
    )  # fmt: skip

    images, _ = keras_wrn.data.load_arrays("digits", "test")
    (tmp_path / "photos/inside").mkdir(parents=True)
    for name in ("b.png", "inside/a.png"):
        Image.fromarray(images[0]).save(tmp_path / "photos" / name)
    for ending in ("csv", "json"):
        settings = ["--model", "runs/d", "--top-k", "2", "--out", f"out/found.{ending}"]
        code, out, _ = call(capsys, "predict", "photos", *settings)
        assert code == 0 and out.count("photos/") == 2
    with open("out/found.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["rank"]) for row in rows] == [
        ("photos/b.png", "1"), ("photos/b.png", "2"),
        ("photos/inside/a.png", "1"), ("photos/inside/a.png", "2"),
    ]  # fmt: skip
    found = json.loads((tmp_path / "out/found.json").read_text())
    assert [row["pred_class"] for row in found] == [rows[0]["class"], rows[2]["class"]]
    assert found[0]["top_k"][1]["class"] == rows[1]["class"]
    (tmp_path / "photos/bad.png").write_text("no image")
    settings = ["--model", "runs/d", "--out", "out/some.csv", "--show-dir", "some"]
    code, out, errors = call(capsys, "predict", "photos", *settings)
    assert code == 1 and "1 of 3 images cannot be classified" in errors[-1]
    assert "cannot be decoded" in (tmp_path / "out/some.csv").read_text()
    assert (tmp_path / "some/predictions.png").is_file()
    code, _, errors = call(capsys, "predict", "photos", "--model", "runs/d", "--out", "x.txt")
    assert code == 2 and "ends in .json or .csv" in errors[-1]
    (tmp_path / "empty").mkdir()
    code, _, errors = call(capsys, "predict", "empty", "--model", "runs/d")
    assert code == 2 and "no image files below empty" in errors[-1]

    code, out, _ = call(capsys, "predict", "--model", "runs/d", "--data", "digits",
                        "--count", "5", "--show-dir", "pictures")  # fmt: skip
    assert code == 0 and out.count("(true: ") == 5
    assert (tmp_path / "pictures/predictions.png").read_bytes().startswith(b"\x89PNG")

    lower = ["--precision", "int8", "float16", "--top-k", "3", "--no-fold-batch-norm"]
    for version, settings in (("1", ["--precision", "float32"]), ("2", [*lower, "--integer-io"])):
        code, out, _ = call(capsys, "export", "runs/d", *settings)
        assert code == 0
        folder = tmp_path / "saved_models/digits_wrn10_1" / version
        lite = ["model"] if version == "1" else ["model_float16", "model_int8"]
        lite = {f"{name}.{ending}" for name in lite for ending in ("tflite", "json")}
        assert {path.name for path in folder.iterdir()} == {
            "saved_model.pb", "fingerprint.pb", "variables", "assets", "assets.extra",
            "model.keras", "README.md", *lite,
        }  # fmt: skip
    card = (folder / "README.md").read_text()
    assert f"| test error | {summary['test_error']:.2f} % of 360 test images" in card
    assert "1 epochs, seed 0" in card and "77,850 parameters" in card
    int8 = json.loads((folder / "model_int8.json").read_text())
    assert int8["precision"] == "int8" and int8["integer_io"]
    import tensorflow as tf

    folded, plain = (tf.saved_model.load(str(folder.parent / version)) for version in "12")
    shapes = [m.signatures["classify"].structured_outputs["scores"].shape for m in (folded, plain)]
    assert [shape[1] for shape in shapes] == [5, 3]
    assert len(folded.model_variables) < len(plain.model_variables)
    assert {path.name for path in folder.parent.iterdir()} == {"1", "2"}

    readme = tmp_path / "README.md"
    readme.write_text("a\n<!-- results: begin -->\nold\n<!-- results: end -->\nb\n")
    assert call(capsys, "report", "runs", "--readme", str(readme))[0] == 0
    text = readme.read_text()
    assert text.startswith("a\n") and text.endswith("\nb\n") and "old" not in text
    assert f"| {summary['test_error']:.2f} |" in text and "`digits_wrn10_1`" in text


@needs_tensorflow
@pytest.mark.extra("tf2onnx", "onnxruntime", "tensorflow_serving")
def test_a_run_is_exported_for_onnx_and_for_a_server(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ["--epochs", "1", "--schedule.kind", "cosine", "--export.no-litert"]
    assert call(capsys, "train", "digits_wrn10_1", "--run-dir", "runs/d", *flags)[0] == 0

    settings = ["--format", "onnx", "--precision", "int8", "--out", "integers"]
    assert call(capsys, "export", "runs/d", *settings)[0] == 0
    names = {path.name for path in (tmp_path / "integers/1").iterdir()}
    assert names == {"model_int8.onnx", "model.keras", "README.md"}

    settings = ["--format", "serving", "--out", "served", "--name", "digits"]
    assert call(capsys, "export", "runs/d", *settings)[0] == 0
    assert (tmp_path / "served/models/digits/1/saved_model.pb").is_file()
    settings = ["--format", "saved_model", "serving", "--max-batch-size", "1"]
    assert call(capsys, "export", "runs/d", *settings)[0] == 0
    folder = tmp_path / "saved_models/digits_wrn10_1"
    beside = folder / "serving/models/digits_wrn10_1/1/batching_params.pbtxt"
    assert "max_execution_batch_size { value: 1 }" in beside.read_text()
    assert {path.name for path in folder.iterdir()} == {"1", "serving"}


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("a class without images", "none in dog"),
        ("one class", "at least 2 sub-folders"),
        ("a link to itself", "train/owl is a link that leads nowhere"),
        ("a missing file", r"lists files that are not there: 1 \(gone\.jpg\)"),
        ("a file twice", r"Received twice: 1 \(train/cat/00\.jpg\)"),
        ("an unknown class", r"with owl, of which there are none in train/"),
        ("an unprepared version", r"cannot open 'pets:9\.0\.0'"),
    ],
)
def test_photos_that_cannot_be_trained_on_end_with_2_before_training(
    capsys, tmp_path, monkeypatch, what, words
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(keras.Model, "fit", lambda *args, **kwargs: pytest.fail("trained"))
    make_folder(tmp_path, count=2, splits=("train", "val"))
    rows, data = ["train/cat/00.jpg,cat", "train/dog/00.jpg,dog"], "."
    if what in ("a class without images", "one class"):
        shutil.rmtree("train/dog")
    if what == "a class without images":
        Path("train/dog").mkdir()
    if what == "a link to itself":
        Path("train/owl").symlink_to(tmp_path / "train/owl")
    if what == "a missing file":
        rows += ["gone.jpg,cat"]
    if what == "a file twice":
        rows += rows[:1]
    if what == "an unknown class":
        Path("val/dog").rename("val/owl")
    if what.endswith(("file", "twice")):
        data = "list.csv"
        Path(data).write_text("\n".join(["path,label", *rows]))
    if what == "an unprepared version":
        data = "tfds:pets:9.0.0"
    flags = ["--data.dataset", data, "--data.image-size", "32", "--model.name", "wrn_10_1"]
    code, _, errors = call(capsys, "train", "finetune_folder", *flags)
    assert code == 2 and len(errors) == 1
    assert re.search(words, errors[0])
    assert not Path("runs").exists() or not list(Path("runs").glob("*/recipe.json"))
