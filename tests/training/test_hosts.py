"""Several processes train as one with as many devices, on this machine: on JAX, on TensorFlow."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from photo_files import make_folder

from keras_wrn.errors import RunError
from keras_wrn.runs.directory import locked
from keras_wrn.training import Hosts
from keras_wrn.training.hosts import LOST, join
from keras_wrn.training.placement import Placement

pytestmark = pytest.mark.extra("jax")
ROOT = Path(__file__).parents[2]

# One of the processes of a run, of which the last, or with a negative step the first, sends itself
# a signal after a step.
RUN = """
import dataclasses, os, signal, sys
count, number, port, directory, step, name, epochs, devices = sys.argv[1:]
import keras
if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = [tf.config.LogicalDeviceConfiguration()] * int(devices)
    tf.config.set_logical_device_configuration(cpu, logical)
from tiny import TINY
from keras_wrn.cli import train_main
from keras_wrn.training import DataConfig, DistillConfig, callbacks
end = callbacks.RunCallback.on_train_batch_end
def interrupt(self, batch, logs=None):
    end(self, batch, logs)
    if self.step == abs(int(step)) and int(number) == (0 if int(step) < 0 else int(count) - 1):
        os.kill(os.getpid(), getattr(signal, name))
callbacks.RunCallback.on_train_batch_end = interrupt
data = dataclasses.replace(TINY.data, mixup=0.2, cutmix=1.0, cutout=8)
recipe = dataclasses.replace(TINY, data=data, epochs=int(epochs))
if "TEACHER" in os.environ:
    distill = DistillConfig(os.environ["TEACHER"], attention=10.0)
    recipe = dataclasses.replace(TINY, epochs=1, distill=distill)
if "PHOTOS" in os.environ:
    data = DataConfig(
        os.environ["PHOTOS"], image_size=32, random_resized_crop=True, color_jitter=0.4,
        mixup=0.2, cutmix=1.0, check="none",
    )
    recipe = dataclasses.replace(TINY, data=data, epochs=1)
    from keras_wrn.data.photos import Photos
    decoded, crop = [], Photos.crop
    Photos.crop = lambda self, index, *rest: decoded.append(index) or crop(self, index, *rest)
directory += "" if number == "0" else "-not-used"  # the others need none, shared or not
args = ["--resume", "--run-dir", directory] + ["--smoke"] * (epochs == "2")
if keras.backend.backend() == "jax":
    args += ["--hosts.coordinator", f"127.0.0.1:{port}"]
    args += ["--hosts.processes", count, "--hosts.process-id", number]
if keras.backend.backend() == "jax" or count != "1":
    args += ["--strategy", "multi-host"]
train_main(recipe, args)
if "PHOTOS" in os.environ:
    print("decoded", len(decoded))
