"""`keras-wrn predict`: no odd file ends it, and what it found is kept."""

import csv
import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_wrn
from keras_wrn import cli

SHIPPED = Path(__file__).parents[1] / "saved_models" / "cifar10_wrn16_2" / "1"
GREY = {"black": 0, "grey": 128, "white": 255}


def call(capsys, *args):
    try:
        cli.main(["predict", *map(str, args)])
        code = 0
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    return code, captured.out.splitlines(), captured.err


def grey_model(path, names=tuple(GREY)):
    """A file of a model that tells black, grey and white apart."""
    inputs = keras.Input((4, 4, 3))
    mean = keras.layers.GlobalAveragePooling2D()(inputs)
    dense = keras.layers.Dense(3, "softmax")
    model = keras_wrn.models.ImageModel(inputs, dense(mean))
    # Logits 20 (c x - c^2 / 2), the highest of which is that of the nearest c.
    levels = np.array([0, 0.5, 1])
    dense.set_weights([np.tile(20 * levels / 3, (3, 1)), -10 * levels**2])
    model.preprocessing = keras_wrn.Preprocessing(4, class_names=names)
    model.save(path)
    return path


def save(path, shade):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (5, 5), (GREY[shade],) * 3).save(os.fsencode(path), "PNG")


@pytest.fixture
def model(tmp_path):
    return grey_model(tmp_path / "grey.keras")


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_odd_files_leave_the_others_their_answers(tmp_path, capsys, model):
    photos = tmp_path / "photos"
    for name in ("a", "y", "z"):
        save(photos / f"{name}.png", "white")
    (photos / "b.png").write_bytes(b"DDS " + bytes(200))
    (photos / "c.png").write_bytes(b"")
    (photos / "d.png").mkdir()
    (photos / "e.png").symlink_to("d.png")
    code, out, err = call(capsys, photos, "--model", model, "--out", tmp_path / "found.csv")
    assert code == 1 and "2 of 5 images cannot be classified" in err
    rows = read(tmp_path / "found.csv")
    assert [Path(row["image"]).name for row in rows] == [f"{x}.png" for x in "abcyz"]
    assert [row["class"] for row in rows] == ["white", "", "", "white", "white"]
    assert all("cannot be decoded" in row["error"] for row in rows[1:3])
    assert sum("white" in line for line in out) == 3 and sum("cannot" in line for line in out) == 2


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_a_name_that_is_not_unicode_does_not_lose_the_results(tmp_path, capsys, model, ending):
    odd = os.fsdecode(b"caf\xe9\n.png")
    save(tmp_path / "photos" / odd, "black")
    save(tmp_path / "photos" / "d.png", "white")
    (tmp_path / "photos" / os.fsdecode(b"\xe9.png")).write_text("no image")
    found = tmp_path / f"found.{ending}"
    code, out, _ = call(capsys, tmp_path / "photos", "--model", model, "--out", found)
    assert code == 1
    text = found.read_text(encoding="utf-8")
    rows = read(found) if ending == "csv" else json.loads(text)
    assert [Path(row["image"]).name for row in rows] == [r"caf\xe9\n.png", "d.png", r"\xe9.png"]
    assert r"\xe9.png; it cannot be decoded" in rows[2]["error"]
    "\n".join(out).encode()
    assert r"caf\xe9\n.png" in out[0] and "black" in out[0]
    # The picture too.
    code, out, _ = call(capsys, tmp_path / "photos", "--model", model, "--show-dir", tmp_path)
    assert (tmp_path / "predictions.png").is_file()


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_results_are_written_as_they_come(tmp_path, capsys, model, monkeypatch, ending):
    for i in range(5):
        save(tmp_path / "photos" / f"{i}.png", "white")
    found = tmp_path / "new" / f"found.{ending}"
    found.parent.mkdir()
    found.write_text("of an earlier run")
    part = found.with_name(f"{found.name}.part")
    monkeypatch.setattr("keras_wrn.inference.BATCH", 2)
    real, asked = keras_wrn.inference.inference_model, []

    def inference_model(*args, **settings):
        asked.append(part.read_text())
        if len(asked) == 3:
            raise RuntimeError("the machine is gone")
        return real(*args, **settings)

    monkeypatch.setattr("keras_wrn.inference.inference_model", inference_model)
    with pytest.raises(RuntimeError, match="the machine is gone"):
        cli.main(["predict", str(tmp_path / "photos"), "--model", str(model), "--out", str(found)])
    assert [text.count("white") > 0 for text in asked] == [False, True, True]
    assert f"the results so far are in {part}" in capsys.readouterr().err
    rows = read(part) if ending == "csv" else json.loads(part.read_text())
    assert [Path(row["image"]).name for row in rows] == ["0.png", "1.png", "2.png", "3.png"]
    assert found.read_text() == "of an earlier run"
    monkeypatch.undo()
    assert call(capsys, tmp_path / "photos", "--model", model, "--out", found)[0] == 0
    assert not part.exists()
    assert len(read(found) if ending == "csv" else json.loads(found.read_text())) == 5


def test_a_place_that_cannot_be_written_to_is_said_first(tmp_path, capsys, model, monkeypatch):
    monkeypatch.setattr("keras_wrn.inference.inference_model", None)
    save(tmp_path / "a.png", "white")
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "found.csv"
    code, _, err = call(capsys, tmp_path / "a.png", "--model", model, "--out", out)
    assert code == 2 and str(tmp_path / "file") in err


