"""What the tests share."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as keras_wrn does, if imported first
# Else a test on JAX compiles for minutes what it computes in seconds.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import keras
import numpy as np
import pytest


@pytest.hookimpl(tryfirst=True)  # before -m looks at the markers
def pytest_collection_modifyitems(items):
    for item in items:
        if "tfds_dir" in item.fixturenames:
            item.add_marker("extra")


def pytest_runtest_setup(item):
    for mark in item.iter_markers("extra"):
        for package in mark.args:
            # Without importing it: OpenVINO reports its import.
            if importlib.util.find_spec(package) is None:
                pytest.skip(f"{package} is not installed")


@pytest.fixture(scope="session")
def few_cifar10(tmp_path_factory):
    """A directory that holds twenty made-up images as CIFAR-10, in `save_array_files`' form."""
    directory = tmp_path_factory.mktemp("few")
    images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype="uint8")
    for split in ("train", "test"):
        path = directory / f"cifar10-{split}-00-of-01.npz"
        np.savez(path, images=images, labels=np.arange(20, dtype="int32") % 10)
    return directory


@pytest.fixture
def set_policy():
    """A function that sets the dtype policy ("float64" sets floatx too) until the test's end."""
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()

    def set_policy(name):
        if name == "float64":
            keras.config.set_floatx(name)
        keras.config.set_dtype_policy(name)

    yield set_policy
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)


@pytest.fixture(scope="session")
def run_python():
    """A function that runs code in a fresh Python with some environment; returns what it prints."""

    def run_python(code, *args, **environment):
        path = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parent)])
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, args)],
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **environment},
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout

    return run_python
