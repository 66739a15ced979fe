"""The same network, optimizer and files on Keras' other backends."""

import importlib.util

import keras
import numpy as np
import pytest

from keras_wrn.models import BatchNormalization, WideResNet
from keras_wrn.training import SGD

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.normal(size=(6, 9, 8, 3)).astype("float32")
LABELS = GENERATOR.integers(0, 10, 6)

# Two epochs of two steps; the rate drops, and clears the momentum, between them.
OPTIMIZER = {
    "learning_rate": {
        "class_name": "PiecewiseConstantDecay",
        "config": {"boundaries": [1], "values": [0.1, 0.02]},
    },
    "weight_decay": 0.01,
    "reset_momentum_on_drop": True,
    "lr_multipliers": {"group1": 0.5},
}

IMPORT = """
import sys
import keras_wrn
model = keras_wrn.WideResNet(10, 1)
print(*sorted(name for name in sys.modules if "." not in name))
"""

TRAIN = """
import sys
import keras, numpy as np
import keras_wrn

folder = sys.argv[1]
with np.load(folder + "/data.npz") as data:
    images, labels = data["images"], data["labels"]
model = keras.models.load_model(folder + "/float32.keras")
outputs = keras.ops.convert_to_numpy(model(images, training=False))
training = keras.ops.convert_to_numpy(model(images, training=True))

keras.config.set_floatx("float64")
model = keras.models.load_model(folder + "/float64.keras")
model.fit(images.astype("float64"), labels, batch_size=3, epochs=2, shuffle=False, verbose=0)
weights = {f"weight{i}": w for i, w in enumerate(model.get_weights())}
np.savez(folder + "/" + keras.backend.backend(), outputs=outputs, training=training, **weights)
"""


@pytest.fixture(params=["jax", "torch"])
def other_backend(request):
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return request.param


def test_importing_and_building_need_neither_tensorflow_nor_its_data(run_python, other_backend):
    modules = set(run_python(IMPORT, KERAS_BACKEND=other_backend).split())
    assert {"keras", "keras_wrn", other_backend} <= modules
    assert not modules & {"tensorflow", "tensorflow_datasets", "keras_cv"}


def build():
    keras.utils.set_random_seed(0)
    model = WideResNet(10, 1, input_shape=(9, 8, 3))
    for layer in model.layers:
        if isinstance(layer, BatchNormalization):
            layer.moving_mean.assign(np.random.default_rng(1).normal(size=layer.gamma.shape))
    return model


def test_outputs_and_training_are_those_of_tensorflow(
    run_python, other_backend, set_policy, tmp_path
):
    np.savez(tmp_path / "data.npz", images=IMAGES, labels=LABELS)
    model = build()
    model.save(tmp_path / "float32.keras")
    expected = {
        "outputs": model(IMAGES, training=False).numpy(),
        "training": model(IMAGES, training=True).numpy(),
    }
    set_policy("float64")
    model = build()
    schedule = keras.optimizers.schedules.deserialize(OPTIMIZER["learning_rate"])
    model.compile(
        SGD(**{**OPTIMIZER, "learning_rate": schedule}),
        "sparse_categorical_crossentropy",
        jit_compile=False,
    )
    model.save(tmp_path / "float64.keras")
    before = model.get_weights()
    model.fit(IMAGES.astype("float64"), LABELS, batch_size=3, epochs=2, shuffle=False, verbose=0)

    run_python(TRAIN, tmp_path, KERAS_BACKEND=other_backend, JAX_ENABLE_X64="1")
    with np.load(tmp_path / f"{other_backend}.npz") as found:
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, atol=1e-4)
        for i, (variable, old) in enumerate(zip(model.weights, before, strict=True)):
            assert np.abs(variable.numpy() - old).max() > 1e-5, variable.path
            np.testing.assert_allclose(
                found[f"weight{i}"], variable.numpy(), atol=1e-9, err_msg=variable.path
            )
