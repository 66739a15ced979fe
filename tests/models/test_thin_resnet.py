"""The thin ResNets: what the tables count, how deep they are, stochastic depth, saving."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import without_values

import keras_wrn
from keras_wrn import PreActResNet, ResNet, create_model
from keras_wrn.catalog import model_info
from keras_wrn.models import PaddedShortcut, StochasticDepth

# Convolutions on the longest path, and the classifier, are the depth; the counts are also those of
# the networks in PyTorch, of tests/reference_torch.py.
NAMES = {
    "resnet_110": (110, 1_727_962),
    "resnet_1202": (1202, 19_421_274),
    "preact_resnet_110": (110, 1_727_962),
    "preact_resnet_164": (164, 1_703_258),
    "preact_resnet_1001": (1001, 10_327_706),
}


def trainable(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


@pytest.mark.parametrize(
    "name", [pytest.param(x, marks=[pytest.mark.slow] * (NAMES[x][0] > 1000)) for x in NAMES]
)
def test_depth_and_parameters(name):
    model = without_values(create_model, name)
    convs = [x.name for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    path = [x for x in convs if "shortcut" not in x]
    assert (len(path) + 1, trainable(model)) == NAMES[name]
    assert model.name == name and model_info(name).params == NAMES[name][1]
    shortcuts = [x for x in model.layers if x.name.endswith("_shortcut")]
    bottlenecks = "group1_block1_conv3" in convs
    assert len(shortcuts) == (3 if bottlenecks else 2)
    assert all(isinstance(x, PaddedShortcut) != bottlenecks for x in shortcuts)


def test_a_padded_shortcut_skips_pixels_and_adds_channels_of_zeros():
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 3)).astype("float32")
    layer = PaddedShortcut(7, 2)
    y = keras.ops.convert_to_numpy(layer(x))
    np.testing.assert_array_equal(y[..., :3], x[:, ::2, ::2])
    assert y.shape == layer.compute_output_shape(x.shape) == (2, 3, 3, 7)
    assert not y[..., 3:].any()


def test_stochastic_depth_drops_whole_batches_and_scales_outside_training():
    keras.utils.set_random_seed(0)
    layer, x = StochasticDepth(0.3), np.ones((4, 2, 2, 3), "float32")
    np.testing.assert_allclose(layer(x), 0.7, rtol=1e-6)
    found = [keras.ops.convert_to_numpy(layer(x, training=True)) for _ in range(400)]
    assert all(np.ptp(y) == 0 for y in found)  # one draw for all
    values = [y.flat[0] for y in found]
    assert set(np.round(values, 5)) == {0.0, 1.0}
    assert abs(np.mean(values) - 0.7) < 0.08


@pytest.mark.parametrize("build", [ResNet, PreActResNet])
def test_blocks_are_dropped_more_often_towards_the_end(build):
    model = build(20, stochastic_depth=0.6)
    layers = [x for x in model.layers if isinstance(x, StochasticDepth)]
    count = len([x for x in model.layers if isinstance(x, keras.layers.Add)])
    assert len(layers) == count
    rates = [layer.rate for layer in layers]
    np.testing.assert_allclose(rates, 0.6 * np.arange(1, count + 1) / count)
    assert not any(isinstance(x, StochasticDepth) for x in build(20).layers)
    assert trainable(model) == trainable(build(20))


@pytest.mark.parametrize(("build", "settings"), [
    (ResNet, {"depth": 8, "stochastic_depth": 0.5}),
    (PreActResNet, {"depth": 11, "bottleneck": True}),
    (PreActResNet, {"depth": 8, "bottleneck": False, "activation": "silu", "classes": 7}),
])  # fmt: skip
def test_a_saved_network_answers_the_same(build, settings, tmp_path):
    model = build(**settings, input_shape=(16, 16, 3), include_preprocessing=True)
    model.save(tmp_path / "model.keras")
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype("float32")
    read = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(model(images), read(images))
    assert read.preprocessing == model.preprocessing and model.preprocessing.in_model


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="it is about TensorFlow")
def test_the_optimizer_is_built_before_the_step_is_traced(monkeypatch):
    built = []
    monkeypatch.setattr(
        keras_wrn.SGD, "build", lambda self, variables: built.append(tf.inside_function())
    )
    model = ResNet(8, input_shape=(8, 8, 3))
    model.compile(keras_wrn.SGD(0.1), "categorical_crossentropy")
    with pytest.raises(ValueError, match="Unknown variable"):  # this build does nothing
        model.fit(np.zeros((2, 8, 8, 3)), np.eye(10)[:2], verbose=0)
    assert built[0] is False


@pytest.mark.parametrize(("build", "settings", "message"), [
    (ResNet, {"depth": 111}, r"6 N \+ 2.*without bottlenecks. Received: depth=111"),
    (PreActResNet, {"depth": 110, "bottleneck": False, "stochastic_depth": 1.0},
     "`stochastic_depth`.*Received: stochastic_depth=1.0"),
    (PreActResNet, {"depth": 165}, r"9 N \+ 2.*with bottlenecks. Received: depth=165"),
    (PreActResNet, {"depth": 2, "bottleneck": True}, "depth=2"),
    (ResNet, {"depth": 20.0}, "depth=20.0"),
])  # fmt: skip
def test_what_cannot_be_built_is_named(build, settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)


def test_other_depths_have_names_and_unusual_blocks_another():
    assert trainable(without_values(create_model, "resnet_20")) == 269_722
    assert create_model("preact_resnet_8").name == "preact_resnet_8"
    assert PreActResNet(11, bottleneck=True).name == "preact_resnet_11_bottleneck"
    model = without_values(PreActResNet, 164, bottleneck=False)
    assert model.name == "preact_resnet_164_basic"


DEEPEST = """
import resource, sys, time
begun = time.monotonic()
import keras, numpy as np
import keras_wrn
model = keras_wrn.PreActResNet(1001)
model.save(sys.argv[1])
model = keras.models.load_model(sys.argv[1])
model.compile(keras_wrn.SGD(0.1), "categorical_crossentropy")
rng = np.random.default_rng(0)
images, labels = rng.normal(size=(4, 32, 32, 3)), np.eye(10)[rng.integers(0, 10, 4)]
assert np.isfinite(model.train_on_batch(images, labels))
print(time.monotonic() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


@pytest.mark.slow
def test_resnet_1001_is_built_saved_loaded_and_trained(tmp_path, run_python):
    seconds, gib = map(float, run_python(DEEPEST, tmp_path / "deep.keras").split()[-2:])
    # On two idle cores 60 to 90 seconds; others may share them. 3.1 to 6.6 GiB were seen.
    assert seconds < 180 and gib < 8
