"""What runs survive, and what they say of what they do not: kills, bit flips, disks, memory."""

import dataclasses
import errno
import json
import shutil
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image
from tiny import PLAIN

from keras_wrn.errors import DataError, RunError
from keras_wrn.runs import checkpoint
from keras_wrn.runs import files as run_files
from keras_wrn.runs.directory import locked
from keras_wrn.training import DataConfig, callbacks
from keras_wrn.training.run import run

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports need the TensorFlow backend"
)
EPOCHS, STEPS = 6, 4

# Runs with dropout and all augmentation, and dies by SIGKILL after a step where it is told to.
RUN = """
import dataclasses, os, signal, sys
import tensorflow as tf
directory, replicas, kill = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
from tiny import PLAIN
from keras_wrn.training import callbacks
from keras_wrn.recipe import ExportConfig
from keras_wrn.training.run import run
end = callbacks.RunCallback.on_train_batch_end
def die(self, batch, logs=None):
    end(self, batch, logs)
    if self.step == kill:
        os.kill(os.getpid(), signal.SIGKILL)
callbacks.RunCallback.on_train_batch_end = die
data = dataclasses.replace(PLAIN.data, mixup=0.2, cutmix=1.0, cutout=8, rand_augment=0.5)
recipe = dataclasses.replace(
    PLAIN, data=data, deterministic=True, epochs=6, batch_size=358,
    export=ExportConfig(saved_model=False, litert=False),
)
run(recipe, run_dir=directory, resume=True)
"""


def results(run_dir):
    """The weights of a run, and its log without what the clock says."""
    model = keras.models.load_model(run_dir / "model.keras")
    lines = [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]
    for line in lines:
        del line["seconds"], line["images_per_second"]
    return model.get_weights(), lines