"""


def train(backend, directory, processes, devices=1, step=0, signal_name="SIGKILL", epochs=2):
    """Run all processes; their exit statuses and what they print."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(processes)]
        for each in found:
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in found]
    environment = {
        **os.environ, "KERAS_BACKEND": backend, "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} "
        f"--xla_force_host_platform_device_count={devices}",
    }  # fmt: skip
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    running = []
    for number in range(processes):
        if processes > 1:
            task = {"type": "worker", "index": number}
            environment["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
        args = [processes, number, ports[0], directory, step, signal_name, epochs, devices]
        running.append(
            subprocess.Popen(
                [sys.executable, "-c", RUN, *map(str, args)],
                env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
        )  # fmt: skip
    try:
        printed = [process.communicate(timeout=400)[0] for process in running]
    finally:
        for process in running:
            process.kill()
    return [process.returncode for process in running], printed


def weights(directory):
    return keras.models.load_model(directory / "model.keras").get_weights()


def check_same(one, other, tolerance=0.0):
    for a, b in zip(weights(one), weights(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1, np.abs(a).max()))
    lines = [
        [json.loads(line) for line in (path / "log.jsonl").read_text().splitlines()]
        for path in (one, other)
    ]
    for a, b in zip(*lines, strict=True):
        for key in ("loss", "val_loss", "accuracy", "val_accuracy", "step"):
            assert a[key] == pytest.approx(b[key], rel=1e-5)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A function that runs one process with so many devices, once, and returns its directory."""
    done = {}

    def run(backend, devices):
        if (backend, devices) not in done:
            done[backend, devices] = directory = tmp_path_factory.mktemp("straight") / "run"
            codes, printed = train(backend, directory, 1, devices)
            assert codes == [0], printed[0][-3000:]
        return done[backend, devices]

    return run


large = pytest.mark.large
BACKENDS = "jax", pytest.param("tensorflow", marks=large)
# JAX is exact with two devices. More numbers are added in another order: the last bits differ.
TOLERANCE = {"jax": 1e-6, "tensorflow": 1e-4}


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_two_processes_train_as_one_with_two_devices(straight, tmp_path, backend):
    codes, printed = train(backend, tmp_path / "run", 2)
    assert codes == [0, 0], printed
    check_same(straight(backend, 2), tmp_path / "run", 0.0 if backend == "jax" else 1e-4)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert len(summary["devices"]) == 2
    assert "Epoch 2/2" in printed[0] and "Epoch" not in printed[1]
    assert "2 devices of 2 processes" in printed[0]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]  # process 1 wrote nothing


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_two_processes_share_the_photos(tmp_path, monkeypatch, backend):
    root = make_folder(tmp_path / "photos", count=24, splits=("train", "val"))
    monkeypatch.setenv("PHOTOS", str(root))
    decoded = []
    for processes in (1, 2):
        directory = tmp_path / f"run{processes}"
        codes, printed = train(backend, directory, processes, 3 - processes, epochs=1)
        assert set(codes) == {0}, printed
        counts = [int(x.split()[1]) for text in printed for x in text.splitlines()
                  if x.startswith("decoded")]  # fmt: skip
        decoded.append(counts)
    check_same(tmp_path / "run1", tmp_path / "run2", 0.0 if backend == "jax" else 1e-4)
    if backend == "jax":  # TensorFlow decodes inside its graph
        # Its own half of each batch of 16, and what that is mixed with.
        assert decoded[0] == [48] and all(24 <= count < 44 for count in decoded[1])


# A worker of TensorFlow has one device where there are no GPUs.
@large
@pytest.mark.parametrize(
    ("backend", "processes", "devices"), [("jax", 4, 1), ("jax", 2, 2), ("tensorflow", 4, 1)]
)
def test_four_devices_in_any_processes(straight, tmp_path, backend, processes, devices):
    codes, printed = train(backend, tmp_path / "many", processes, devices)
    assert set(codes) == {0}, printed
    check_same(straight(backend, 4), tmp_path / "many", TOLERANCE[backend])


@large
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_lost_process_ends_the_others_and_the_run_goes_on(straight, tmp_path, backend):
    begun = time.monotonic()
    codes, printed = train(backend, tmp_path / "run", 2, step=6)
    assert codes == [LOST, -signal.SIGKILL]
    assert "A process of this run was lost" in printed[0] and time.monotonic() - begun < 180
    assert not (tmp_path / "run" / "summary.json").exists()
    codes, printed = train(backend, tmp_path / "run", 2)
    assert codes == [0, 0] and "Resuming" in printed[0]
    check_same(straight(backend, 2), tmp_path / "run", 0.0 if backend == "jax" else 1e-4)


@large
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_loss_of_the_first_process_ends_the_others(tmp_path, backend):
    begun = time.monotonic()
    codes, printed = train(backend, tmp_path / "run", 2, step=-6)
    assert codes[0] == -signal.SIGKILL and time.monotonic() - begun < 180
    # JAX may be quicker than we, and abort with a message of its own.
    assert codes[1] in (LOST, -signal.SIGABRT), printed[1]
    assert "was lost" in printed[1] or "another task died" in printed[1]


@large
@pytest.mark.parametrize("backend", BACKENDS)
def test_sigterm_to_one_process_stops_all_at_one_step(tmp_path, backend):
    # JAX agrees on a step some way ahead. TensorFlow's last bits, other ones in every run, grow
    # with the steps.
    epochs, steps = (3, 89) if backend == "jax" else (2, 4)
    codes, printed = train(backend, tmp_path / "run", 2, 1, 5, "SIGTERM", epochs)
    assert codes == [143, 143], printed
    assert all("Stopped by SIGTERM; the state is saved" in text for text in printed)
    newest = max((tmp_path / "run" / "checkpoints").iterdir())
    step = int(newest.stem.removeprefix("step-"))
    assert step % steps  # inside an epoch
    codes, printed = train(backend, tmp_path / "run", 2, epochs=epochs)
    assert codes == [0, 0] and f"after step {step} of {epochs * steps}" in printed[0], printed
    assert train(backend, tmp_path / "straight", 1, 2, epochs=epochs)[0] == [0]
    check_same(tmp_path / "straight", tmp_path / "run", 0.0 if backend == "jax" else 1e-4)


@large
@pytest.mark.parametrize("backend", BACKENDS)
def test_two_processes_distil_as_one_with_two_devices(straight, tmp_path, monkeypatch, backend):
    monkeypatch.setenv("TEACHER", str(straight("tensorflow", 2)))
    assert train(backend, tmp_path / "one", 1, 2, epochs=1)[0] == [0]
    codes, printed = train(backend, tmp_path / "run", 2, epochs=1)
    assert codes == [0, 0], printed
    check_same(tmp_path / "one", tmp_path / "run", 0.0 if backend == "jax" else 1e-2)


# What only one of two processes meets: the lock of another run, or a recipe of its own.
ONE = """
import dataclasses, sys
count, number, port, directory, what = sys.argv[1:6]
from tiny import TINY
from keras_wrn.cli import train_main
args = ["--smoke", "--run-dir", directory, "--strategy", "multi-host"]
args += ["--hosts.coordinator", f"127.0.0.1:{port}"]
args += ["--hosts.processes", count, "--hosts.process-id", number]
if what == "recipe" and number == "1":
    args += ["--seed", "5"]
train_main(TINY, args)
"""


@large
@pytest.mark.parametrize("what", ["lock", "recipe"])
def test_what_one_process_cannot_do_ends_all_soon(tmp_path, monkeypatch, what):
    monkeypatch.setattr(sys.modules[__name__], "RUN", ONE)
    (tmp_path / "run").mkdir()
    begun = time.monotonic()
    with locked(tmp_path / "run") if what == "lock" else contextlib.nullcontext():
        codes, printed = train("jax", tmp_path / "run", 2, step=what)
    assert time.monotonic() - begun < 120
    if what == "lock":
        assert codes[0] == 1 and "Another process is running in" in printed[0]
        assert codes[1] == 1 and "Process 0 cannot go on" in printed[1]
    else:
        assert codes[1] == 2 and "should be given the same recipe. Process 1 of 2" in printed[1]
        assert codes[0] in (LOST, -signal.SIGABRT), printed[0]


def test_shares_of_a_batch():
    assert [Placement(rank=rank, count=4).rows(16) for rank in range(4)] == [
        slice(0, 4), slice(4, 8), slice(8, 12), slice(12, 16),
    ]  # fmt: skip
    assert (
        Placement().rows(7) == slice(0, 7)
        and Placement().is_chief
        and not Placement(rank=1, count=2).is_chief
    )


def test_what_does_not_go_together_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="coordinator: these are for `strategy` 'multi-host'"):
        join("none", Hosts("127.0.0.1:1"))
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(RunError, match="start every process with KERAS_BACKEND=jax"):
        join("multi-host")
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    with pytest.raises(ValueError, match="processes: on TensorFlow the processes are told by TF_"):
        join("multi-host", Hosts(processes=2))
    for text in (
        "",
        "{}",
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
    ):
        monkeypatch.setenv("TF_CONFIG", text)
        with pytest.raises(RunError, match="need TF_CONFIG in the environment"):
            join("multi-host")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match=r"`process_id` below it\. Received: processes=2, pro"):
        join("multi-host", Hosts("127.0.0.1:1", 2, 2))
    monkeypatch.setenv("JAX_NUM_PROCESSES", "0")
    with pytest.raises(ValueError, match="`processes` should be 1 or more"):
        join("multi-host")


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="it has workers")
def test_a_single_worker_trains_alone(run_python, tmp_path):
    code = (
        "import dataclasses, sys\nfrom tiny import PLAIN\nimport keras_wrn\n"
        "recipe = dataclasses.replace(PLAIN, strategy='multi-host')\n"
        "print(keras_wrn.run(recipe, run_dir=sys.argv[1], made_up=True)['recipe'])"
    )
    task = {"cluster": {"worker": ["127.0.0.1:0"]}, "task": {"type": "worker", "index": 0}}
    out = run_python(code, tmp_path / "run", TF_CONFIG=json.dumps(task))
    assert out.splitlines()[-1] == "tiny-smoke"