def test_a_spreadsheet_computes_nothing_of_a_table(tmp_path, capsys, monkeypatch):
    names = ('=HYPERLINK("http://x","y")', "+", "@sum")
    monkeypatch.chdir(tmp_path)
    model = grey_model("grey.keras", names)
    for name, shade in (("=cmd.png", "black"), ("-1.png", "grey"), ("b.png", "white")):
        save(Path(name), shade)
    images = ["./=cmd.png", "=cmd.png", "@no.png", "b.png"]
    Path("@no.png").write_text("")
    call(capsys, *images, "--model", model, "--out", "found.csv", "--top-k", 3)
    cells = [cell for row in read("found.csv") for cell in row.values()]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    assert "'" + names[0] in cells and "'@no.png" in cells and "b.png" in cells
    found = call(capsys, *images, "--model", model, "--out", "found.json")
    rows = json.loads(Path("found.json").read_text())
    assert rows[1]["image"] == "=cmd.png" and rows[1]["pred_class"] == names[0]
    assert found[0] == 1


def test_images_in_folders_of_classes_are_marked(tmp_path, capsys, model):
    save(tmp_path / "val" / "black" / "a.png", "black")
    save(tmp_path / "val" / "white" / "b.png", "grey")
    save(tmp_path / "val" / "white" / "more" / "c.png", "white")
    (tmp_path / "val" / "white" / "d.png").write_text("no image")
    save(tmp_path / "e.png", "white")
    found = tmp_path / "found.csv"
    flags = ["--model", model, "--out", found, "--show-dir", tmp_path / "shown"]
    code, out, _ = call(capsys, tmp_path / "val", tmp_path / "e.png", *flags)
    assert code == 1
    true, false = "(true: white)  right", "(true: white)  wrong"
    ends = [
        "(true: black)  right",
        false,
        "no known image format  (true: white)",
        true,
        "white 0.924",
    ]
    for line, end in zip(out, ends, strict=False):
        assert line.endswith(end)
    assert "2 of 3 right (66.7 %)" in out
    assert [row["true"] for row in read(found)] == ["black", "white", "white", "white", ""]
    red = np.asarray(Image.open(tmp_path / "shown" / "predictions.png").convert("RGB")).astype(int)
    assert (red[..., 0] > red[..., 1:].max(-1) + 100).sum() > 20
    # The folders of classes one by one.
    out = call(capsys, tmp_path / "val" / "black", tmp_path / "val" / "white", *flags[:2])[1]
    assert "2 of 3 right (66.7 %)" in out
    # Folders of another kind.
    (tmp_path / "val" / "black").rename(tmp_path / "val" / "2024")
    (tmp_path / "val" / "white").rename(tmp_path / "val" / "2025")
    code, out, _ = call(capsys, tmp_path / "val", *flags)
    assert not any("true" in line or "right" in line for line in out)
    assert "true" not in read(found)[0]


def test_images_of_a_dataset_are_marked(tmp_path, capsys):
    code, out, _ = call(
        capsys, "--model", SHIPPED / "model.keras", "--data", "digits", "--count", 3
    )
    assert code == 0 and len(out) == 4 and "of 3 right" in out[-1]
    assert all("(true: " in line and line.endswith(("right", "wrong")) for line in out[:3])


def test_a_terminal_without_the_letters_of_a_name_ends_nothing(tmp_path, run_python):
    model = grey_model(tmp_path / "grey.keras", ("caf\u00e9", "\u732b", "white"))
    save(tmp_path / "a.png", "grey")
    code = "import sys; from keras_wrn import cli; cli.main(sys.argv[1:])"
    args = ["predict", tmp_path / "a.png", "--model", model]
    out = run_python(code, *args, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert r"\u732b 0." in out


def test_files_left_out_are_counted_in_one_line(tmp_path, capsys, model):
    save(tmp_path / "photos" / "a.png", "white")
    for name in ("b.jfif", "c.tif", ".hidden", ".ipynb_checkpoints/a.png"):
        (tmp_path / "photos" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "photos" / name).write_text("")
    code, out, err = call(capsys, tmp_path / "photos", "--model", model)
    assert code == 0 and len(out) == 1
    notes = [line for line in err.splitlines() if "left out" in line]
    assert len(notes) == 1 and "2 files were left out: 1 .jfif, 1 .tif; images end in" in notes[0]
    (tmp_path / "photos" / "a.png").unlink()
    code, out, err = call(capsys, tmp_path / "photos", "--model", model)
    assert code == 2 and "no image files below" in err and "1 .jfif, 1 .tif" in err


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="needs TensorFlow")
def test_the_command_takes_exported_files(tmp_path, capsys):
    generator = np.random.default_rng(0)
    for name in ("airplane", "cat"):
        (tmp_path / name).mkdir()
        for i in range(2):
            pixels = generator.integers(0, 256, (40, 50, 3), dtype="uint8")
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    found = [
        call(capsys, tmp_path, "--model", SHIPPED / name)[1]
        for name in ("model.keras", "model.tflite")
    ]
    assert found[0] == found[1] and "of 4 right" in found[0][-1]
    measured = []
    for name in ("model.keras", "model.tflite", ""):
        cli.main(["evaluate", str(SHIPPED / name), "--data", str(tmp_path)])
        measured.append(capsys.readouterr().out.splitlines())
    assert measured[1] == [f"measured  the LiteRT file {SHIPPED}/model.tflite", *measured[0]]
    assert measured[2][0] == f"measured  the SavedModel {SHIPPED}"
    with pytest.raises(SystemExit):
        cli.main(["evaluate", str(SHIPPED)])
    assert "is no run directory: give --data" in capsys.readouterr().err
