"""A step on two replicas is the step of one device on the whole batch."""

import numpy as np
import pytest

# In float64, where nothing but a mistake tells the two apart. The network that trains synchronises
# its batch norm; one layer of its own shows what happens to statistics that are not synchronised.
TRAIN = """
import sys
import keras, numpy as np, tensorflow as tf
from keras_wrn.catalog import WideResNet
from keras_wrn.models import BatchNormalization, Dropout
from keras_wrn.training import SGD

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
keras.config.set_floatx("float64")
generator = np.random.default_rng(0)
images = generator.normal(size=(24, 8, 8, 3)) + np.arange(24)[:, None, None, None] / 8
labels = generator.integers(0, 10, 24)

def train(strategy):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = WideResNet(10, 1, input_shape=(8, 8, 3))
        for layer in model.layers:
            if isinstance(layer, BatchNormalization):
                layer.synchronized = strategy.num_replicas_in_sync > 1
        rate = keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.1, 0.02])
        optimizer = SGD(rate, weight_decay=0.1, reset_momentum_on_drop=True)
        model.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(images, labels, batch_size=8, shuffle=False, verbose=0)
    return model

def statistics(strategy):
    with strategy.scope():
        layer = BatchNormalization()
        layer.build((None, 8, 8, 3))
    def step(context):
        half = 12 * tf.cast(context.replica_id_in_sync_group, "int32")
        layer(tf.constant(images)[half:half + 12], training=True)
    tf.function(lambda: strategy.run(lambda: step(tf.distribute.get_replica_context())))()
    return layer.moving_mean.numpy(), layer.moving_variance.numpy()

two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert two.num_replicas_in_sync == 2
one = train(tf.distribute.get_strategy())
mirrored = train(two)
arrays = {"images": images}
arrays["mean"], arrays["variance"] = statistics(two)

def masks(strategy):
    # What two layers of dropout make of ones, twice, on each replica.
    with strategy.scope():
        layers = [Dropout(0.3, seed=7, dtype="float32") for _ in range(2)]
    def step():
        return [layer(tf.ones((4, 1000)), training=True) for layer in layers]
    run = tf.function(lambda: [strategy.experimental_local_results(y) for y in strategy.run(step)])
    return np.array([[[y.numpy() for y in layer] for layer in run()] for _ in range(2)])

arrays["masks"] = masks(two)
with two.scope():
    model = WideResNet(10, 1, input_shape=(8, 8, 3))
    model.compile(SGD(0.1, gradient_accumulation_steps=2), "mse", jit_compile=False)
    try:
        model.optimizer.build(model.trainable_variables)
    except ValueError as error:
        arrays["accumulation"] = str(error)
for i, (a, b) in enumerate(zip(one.weights, mirrored.weights)):
    assert a.path == b.path
    arrays[f"one{i}"], arrays[f"two{i}"] = a.numpy(), b.numpy()
np.savez(sys.argv[1], **arrays)
"""


@pytest.fixture(scope="module")
def results(run_python, tmp_path_factory):
    path = tmp_path_factory.mktemp("mirrored") / "results.npz"
    run_python(TRAIN, path)
    with np.load(path) as arrays:
        return dict(arrays)


def test_weight_decay_counts_once(results):
    count = sum(name.startswith("one") for name in results)
    assert count == 39
    for i in range(count):
        np.testing.assert_allclose(results[f"two{i}"], results[f"one{i}"], atol=1e-9)


def test_statistics_that_are_not_synchronised_are_averaged(results):
    halves = results["images"].reshape(2, -1, 3)
    mean = halves.mean(axis=1).mean(axis=0)
    variance = halves.var(axis=1, ddof=1).mean(axis=0)
    np.testing.assert_allclose(results["mean"], 0.1 * mean, rtol=1e-9)
    np.testing.assert_allclose(results["variance"], 0.9 + 0.1 * variance, rtol=1e-9)


def test_each_replica_drops_units_of_its_own(results):
    calls, layers, replicas, _, _ = results["masks"].shape
    assert (calls, layers, replicas) == (2, 2, 2)
    kept = results["masks"] > 0
    np.testing.assert_allclose(results["masks"][kept], 1 / 0.7, rtol=1e-6)
    assert kept.mean() == pytest.approx(0.7, abs=0.02)
    flat = kept[:, 0].reshape(4, -1)  # the calls and replicas of one layer
    for i in range(4):
        for j in range(i):
            agreement = (flat[i] == flat[j]).mean()
            assert agreement == pytest.approx(0.7**2 + 0.3**2, abs=0.05), (i, j)
    np.testing.assert_array_equal(kept[:, 0], kept[:, 1])  # the same seed, the same masks


def test_accumulation_on_several_replicas_is_refused(results):
    assert "several replicas (here 2)" in str(results["accumulation"])
