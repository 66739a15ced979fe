"""The same network, optimizer and files on Keras' other backends."""

import json

import keras
import numpy as np
import pytest

from keras_wrn.catalog import WideResNet
from keras_wrn.models import BatchNormalization
from keras_wrn.training import SGD

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.normal(size=(6, 9, 8, 3)).astype("float32")
LABELS = GENERATOR.integers(0, 10, 6)

# Two epochs of two steps; the rate drops, and clears the momentum, between them. Schedules are
# float32 on TensorFlow: only rates that are exact there are the same everywhere.
RATES = keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.125, 0.03125])

SCRIPT = """
import sys
import keras_wrn
keras_wrn.WideResNet(10, 1)
print(*(name for name in sys.modules if "." not in name))

import keras, numpy as np
folder = sys.argv[1]
with np.load(folder + "/data.npz") as data:
    images, labels = data["images"], data["labels"]
model = keras.models.load_model(folder + "/float32.keras")
outputs = keras.ops.convert_to_numpy(model(images))

keras.config.set_floatx("float64")
layer = keras_wrn.models.BatchNormalization(dtype="float64")
normalized = layer(images.astype("float64"), training=True)
statistics = [keras.ops.convert_to_numpy(x) for x in (normalized, *layer.non_trainable_weights)]
model = keras.models.load_model(folder + "/float64.keras")
model.fit(images.astype("float64"), labels, batch_size=3, epochs=2, shuffle=False, verbose=0)
np.savez(folder + "/" + keras.backend.backend(), outputs, *statistics, *model.get_weights())
"""


POLICIES = """
import json
import keras, numpy as np
import keras_wrn

keras.utils.set_random_seed(0)
generator = np.random.default_rng(0)
images, labels = generator.normal(size=(6, 8, 8, 3)).astype("float32"), np.arange(6)
exact = keras_wrn.WideResNet(10, 1, 0.3, input_shape=(8, 8, 3))
wanted = keras.ops.convert_to_numpy(exact(images))
found = {}
for policy in ("float16", "bfloat16", "mixed_float16", "mixed_bfloat16"):
    keras.config.set_dtype_policy(policy)
    mixed = policy.startswith("mixed_")
    for optimizer in (keras_wrn.SGD,) if mixed else (keras_wrn.SGD, keras_wrn.training.Muon):
        model = keras_wrn.WideResNet(10, 1, 0.3, input_shape=(8, 8, 3))
        for variable, value in zip(model.weights, exact.weights, strict=True):
            variable.assign(value)
        outputs = keras.ops.convert_to_numpy(model(images))
        before = [keras.ops.convert_to_numpy(w).astype("float32") for w in model.weights]
        # Where 16 bits hold 1, they hold nothing near it: a step has to be long to be seen.
        model.compile(optimizer(1.0), "sparse_categorical_crossentropy", jit_compile=False)
        loss = float(model.train_on_batch(images, labels))
        after = [keras.ops.convert_to_numpy(w).astype("float32") for w in model.weights]
        found[policy, optimizer.__name__] = {
            "dtype": str(outputs.dtype),
            "kernel": str(model.get_layer("conv1").kernel.dtype),
            "difference": float(np.abs(outputs - wanted).max()),
            "loss": loss,
            "finite": all(bool(np.isfinite(w).all()) for w in after),
            "unchanged": [
                w.path for w, a, b in zip(model.weights, before, after) if np.array_equal(a, b)
            ],
        }
print("FOUND", json.dumps([[*key, value] for key, value in found.items()]))
"""


@pytest.mark.parametrize(
    "backend",
    [
        "tensorflow",
        *(pytest.param(name, marks=pytest.mark.extra(name)) for name in ("jax", "torch")),
    ],
)
def test_every_dtype_policy_predicts_and_trains(run_python, backend):
    printed = run_python(POLICIES, KERAS_BACKEND=backend)
    rows = json.loads(printed.partition("FOUND")[2])
    assert len(rows) == 6
    for policy, optimizer, found in rows:
        assert found["dtype"] == "float32", policy
        mixed = policy.startswith("mixed_")
        assert ("float32" if mixed else policy) in found["kernel"]
        assert found["difference"] < 0.02, (policy, optimizer)
        assert 2 < found["loss"] < 3 and found["finite"], (policy, optimizer)
        assert not found["unchanged"], (policy, optimizer)


def build():
    keras.utils.set_random_seed(0)
    model = WideResNet(10, 1, input_shape=(9, 8, 3))
    for layer in model.layers:
        if isinstance(layer, BatchNormalization):
            layer.moving_mean.assign(np.random.default_rng(1).normal(size=layer.gamma.shape))
    return model


@pytest.fixture(scope="module")
def tensorflow_run(tmp_path_factory):
    """A folder with what the other backends start from, and what they should end with."""
    folder = tmp_path_factory.mktemp("backends")
    np.savez(folder / "data.npz", images=IMAGES, labels=LABELS)
    model = build()
    model.save(folder / "float32.keras")
    outputs = model(IMAGES).numpy()
    policy = keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        model = build()
        optimizer = SGD(
            RATES, weight_decay=0.01, reset_momentum_on_drop=True, lr_multipliers={"group1": 0.5}
        )
        model.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=False)
        model.save(folder / "float64.keras")
        images = IMAGES.astype("float64")
        model.fit(images, LABELS, batch_size=3, epochs=2, shuffle=False, verbose=0)
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy(policy)
    return folder, outputs, model


@pytest.mark.parametrize(
    "backend", [pytest.param(name, marks=pytest.mark.extra(name)) for name in ("jax", "torch")]
)
def test_another_backend_needs_no_tensorflow_and_computes_the_same(
    run_python, tensorflow_run, backend
):
    folder, outputs, model = tensorflow_run
    modules = set(run_python(SCRIPT, folder, KERAS_BACKEND=backend, JAX_ENABLE_X64="1").split())
    assert {"keras", "keras_wrn", backend} <= modules
    assert not modules & {"tensorflow", "tensorflow_datasets", "keras_cv"}

    with np.load(folder / f"{backend}.npz") as arrays:
        found, normalized, moving_mean, moving_variance, *weights = arrays.values()
    np.testing.assert_allclose(found, outputs, atol=1e-5)

    pixels = IMAGES.astype("float64").reshape(-1, 3)
    mean, variance = pixels.mean(axis=0), pixels.var(axis=0)
    np.testing.assert_allclose(
        normalized.reshape(-1, 3), (pixels - mean) / np.sqrt(variance + 1e-5), rtol=1e-10
    )
    np.testing.assert_allclose(moving_mean, 0.1 * mean, rtol=1e-10)
    unbiased = pixels.var(axis=0, ddof=1)
    np.testing.assert_allclose(moving_variance, 0.9 + 0.1 * unbiased, rtol=1e-10)

    # Off TensorFlow Keras has its mean and its losses in float32 always.
    for variable, weight in zip(model.weights, weights, strict=True):
        np.testing.assert_allclose(weight, variable.numpy(), atol=1e-7, err_msg=variable.path)
