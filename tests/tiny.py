"""Recipes that train in seconds, and weights far from their initial values."""

import dataclasses
import signal

import keras
import numpy as np

from keras_wrn.data import load_arrays
from keras_wrn.training import (
    DataConfig,
    ExportConfig,
    ModelConfig,
    OptimizerConfig,
    Recipe,
    ScheduleConfig,
    callbacks,
)

TINY = Recipe(
    name="tiny",
    model=ModelConfig(depth=10, width=1, dropout=0.2),
    data=DataConfig(dataset="digits", preprocessing="scale", crop_padding=2),
    optimizer=OptimizerConfig(learning_rate=0.05),
    schedule=ScheduleConfig(kind="one_cycle"),
    epochs=2,
    batch_size=16,
    precision="float32",
)

# The same without artifacts, which take longer than the training.
PLAIN = dataclasses.replace(TINY, export=ExportConfig(saved_model=False, litert=False))


def calibration(count=64):
    """Digits to train on, which an export in int8 is calibrated with."""
    return load_arrays("digits", "train")[0][:count]


def weights(run_dir):
    """The weights of a finished run."""
    return [np.asarray(w) for w in keras.models.load_model(run_dir / "model.keras").weights]


def stop_at(monkeypatch, where, step):
    """Have a run asked to stop, by SIGTERM, at the end of a batch of "train" or "test"."""
    name = f"on_{where}_batch_end"
    original = getattr(callbacks.RunCallback, name)
    count = iter(range(1, 1000))

    def stop_at_step(self, batch, logs=None):
        if next(count) == step:
            signal.raise_signal(signal.SIGTERM)
        original(self, batch, logs)

    monkeypatch.setattr(callbacks.RunCallback, name, stop_at_step)


def variables_of(shapes):
    """Variables with drawn values, from a dict of paths such as conv1/kernel to shapes."""
    generator = np.random.default_rng(0)
    variables = []
    for path, shape in shapes.items():
        layer, _, name = path.partition("/")
        with keras.name_scope(layer):
            value = generator.normal(0, 0.5, shape).astype("float32")
            variables.append(keras.Variable(value, name=name))
    assert [variable.path for variable in variables] == list(shapes)
    return variables


def gradients_of(shapes, seed):
    """An array for each of such variables."""
    generator = np.random.default_rng(seed)
    return [generator.normal(0, 0.2, shape).astype("float32") for shape in shapes.values()]


def without_values(builder, *arguments, **settings):
    """A network whose weights are not drawn: those of WRN-70-16 are a gigabyte."""
    with keras.StatelessScope(initialize_variables=False):
        model = builder(*arguments, **settings)
    keras.backend.clear_session()  # which would draw them with the weights of the next layer
    return model


def randomize(model):
    """Give every batch norm a scale, offset and moving statistics, and the classifier a bias."""
    generator = np.random.default_rng(0)
    for variable in model.variables:
        if variable.path.endswith(("moving_mean", "beta", "bias")):
            variable.assign(generator.normal(0, 0.3, variable.shape))
        elif variable.path.endswith(("moving_variance", "gamma")):
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
    return model
