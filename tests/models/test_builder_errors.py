"""What cannot be built is a ValueError: what was expected, and what came."""

import keras
import numpy as np
import pytest

from keras_wrn.catalog import WideResNet

NAN = float("nan")
EXPECTED = {
    "depth": "an integer 6 N + 4 with N >= 1 (10, 16, 22, 28, 40, ...), or give `num_blocks`.",
    "num_blocks": "a positive integer or None.",
    "width": "a positive number that leaves at least one channel of the 16.",
    "block": "'B' followed by the kernel size, 1 or 3, of each convolution, such as B33, ",
    "dropout": "a rate, 0 <= dropout < 1.",
    "input_shape": "(height, width, channels), whatever the image data format, height and width "
    "at least 4 or None, channels at least 1, such as (32, 32, 3).",
    "classes": "a positive integer.",
}


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("depth", 27),
        ("depth", 29),
        ("depth", 41),
        ("depth", 9),
        ("depth", -5),
        ("depth", 28.0),
        ("depth", "28"),
        ("depth", None),
        ("depth", True),
        ("depth", NAN),
        ("num_blocks", 0),
        ("num_blocks", 1.6),
        ("num_blocks", True),
        ("num_blocks", "2"),
        ("width", 0),
        ("width", -1),
        ("width", 0.01),
        ("width", NAN),
        ("width", float("inf")),
        ("width", "10"),
        ("width", None),
        ("width", True),
        ("block", "b33"),
        ("block", "B(3,1)"),
        ("block", (3, 1, 3)),
        ("block", "B135"),
        ("block", "B333\n"),
        ("block", "B"),
        ("block", ""),
        ("block", None),
        ("dropout", 1),
        ("dropout", 30),
        ("dropout", -0.1),
        ("dropout", NAN),
        ("dropout", None),
        ("dropout", "0.3"),
        ("dropout", True),
        ("input_shape", (3, 32, 3)),
        ("input_shape", (32, 3, 3)),
        ("input_shape", [2, None, 1]),
        ("input_shape", (32, 32, 0)),
        ("input_shape", (32, 32, None)),
        ("input_shape", (32.0, 32, 3)),
        ("input_shape", (32, 32)),
        ("input_shape", 32),
        ("classes", 0),
        ("classes", 10.4),
        ("classes", None),
        ("classes", True),
    ],
)
def test_the_message_says_what_was_expected_and_what_came(argument, value):
    with pytest.raises(ValueError) as error:
        WideResNet(**{"depth": 10, "width": 1, argument: value})
    message = str(error.value)
    assert message.startswith(f"`{argument}` should be {EXPECTED[argument]}")
    assert message.endswith(f"Received: {argument}={value!r}")


@pytest.mark.parametrize("shape", [(4, 200, 200), (3, 32, 32), (16, None, None), (3, 2, 32)])
def test_shapes_with_the_channels_first_are_refused(shape):
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match=r"should be \(height, width, channels\)"):
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
    with pytest.raises(ValueError, match="`input_shape` should be"):
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
