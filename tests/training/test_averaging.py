"""A run that ends with a moving average of its weights."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from tiny import PLAIN, weights

from keras_wrn.errors import Stopped
from keras_wrn.models import BatchNormalization
from keras_wrn.training import callbacks
from keras_wrn.training.averaging import renew_statistics
from keras_wrn.training.inputs import load_inputs, recipe_batches
from keras_wrn.training.run import run

MOMENTUM = 0.9
# Two phases, of which the first must not end with the average.
RECIPE = dataclasses.replace(
    PLAIN,
    optimizer=dataclasses.replace(PLAIN.optimizer, average=MOMENTUM, learning_rate=0.5),
    data=dataclasses.replace(PLAIN.data, small_size=24),
)
WITHOUT = dataclasses.replace(RECIPE, optimizer=dataclasses.replace(RECIPE.optimizer, average=0.0))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The directory of a run, and the trained weights after each of its steps."""
    seen, end = [], callbacks.RunCallback.on_train_batch_end

    def watch(self, batch, logs=None):
        seen.append([keras.ops.convert_to_numpy(v) for v in self.model.trainable_variables])
        end(self, batch, logs)

    directory = tmp_path_factory.mktemp("average") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks.RunCallback, "on_train_batch_end", watch)
        run(RECIPE, run_dir=directory, made_up=True)
    return directory, seen


def test_the_trained_weights_are_the_average_over_all_steps(finished):
    directory, seen = finished
    average = seen[0]
    for step in seen[1:]:
        average = [MOMENTUM * a + (1 - MOMENTUM) * w for a, w in zip(average, step, strict=True)]
    model = keras.models.load_model(directory / "model.keras")
    for found, expected in zip(model.trainable_variables, average, strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-6)
    assert any(abs(a - w).max() > 1e-4 for a, w in zip(average, seen[-1], strict=True))


def test_the_statistics_are_means_over_batches_of_the_last_epoch(finished):
    directory, _ = finished
    model = keras.models.load_model(directory / "model.keras")
    data = load_inputs(RECIPE, made_up=True)
    batches = recipe_batches(RECIPE, data, 32)
    images = [x for x, _ in batches.arrays(batches.steps_per_epoch, 2)]
    first = next(layer for layer in model.layers if isinstance(layer, BatchNormalization))
    before = keras.Model(model.inputs, first.input)
    inside = [before.predict_on_batch(x) for x in images]
    mean = np.mean([x.mean(axis=(0, 1, 2)) for x in inside], axis=0)
    variance = np.mean([x.var(axis=(0, 1, 2), ddof=1) for x in inside], axis=0)
    np.testing.assert_allclose(first.moving_mean, mean, atol=1e-5)
    np.testing.assert_allclose(first.moving_variance, variance, rtol=1e-4)
    momenta = {n.momentum for n in model.layers if isinstance(n, BatchNormalization)}
    assert renew_statistics(model, batches, 2) == len(images) * 16 and momenta == {0.9}


def test_the_summary_is_of_the_average_and_counts_the_statistics(finished, tmp_path):
    directory, _ = finished
    summary = json.loads((directory / "summary.json").read_text())
    other = run(WITHOUT, run_dir=tmp_path / "plain", made_up=True)
    assert summary["last_epoch"]["val_loss"] == other["last_epoch"]["val_loss"]
    assert summary["test_accuracy"] != other["test_accuracy"]
    seen = summary["flops"] - other["flops"]
    assert seen == 2 * summary["macs"] * (64 // 16) * 16


@pytest.mark.parametrize("stop", [6, 8])
def test_a_stopped_run_goes_on_exactly(finished, tmp_path, monkeypatch, stop):
    end = callbacks.RunCallback.on_train_batch_end

    def interrupt(self, batch, logs=None):
        if self.step + 1 == stop:
            self.signum = 15
        end(self, batch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.RunCallback, "on_train_batch_end", interrupt)
        with pytest.raises(Stopped):
            run(RECIPE, run_dir=tmp_path / "run", made_up=True)
    run(RECIPE, run_dir=tmp_path / "run", made_up=True, resume=True)
    for found, expected in zip(weights(tmp_path / "run"), weights(finished[0]), strict=True):
        np.testing.assert_array_equal(found, expected)


ON_JAX = """
import sys
from training.test_averaging import RECIPE, WITHOUT
from keras_wrn.training.run import run
for name, recipe in (("average", RECIPE), ("plain", WITHOUT)):
    summary = run(recipe, run_dir=f"{sys.argv[1]}/{name}")
    print("found", summary["test_accuracy"], summary["last_epoch"]["val_accuracy"])
"""


@pytest.mark.extra("jax")
def test_a_run_on_jax_ends_with_the_average_too(run_python, tmp_path):
    lines = run_python(ON_JAX, tmp_path, KERAS_BACKEND="jax").splitlines()
    average, plain = (line.split()[1:] for line in lines if line.startswith("found"))
    assert average[1] == plain[1] and average[0] != plain[0]  # the same training, another end
