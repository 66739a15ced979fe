"""The detector: its levels and heads, its losses by hand, saving."""

import keras
import numpy as np
import pytest

import keras_wrn
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


def test_what_it_cannot_be_built_on_is_named():
    with pytest.raises(ValueError, match=r"fixed size. Received: .*\(None, None, 3\)"):
        retinanet(keras_wrn.WideResNet18(include_top=False, input_shape=(None, None, 3)), 3)
    with pytest.raises(ValueError, match="stages"):
        retinanet(keras_wrn.WideResNet(10, 1), 3)
    with pytest.raises(ValueError, match="`classes`"):
        retinanet(keras_wrn.WideResNet18(include_top=False), 0)
