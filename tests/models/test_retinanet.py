"""The detector: its levels and heads, its losses by hand, saving."""

import keras
import numpy as np
import pytest

import keras_wrn
from keras_wrn.catalog.names import CATALOG, build, model_info
from keras_wrn.models import count_macs
from keras_wrn.models.retinanet import Anchors, retinanet


def make(size=64, classes=3, **settings):
    trunk = keras_wrn.WideResNet18(include_top=False, input_shape=(size, size, 3), **settings)
    return retinanet(trunk, classes)


@pytest.mark.parametrize("size", [64, 100])
def test_there_is_an_answer_for_each_anchor(size):
    model = make(size)
    images = np.random.default_rng(0).normal(size=(2, size, size, 3)).astype("float32")
    answer = model(images)
    count = len(Anchors(size).boxes)
    assert answer["box"].shape == (2, count, 4)
    assert answer["classification"].shape == (2, count, 3)
    chances = 1 / (1 + np.exp(-np.asarray(answer["classification"])))
    assert 0.005 < chances.mean() < 0.02  # the prior


def test_both_heads_are_the_same_for_all_levels():
    model = make()
    for name in ("box", "class"):
        layers = [x for x in model.layers if x.name.startswith(f"{name}_conv")]
        assert len(layers) == 4 and all(len(x._inbound_nodes) == 5 for x in layers)
    heads = sum(
        int(np.prod(w.shape)) for x in model.layers
        if x.name.startswith(("box_", "class_")) for w in x.weights
    )  # fmt: skip
    tower = 4 * (9 * 256 * 256 + 2 * 256)
    assert heads == 2 * tower + 9 * 256 * 9 * (4 + 3) + 9 * (4 + 3)


def test_answers_are_float32_in_low_precision(set_policy):
    set_policy("mixed_bfloat16")
    model = make()
    assert {x.dtype for x in model.output.values()} == {"float32"}
    answer = model(np.zeros((1, 64, 64, 3), "float32"))
    assert all(keras.backend.standardize_dtype(x.dtype) == "float32" for x in answer.values())


def test_a_saved_detector_answers_the_same(tmp_path):
    model = make(include_preprocessing=True)
    model.save(tmp_path / "model.keras")
    read = keras.models.load_model(tmp_path / "model.keras")
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3)).astype("float32")
    before, after = model(images), read(images)
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])
    assert read.preprocessing == model.preprocessing


@pytest.mark.parametrize("size", [64, 96, 128, 100])
def test_the_coarse_levels_are_padded_as_same_pads(size):
    model = make(size)
    images = np.random.default_rng(0).normal(size=(1, size, size, 3)).astype("float32")
    for level in (6, 7):
        layer = model.get_layer(f"pyramid_outer{level}")
        assert layer.padding == "valid"  # oneDNN leaves gradients at its own padding undefined
        source = model.get_layer(f"pyramid_pad{level}").input
        before = keras.Model(model.inputs[0], source)(images)
        same = keras.ops.conv(before, layer.kernel, 2, "same", "channels_last") + layer.bias
        found = keras.Model(model.inputs[0], layer.output)(images)
        np.testing.assert_allclose(found, same, atol=1e-4)


@pytest.mark.parametrize("name", sorted(x for x in CATALOG if x.startswith("retinanet")))
def test_the_catalogue_has_its_parameters(name):
    with keras.StatelessScope(initialize_variables=False):
        model = build(name)
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == model_info(name).params
    keras.backend.clear_session()


def test_the_multiplications_of_shared_heads_are_counted_at_each_level():
    model = make(size=64)
    cells = 8 * 8 + 4 * 4 + 2 * 2 + 1 + 1
    head = 9 * 256 * 256 * 4 * cells
    trunk = count_macs(keras_wrn.WideResNet18(include_top=False, input_shape=(64, 64, 3)))
    inner = 256 * (128 * 64 + 256 * 16 + 512 * 4)
    outer = 9 * 256 * (256 * (64 + 16 + 4) + 512 * 1 + 256 * 1)
    outputs = 9 * 256 * 9 * (4 + 3) * cells
    assert count_macs(model) == trunk + inner + outer + 2 * head + outputs
    sequential = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
    assert count_macs(sequential) == 36 * 9 * 3 * 4


def test_what_it_cannot_be_built_on_is_named():
    with pytest.raises(ValueError, match=r"fixed size. Received: .*\(None, None, 3\)"):
        retinanet(keras_wrn.WideResNet18(include_top=False, input_shape=(None, None, 3)), 3)
    with pytest.raises(ValueError, match="stages"):
        retinanet(keras_wrn.WideResNet(10, 1), 3)
    with pytest.raises(ValueError, match="`classes`"):
        retinanet(keras_wrn.WideResNet18(include_top=False), 0)
