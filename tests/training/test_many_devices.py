"""Two and four devices train as one does: weights, loss, resume, evaluation, export."""

import dataclasses
import importlib.util
import json

import keras
import numpy as np
import pytest
from tiny import TINY

from keras_wrn.training import build_model

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="about tf.distribute"
)

# A strategy to a process: two in one break TensorFlow's collectives on CPUs. 201 held-out images
# and batches of 304 divide neither by 2 nor by 4 evenly.
RUN = """
import dataclasses, os, signal, sys
import tensorflow as tf
directory, devices, precision, stop = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
from tiny import TINY
from keras_wrn.training import callbacks
from keras_wrn.errors import Stopped
from keras_wrn.training.run import run
end = callbacks.RunCallback.on_train_batch_end
def ask(self, batch, logs=None):
    if self.step + 1 == stop:
        signal.raise_signal(signal.SIGTERM)
    end(self, batch, logs)
callbacks.RunCallback.on_train_batch_end = ask
recipe = dataclasses.replace(
    TINY, batch_size=304, precision=precision,
    model=dataclasses.replace(TINY.model, dropout=float(sys.argv[5])),
    data=dataclasses.replace(TINY.data, validation=201),
    optimizer=dataclasses.replace(TINY.optimizer, learning_rate=0.05, weight_decay=5e-2),
)
try:
    run(recipe, run_dir=directory, resume=True)
except Stopped:
    stop = 0
    run(recipe, run_dir=directory, resume=True)
"""


@pytest.fixture(scope="module")
def trained(run_python, tmp_path_factory):
    """A function that trains on so many devices, and returns the directory."""
    done = {}

    def train(devices, precision="float32", stop=0, dropout=0.0):
        key = devices, precision, stop, dropout
        if key not in done:
            done[key] = tmp_path_factory.mktemp("devices") / "run"
            run_python(RUN, done[key], *key, OMP_NUM_THREADS="2")
        return done[key]

    return train


def outcome(run_dir):
    summary = json.loads((run_dir / "summary.json").read_text())
    model = keras.models.load_model(run_dir / "model.keras")
    return summary, flat(model)


def flat(model):
    """All trained weights of a model, as one vector."""
    return np.concatenate([np.ravel(np.asarray(w)) for w in model.trainable_weights])


def apart(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(a)


def check_equal(one, many, tolerance):
    for key in ("loss", "val_loss"):
        found = many[0]["last_epoch"][key]
        assert found == pytest.approx(one[0]["last_epoch"][key], rel=tolerance)
    assert apart(one[1], many[1]) < tolerance


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, pytest.param(4, marks=pytest.mark.large)])
def test_many_devices_train_as_one(trained, devices):
    one, many = outcome(trained(1)), outcome(trained(devices))
    assert [len(found[0]["devices"]) for found in (one, many)] == [1, devices]
    check_equal(one, many, 1e-4)
    keras.utils.set_random_seed(TINY.seed)
    model = dataclasses.replace(TINY.model, dropout=0.0)
    start = flat(build_model(dataclasses.replace(TINY, model=model), classes=10))
    assert apart(start, one[1]) > 0.01


@pytest.mark.large
def test_every_held_out_image_counts_once_where_the_split_does_not_divide(trained):
    for devices in (1, 2, 4):
        summary, _ = outcome(trained(devices))
        assert summary["data"]["test_images"] == 201
        during = 100 * (1 - summary["last_epoch"]["val_accuracy"])
        assert summary["test_error"] == pytest.approx(during, abs=1e-2)


@pytest.mark.large
def test_a_stopped_run_on_two_devices_continues(trained):
    straight, stopped = outcome(trained(2)), outcome(trained(2, stop=6))
    np.testing.assert_array_equal(straight[1], stopped[1])


@pytest.mark.large
def test_two_devices_in_bfloat16(trained):
    check_equal(outcome(trained(1, "bfloat16")), outcome(trained(2, "bfloat16")), 3e-2)


@pytest.mark.large
def test_two_devices_with_dropout_train_about_as_one(trained):
    one, two = outcome(trained(1, dropout=0.3))[0], outcome(trained(2, dropout=0.3))[0]
    assert two["last_epoch"]["loss"] == pytest.approx(one["last_epoch"]["loss"], rel=0.1)
    assert two["last_epoch"]["loss"] != one["last_epoch"]["loss"]


@pytest.mark.large
def test_a_run_on_two_devices_is_exported(trained):
    import tensorflow as tf

    run_dir = trained(2)
    saved = tf.saved_model.load(str(run_dir / "export" / "saved_model"))
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype="uint8")
    found = saved.signatures["serve_uint8"](image=tf.constant(images))["probabilities"]
    model = keras.models.load_model(run_dir / "model.keras")
    expected = model(model.preprocessing.normalize(images))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (
        importlib.util.find_spec("ai_edge_litert") is None
        or (run_dir / "export" / "model.tflite").is_file()
    )
