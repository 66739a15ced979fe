"""A recipe becomes a run directory: what it holds, and how a run ends early."""

import dataclasses
import json
import shutil
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from tiny import PLAIN, TINY, stop_at, weights

from keras_wrn.errors import CheckpointError, Stopped
from keras_wrn.runs import checkpoint
from keras_wrn.scripts import load_recipe
from keras_wrn.training import DataConfig, Recipe, devices
from keras_wrn.training import callbacks as run_callbacks
from keras_wrn.training.placement import Placement
from keras_wrn.training.run import run

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports need the TensorFlow backend"
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "straight"
    return run_dir, run(TINY, run_dir=run_dir, made_up=True)


def test_directory_holds_what_makes_the_number_believable(finished):
    run_dir, summary = finished
    stored = json.loads((run_dir / "summary.json").read_text())
    assert stored == summary
    assert {"recipe", "seed", "epochs", "test_error", "test_accuracy", "params", "flops",
            "seconds", "precision", "devices", "versions", "data"} <= set(summary)  # fmt: skip
    assert summary["test_error"] == pytest.approx(100 - summary["test_accuracy"])
    assert 0 < summary["nll"] < 5 and 0 <= summary["ece"] <= 100 and 0 < summary["brier"] < 2
    assert "pixels" not in summary["data"]  # these are made up
    assert summary["params"] == 77_850
    assert summary["flops"] == 6 * 12_501_632 * 64 * 2
    assert Recipe.from_json((run_dir / "recipe.json").read_text()).model.depth == 10
    lines = [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert [line["step"] for line in lines] == [4, 8]
    for key in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds",
                "images_per_second"):  # fmt: skip
        assert all(key in line for line in lines)
    # 8 steps, 2 of them up: the last one of the straight line down is a sixth of the peak
    assert lines[-1]["learning_rate"] == pytest.approx(0.05 / 6, abs=1e-6)
    assert (run_dir / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((run_dir / "tensorboard").rglob("events*"))
    assert "keras" in json.loads((run_dir / "versions.json").read_text())
    assert (run_dir / "export" / "saved_model" / "saved_model.pb").exists()
    assert (run_dir / "export" / "model.tflite").exists()


def test_trained_model_carries_its_preprocessing_and_ends_in_probabilities(finished):
    run_dir, _ = finished
    model = keras.models.load_model(run_dir / "model.keras")
    assert model.preprocessing.class_names == tuple("0123456789")
    images = np.zeros((2, 32, 32, 3), "uint8")
    outputs = model.predict(model.preprocessing.normalize(images), verbose=0)
    np.testing.assert_allclose(outputs.sum(axis=1), 1, rtol=1e-5)


def test_finished_run_is_not_trained_again(finished, capsys):
    run_dir, summary = finished
    before = (run_dir / "model.keras").stat().st_mtime_ns
    assert run(TINY, run_dir=run_dir, made_up=True, resume=True) == summary
    assert (run_dir / "model.keras").stat().st_mtime_ns == before


def test_same_seed_same_run_other_seed_other_run(finished, tmp_path):
    again = run(PLAIN, run_dir=tmp_path / "again", made_up=True)
    assert again["last_epoch"]["loss"] == finished[1]["last_epoch"]["loss"]
    other = dataclasses.replace(PLAIN, seed=1)
    other = run(other, run_dir=tmp_path / "other", made_up=True)
    assert other["last_epoch"]["loss"] != finished[1]["last_epoch"]["loss"]


# Each epoch has 4 steps and an evaluation of one batch. A lone CPU has no strategy, a lone GPU has.
@pytest.mark.parametrize(
    ("where", "step", "strategy"),
    [
        pytest.param("train", 1, "mirrored", marks=pytest.mark.slow),
        pytest.param("train", 4, "mirrored", marks=pytest.mark.slow),
        ("train", 6, "mirrored"),
        pytest.param("train", 3, "none", marks=pytest.mark.slow),
        pytest.param("test", 1, "mirrored", marks=pytest.mark.slow),
        ("test", 2, "none"),
    ],
)
def test_a_stopped_run_continues_as_if_never_stopped(
    finished, tmp_path, monkeypatch, where, step, strategy
):
    recipe = dataclasses.replace(PLAIN, strategy=strategy)
    made = []
    if strategy == "mirrored":
        import tensorflow as tf

        def make(name):
            made.append(tf.distribute.MirroredStrategy(["CPU:0"]))
            return made[-1]

        monkeypatch.setattr(devices, "make_strategy", make)
    run_dir = tmp_path / "stopped"
    handler = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch, pytest.raises(Stopped) as stopped:
        stop_at(patch, where, step)
        run(recipe, run_dir=run_dir, made_up=True)
    assert len(made) == (strategy == "mirrored")
    assert stopped.value.signum == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == handler
    summary = run(recipe, run_dir=run_dir, made_up=True, resume=True)
    for straight, resumed in zip(weights(finished[0]), weights(run_dir), strict=True):
        np.testing.assert_array_equal(straight, resumed)
    timed = {"seconds", "images_per_second"}
    for a, b in zip(
        (finished[0] / "log.jsonl").read_text().splitlines(),
        (run_dir / "log.jsonl").read_text().splitlines(),
        strict=True,
    ):
        a, b = json.loads(a), json.loads(b)
        assert {k: v for k, v in a.items() if k not in timed} == {
            k: v for k, v in b.items() if k not in timed
        }
    assert summary["test_error"] == finished[1]["test_error"]


def test_only_a_second_ctrl_c_ends_at_once(monkeypatch, capsys):
    callback = run_callbacks.RunCallback(None, None, 4, 16, 0, {}, Placement())
    callback.handlers = {}
    for _ in range(2):  # launchers send SIGTERM to the whole group, and again
        callback._on_signal(signal.SIGTERM, None)
    assert callback.signum == signal.SIGTERM
    assert capsys.readouterr().out.count("saving and stopping") == 1
    with pytest.raises(KeyboardInterrupt):
        callback._on_signal(signal.SIGINT, None)


def test_a_finished_run_is_not_that_of_another_recipe(finished):
    changed = dataclasses.replace(PLAIN, label_smoothing=0.1)
    with pytest.raises(ValueError, match=r"label_smoothing was 0\.0, is 0\.1"):
        run(changed, run_dir=finished[0], made_up=True, resume=True)


DETERMINISTIC = """
import dataclasses, sys
from tiny import PLAIN
from keras_wrn.training.run import run
data = dataclasses.replace(PLAIN.data, mixup=0.2, cutmix=1.0, cutout=8, rand_augment=0.5)
recipe = dataclasses.replace(PLAIN, data=data, deterministic=True, precision="auto")
run(recipe, run_dir=sys.argv[1], made_up=True)
"""


@pytest.mark.slow
def test_deterministic_reruns_are_bit_identical(tmp_path, run_python):
    for name in ("a", "b"):
        run_python(DETERMINISTIC, tmp_path / name, OMP_NUM_THREADS="2")
    for a, b in zip(weights(tmp_path / "a"), weights(tmp_path / "b"), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_the_quickstart_reaches_its_accuracy(tmp_path):
    recipe = load_recipe("digits_wrn10_1")
    summary = run(recipe, run_dir=tmp_path / "run")
    assert summary["data"]["test_images"] == 360 and summary["test_accuracy"] >= 98


def test_a_second_smoke_run_takes_the_place_of_the_first(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_dir = tmp_path / "runs" / f"{PLAIN.name}-smoke-seed0"
    shutil.copytree(finished[0], run_dir)
    (run_dir / "note").write_text("of the first")
    assert run(PLAIN, made_up=True)["recipe"] == f"{PLAIN.name}-smoke"
    assert not (run_dir / "note").exists()
    (run_dir / "summary.json").unlink()  # one that did not finish may still run
    with pytest.raises(FileExistsError):
        run(PLAIN, made_up=True)


def test_resume_with_another_recipe_lists_the_differences(finished, tmp_path):
    run_dir = tmp_path / "copy"
    shutil.copytree(finished[0], run_dir)
    (run_dir / "summary.json").unlink()
    changed = dataclasses.replace(PLAIN, model=dataclasses.replace(PLAIN.model, dropout=0.5))
    with pytest.raises(ValueError, match=r"model\.dropout was 0\.2, is 0\.5"):
        run(changed, run_dir=run_dir, made_up=True, resume=True)


def test_a_changed_recipe_goes_on_where_told_and_the_summary_says_so(finished, tmp_path):
    run_dir = tmp_path / "copy"
    shutil.copytree(finished[0], run_dir)
    changed = dataclasses.replace(PLAIN, label_smoothing=0.1)
    settings = {"run_dir": run_dir, "made_up": True, "resume": True, "allow_changes": True}
    with pytest.raises(ValueError, match=r"label_smoothing was .* It is finished"):
        run(changed, **settings)
    (run_dir / "summary.json").unlink()
    for path in sorted((run_dir / "checkpoints").iterdir())[1:]:
        path.unlink()
    with pytest.raises(ValueError, match=r"cannot go on with data\.dataset was"):
        run(dataclasses.replace(PLAIN, data=DataConfig("cifar100")), **settings)
    other = dataclasses.replace(PLAIN, model=dataclasses.replace(PLAIN.model, block="B11"))
    with pytest.raises(ValueError, match=r"cannot go on with model\.block was 'B33', is 'B11'"):
        run(other, **settings)
    assert json.loads((run_dir / "recipe.json").read_text())["label_smoothing"] == 0
    checkpoints = checkpoint.Checkpoints(run_dir / "checkpoints")
    state = checkpoints.read()
    del state["step"]
    checkpoints.save(state, 12)
    with pytest.raises(ValueError, match=r"at least the 3 that .* behind it\. Received: 2"):
        run(changed, **settings)
    checkpoints.paths()[-1].unlink()
    summary = run(changed, **settings)
    expected = {"after_step": 4, "changes": ["label_smoothing was 0.0, is 0.1"]}
    assert summary["changes"] == [expected]
    assert json.loads((run_dir / "recipe.json").read_text())["label_smoothing"] == 0.1
    assert "changes" not in finished[1]


def test_damaged_checkpoint_falls_back_to_the_one_before(finished, tmp_path, capsys):
    run_dir = tmp_path / "copy"
    shutil.copytree(finished[0], run_dir)
    (run_dir / "summary.json").unlink()
    newest = sorted((run_dir / "checkpoints").iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    summary = run(PLAIN, run_dir=run_dir, made_up=True, resume=True)
    assert f"{newest} is damaged" in capsys.readouterr().out
    assert summary["test_error"] == finished[1]["test_error"]
    for path in (run_dir / "checkpoints").iterdir():
        path.write_bytes(b"")
    (run_dir / "summary.json").unlink()
    with pytest.raises(CheckpointError, match="No checkpoint can be read"):
        run(PLAIN, run_dir=run_dir, made_up=True, resume=True)


def test_trains_on_digits_with_a_validation_split(tmp_path):
    data = dataclasses.replace(PLAIN.data, validation=200)
    recipe = dataclasses.replace(PLAIN, data=data, epochs=1, batch_size=128)
    summary = run(recipe, run_dir=tmp_path / "run")
    assert summary["data"] == {
        "dataset": "digits", "train_images": 1237, "test_images": 200, "split": "validation",
    }  # fmt: skip


def test_command_line_stops_on_sigterm_with_143_and_resumes(tmp_path):
    command = [sys.executable, "-m", "keras_wrn", "train", "digits_wrn10_1", "--epochs", "40",
               "--schedule.warmup", "0.1", "--run-dir", str(tmp_path / "run")]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("Epoch 2/"):
            break
    process.send_signal(signal.SIGTERM)
    process.stdout.read()
    assert process.wait(120) == 143
    assert list((tmp_path / "run" / "checkpoints").iterdir())
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 2
    assert "is not empty" in again.stderr.splitlines()[-1]
