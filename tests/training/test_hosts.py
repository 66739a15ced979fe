"""Several processes train as one with as many devices: on JAX, on this machine."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_wrn.training import Hosts
from keras_wrn.training.errors import RunError
from keras_wrn.training.hosts import Share, join

pytest.importorskip("jax")
ROOT = Path(__file__).parents[2]

# One of the processes of a run, which may send itself a signal after a step.
RUN = """
import dataclasses, os, signal, sys
count, number, port, directory, step, name, epochs = sys.argv[1:]
from tiny import TINY
from keras_wrn.training import Hosts, callbacks
from keras_wrn.training.run import run
end = callbacks.RunCallback.on_train_batch_end
def interrupt(self, batch, logs=None):
    end(self, batch, logs)
    if self.step == int(step) and int(number) == int(count) - 1:
        os.kill(os.getpid(), getattr(signal, name))
callbacks.RunCallback.on_train_batch_end = interrupt
data = dataclasses.replace(TINY.data, mixup=0.2, cutmix=1.0, cutout=8)
recipe = dataclasses.replace(TINY, data=data, epochs=int(epochs), strategy="multi-host")
hosts = Hosts(f"127.0.0.1:{port}", int(count), int(number))
print("result", run(recipe, run_dir=directory, made_up=True, resume=True, hosts=hosts))
"""


def train(directory, processes, devices=1, step=0, signal_name="SIGKILL", epochs=2):
    """Run all processes; their exit statuses and what they print."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    environment = {
        **os.environ, "KERAS_BACKEND": "jax", "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }  # fmt: skip
    running = [
        subprocess.Popen(
            [sys.executable, "-c", RUN, str(processes), str(number), str(port), str(directory),
             str(step), signal_name, str(epochs)],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for number in range(processes)
    ]  # fmt: skip
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
    """One process with two devices."""
    directory = tmp_path_factory.mktemp("straight") / "run"
    codes, printed = train(directory, 1, devices=2)
    assert codes == [0], printed[0][-3000:]
    return directory


@pytest.mark.slow
def test_two_processes_train_as_one_with_two_devices(straight, tmp_path):
    codes, printed = train(tmp_path / "run", 2)
    assert codes == [0, 0], printed[0][-3000:]
    check_same(straight, tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert len(summary["devices"]) == 2
    assert "Epoch 2/2" in printed[0] and "Epoch" not in printed[1]
    assert "result {}" in printed[1] and "2 devices of 2 processes" in printed[0]


@pytest.mark.large
@pytest.mark.parametrize(("processes", "devices"), [(4, 1), (2, 2)])
def test_four_devices_in_any_processes(tmp_path, processes, devices):
    assert train(tmp_path / "one", 1, devices=4)[0] == [0]
    codes, printed = train(tmp_path / "many", processes, devices)
    assert set(codes) == {0}, printed[0][-3000:]
    # Four numbers are added in another order than two are: the last bits differ.
    check_same(tmp_path / "one", tmp_path / "many", tolerance=1e-6)


@pytest.mark.large
def test_a_lost_process_ends_the_others_and_the_run_goes_on(straight, tmp_path):
    codes, printed = train(tmp_path / "run", 2, step=6)
    assert codes[1] == -signal.SIGKILL and codes[0] == 1
    assert "A process of this run was lost" in printed[0]
    assert not (tmp_path / "run" / "summary.json").exists()
    codes, printed = train(tmp_path / "run", 2)
    assert codes == [0, 0] and "Resuming" in printed[0]
    check_same(straight, tmp_path / "run")


@pytest.mark.large
def test_sigterm_to_one_process_stops_all_at_one_step(tmp_path):
    codes, printed = train(tmp_path / "run", 2, step=5, signal_name="SIGTERM", epochs=200)
    assert codes == [1, 1], printed[0][-3000:]  # by an exception: the command has 143
    assert all("Stopped by SIGTERM; the state is saved" in text for text in printed)
    assert list((tmp_path / "run" / "checkpoints").iterdir())


def test_shares_of_a_batch():
    assert [Share(rank, 4).rows(16) for rank in range(4)] == [
        slice(0, 4), slice(4, 8), slice(8, 12), slice(12, 16),
    ]  # fmt: skip
    assert Share().rows(7) == slice(0, 7) and Share().is_chief and not Share(1, 2).is_chief


def test_what_does_not_go_together_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="coordinator: these are for `strategy` 'multi-host'"):
        join("none", Hosts("127.0.0.1:1"))
    if keras.backend.backend() == "tensorflow":
        with pytest.raises(RunError, match="start every process with KERAS_BACKEND=jax"):
            join("multi-host")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match=r"`process_id` below it\. Received: processes=2, pro"):
        join("multi-host", Hosts("127.0.0.1:1", 2, 2))
    monkeypatch.setenv("JAX_NUM_PROCESSES", "0")
    with pytest.raises(ValueError, match="`processes` should be 1 or more"):
        join("multi-host")
