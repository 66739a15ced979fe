"""What cannot be built is a ValueError: what was expected, what came, the nearest valid value."""

import re

import keras
import numpy as np
import pytest

from keras_wrn.catalog import WideResNet

NAN = float("nan")


@pytest.mark.parametrize(
    ("argument", "value", "nearest"),
    [
        ("depth", 27, "28"),
        ("depth", 29, "28"),
        ("depth", 41, "40"),
        ("depth", 9, "10"),
        ("depth", -5, "10"),
        ("depth", 28.0, "28"),
        ("depth", "28", "10"),
        ("depth", None, "10"),
        ("depth", True, "10"),
        ("depth", NAN, "10"),
        ("num_blocks", 0, "1"),
        ("num_blocks", 1.6, "2"),
        ("num_blocks", True, "1"),
        ("num_blocks", "2", "1"),
        ("width", 0, "0.0625"),
        ("width", -1, "0.0625"),
        ("width", 0.01, "0.0625"),
        ("width", NAN, "1"),
        ("width", float("inf"), "1"),
        ("width", "10", "1"),
        ("width", None, "1"),
        ("width", True, "1"),
        ("block", "b33", "'B33'"),
        ("block", "B(3,1)", "'B31'"),
        ("block", (3, 1, 3), "'B313'"),
        ("block", "B135", "'B13'"),
        ("block", "B333\n", "'B333'"),
        ("block", "B", "'B33'"),
        ("block", "", "'B33'"),
        ("block", None, "'B33'"),
        ("dropout", 1, "0.9"),
        ("dropout", 30, "0.9"),
        ("dropout", -0.1, "0.0"),
        ("dropout", NAN, "0.0"),
        ("dropout", None, "0.0"),
        ("dropout", "0.3", "0.0"),
        ("dropout", True, "0.0"),
        ("input_shape", (3, 32, 3), "(4, 32, 3)"),
        ("input_shape", (32, 3, 3), "(32, 4, 3)"),
        ("input_shape", [2, None, 1], "(4, None, 1)"),
        ("input_shape", (32, 32, 0), "(32, 32, 1)"),
        ("input_shape", (32, 32, None), "(32, 32, 3)"),
        ("input_shape", (32.0, 32, 3), "(32, 32, 3)"),
        ("input_shape", (32, 32), "(32, 32, 3)"),
        ("input_shape", 32, "(32, 32, 3)"),
        ("classes", 0, "1"),
        ("classes", 10.4, "10"),
        ("classes", None, "1"),
        ("classes", True, "1"),
    ],
)
def test_the_message_has_the_nearest_valid_value(argument, value, nearest):
    with pytest.raises(ValueError) as error:
        WideResNet(**{"depth": 10, "width": 1, argument: value})
    message = str(error.value)
    assert message.startswith(f"`{argument}` should be ")
    assert f"Nearest valid value: {nearest}. " in message
    assert message.endswith(f"Received: {argument}={value!r}")


@pytest.mark.parametrize(
    ("shape", "nearest"),
    [
        ((4, 200, 200), "(200, 200, 4)"),
        ((3, 32, 32), "(32, 32, 3)"),
        ((16, None, None), "(None, None, 16)"),
        ((3, 2, 32), "(4, 32, 3)"),
    ],
)
def test_shapes_with_the_channels_first_are_refused(shape, nearest):
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match=re.escape(f"value: {nearest}. Received")):
            WideResNet(10, 1, input_shape=shape)
        assert WideResNet(10, 1, input_shape=(8, 200, 4)).output_shape == (None, 10)
    finally:
        keras.config.set_image_data_format(before)


@pytest.mark.parametrize(
    ("argument", "value", "expected"),
    [
        ("pooling", "mean", "None, 'avg' or 'max'"),
        ("strided_padding", "same", "'torch' or 'tf'"),
        ("weights", "imagenet", "`.weights.h5` or `.keras`"),
    ],
)
def test_a_bad_choice_is_named(argument, value, expected):
    with pytest.raises(ValueError) as error:
        WideResNet(10, 1, **{argument: value})
    assert f"`{argument}` should be" in str(error.value)
    assert expected in str(error.value)
    assert f"Received: {argument}={value!r}" in str(error.value)


def test_an_input_tensor_is_checked_too():
    with pytest.raises(ValueError, match=r"Nearest valid value: \(4, 4, 3\)"):
        WideResNet(10, 1, input_tensor=keras.Input((3, 3, 3)))
    with pytest.raises(ValueError, match="KerasTensor"):
        WideResNet(10, 1, input_tensor=np.ones((1, 8, 8, 3), "float32"))


def test_numpy_numbers_are_numbers():
    model = WideResNet(np.int64(10), np.float32(1), np.float32(0.5), classes=np.int32(3))
    assert model.output_shape == (None, 3)


def test_depth_is_only_a_label_beside_num_blocks():
    model = WideResNet(27, 1, num_blocks=1, input_shape=(8, 8, 3))
    assert model.name == "wrn_27_1"
    assert model.count_params() == WideResNet(10, 1, input_shape=(8, 8, 3)).count_params()


def test_classes_do_not_matter_without_the_top():
    assert WideResNet(10, 1, include_top=False, classes=0).output_shape == (None, 8, 8, 64)