def check_kills(run_python, tmp_path, replicas, kills):
    run_python(RUN, tmp_path / "straight", replicas, 0, OMP_NUM_THREADS="2")
    for kill in kills:
        with pytest.raises(AssertionError):  # the process ends by the signal
            run_python(RUN, tmp_path / "killed", replicas, kill, OMP_NUM_THREADS="2")
        assert not (tmp_path / "killed" / "summary.json").exists()
    run_python(RUN, tmp_path / "killed", replicas, 0, OMP_NUM_THREADS="2")
    straight, killed = results(tmp_path / "straight"), results(tmp_path / "killed")
    for a, b in zip(straight[0], killed[0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert straight[1] == killed[1] and len(killed[1]) == EPOCHS


@pytest.mark.large
@pytest.mark.parametrize("replicas", [1, 2])
def test_a_run_killed_ten_times_ends_as_if_never_killed(run_python, tmp_path, replicas):
    # Each in the part of the run that is still ahead, or the run would not come so far.
    generator = np.random.default_rng(replicas)
    kills = np.sort(generator.choice(np.arange(1, EPOCHS * STEPS), 10, replace=False))
    check_kills(run_python, tmp_path, replicas, [int(kill) for kill in kills])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("failures") / "run"
    run(PLAIN, run_dir=run_dir, made_up=True)
    return run_dir


def test_images_that_become_unreadable_in_mid_run_do_not_end_it(tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            for i in range(8):
                pixels = generator.integers(0, 256, (16, 16, 3), dtype="uint8")
                Image.fromarray(pixels).save(tmp_path / "photos" / split / name / f"{i}.png")
    data = DataConfig(dataset=str(tmp_path / "photos"), image_size=16, crop_padding=0)
    recipe = dataclasses.replace(PLAIN, data=data, batch_size=8, epochs=3)
    damaged = tmp_path / "photos" / "train" / "dog" / "3.png"
    write = callbacks.RunLog.write

    def damage(log, line):
        write(log, line)
        damaged.write_bytes(b"no image")

    monkeypatch.setattr(callbacks.RunLog, "write", damage)
    assert run(recipe, run_dir=tmp_path / "run")["epochs"] == 3
    # Where the run has to start again, the file is named, and the checkpoints stay.
    (tmp_path / "run" / "summary.json").unlink()
    kept = sorted((tmp_path / "run" / "checkpoints").iterdir())
    with pytest.raises(DataError, match=r"dog/3\.png"):
        run(recipe, run_dir=tmp_path / "run", resume=True)
    assert sorted((tmp_path / "run" / "checkpoints").iterdir()) == kept and kept


def test_a_flipped_bit_anywhere_is_found(tmp_path, capsys):
    checkpoints = checkpoint.Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.save({"model:0000:kernel": np.full((2, 3), step, "float32")}, step)
    older, newest = checkpoints.paths()
    assert checkpoints.read()["step"] == 2
    data = newest.read_bytes()
    for place in range(len(data)):
        newest.write_bytes(data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :])
        assert checkpoints.read()["step"] == 1, place
    for length in range(0, len(data), 50):
        newest.write_bytes(data[:length])
        assert checkpoints.read()["step"] == 1, length
    assert f"{newest} is damaged and not used" in capsys.readouterr().out
    assert older.exists()


@pytest.mark.parametrize("place", [0.5])
def test_a_flipped_bit_is_found_and_the_checkpoint_before_used(finished, tmp_path, capsys, place):
    run_dir = tmp_path / "copy"
    shutil.copytree(finished, run_dir)
    (run_dir / "summary.json").unlink()
    newest = sorted((run_dir / "checkpoints").iterdir())[-1]
    data = bytearray(newest.read_bytes())
    data[int(place * len(data))] ^= 16
    newest.write_bytes(data)
    run(PLAIN, run_dir=run_dir, made_up=True, resume=True)
    out = capsys.readouterr().out
    assert f"{newest} is damaged and not used" in out and "after step 4 of 8" in out
    for a, b in zip(results(run_dir)[0], results(finished)[0], strict=True):
        np.testing.assert_array_equal(a, b)


def test_two_runs_in_one_directory_are_one_too_many(finished, tmp_path):
    code = (
        "import sys\nfrom keras_wrn.runs.directory import locked\n"
        "with locked(sys.argv[1]):\n    print('locked', flush=True)\n    sys.stdin.read()\n"
    )
    (tmp_path / "run").mkdir()
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "locked\n"
    with pytest.raises(RunError, match="Another process is running in"):
        run(PLAIN, run_dir=tmp_path / "run", made_up=True)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    other.send_signal(signal.SIGKILL)
    other.wait()
    with locked(tmp_path / "run"):  # which went with its process
        pass


@pytest.mark.parametrize("what", ["checkpoint", "log"])
def test_a_disk_that_becomes_full_leaves_the_last_checkpoint(tmp_path, monkeypatch, what):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    original = checkpoint.np.savez
    write = callbacks.RunLog.write

    def savez(file, step, **arrays):
        if step == 8:
            file.write(b"a part")
            full()
        original(file, step=step, **arrays)

    if what == "checkpoint":
        monkeypatch.setattr(checkpoint.np, "savez", savez)
    else:
        monkeypatch.setattr(
            callbacks.RunLog, "write", lambda s, v: full() if v["epoch"] == 2 else write(s, v)
        )
    message = r"after step 8 cannot be written: .*No space left.* The last checkpoint: .*00000004"
    with pytest.raises(RunError, match=message):
        run(PLAIN, run_dir=tmp_path / "run", made_up=True)
    kept = [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()]
    assert kept == ["step-00000004.npz"]
    monkeypatch.undo()
    assert run(PLAIN, run_dir=tmp_path / "run", made_up=True, resume=True)["epochs"] == 2


class ResourceExhaustedError(Exception):
    """Called as TensorFlow's is."""


@pytest.mark.parametrize(
    "error", [MemoryError(), ResourceExhaustedError(), RuntimeError("RESOURCE_EXHAUSTED: Out of")]
)
def test_too_little_memory_is_said_with_what_may_fit(tmp_path, monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(keras.Model, "fit", fail)
    with pytest.raises(RunError, match=r"batch of 16 images\. Try --batch-size 8 --scale-lr wi"):
        run(PLAIN, run_dir=tmp_path / "run", made_up=True)


def test_another_error_is_not_taken_for_memory(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("something else")

    monkeypatch.setattr(keras.Model, "fit", fail)
    with pytest.raises(RuntimeError, match="something else"):
        run(PLAIN, run_dir=tmp_path / "run", made_up=True)


def test_a_batch_unlike_the_recipes_is_warned_of(tmp_path, capsys):
    recipe = dataclasses.replace(PLAIN, rate_batch=64)
    run(recipe, run_dir=tmp_path / "run", made_up=True)
    assert "chosen for a batch of 64 images, and this is one of 16" in capsys.readouterr().out
    one = dataclasses.replace(recipe, rate_batch=recipe.batch_size)
    assert one.shrunk().rate_batch == one.shrunk().batch_size  # which nobody chose
    run(dataclasses.replace(recipe, scale_lr=True), run_dir=tmp_path / "scaled", made_up=True)
    assert "The learning rate is 0.25 times that of the recipe\n" in capsys.readouterr().out
    rates = [
        run_files.read_log(tmp_path / name / "log.jsonl")[0]["learning_rate"]
        for name in ("run", "scaled")
    ]
    assert rates[1] == pytest.approx(0.25 * rates[0], rel=1e-4)
