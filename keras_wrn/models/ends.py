"""The two ends that every network here shares: the checked input, the head, the finished model."""

import dataclasses
import math
import numbers

import keras

from keras_wrn.checks import is_int
from keras_wrn.models.image_model import ImageModel
from keras_wrn.models.layers import at_least_float32, classifier
from keras_wrn.models.normalization import LAYER, Normalization


def head(x, include_top, pooling, classes, classifier_activation):
    """Add the head to a trunk: pooling and classifier, as `include_top` and `pooling` say."""
    data_format = "channels_last"
    if include_top or pooling == "avg":
        x = keras.layers.GlobalAveragePooling2D(data_format=data_format, name="avg_pool")(x)
    elif pooling == "max":
        x = keras.layers.GlobalMaxPooling2D(data_format=data_format, name="max_pool")(x)
    return classifier(x, classes, classifier_activation) if include_top else x


def normalized(inputs, normalization):
    """What the first convolution reads of the inputs.

    Args:
        inputs: Keras tensor.
        normalization: function that returns the `Preprocessing` the network is to do by itself, or
            None.

    Returns:
        The inputs and None; or the normalised inputs, and the preprocessing of the network that
        takes pixels.

    Raises:
        ValueError: the images have other channels, or are to be whitened.
    """
    if normalization is None:
        return inputs, None
    preprocessing = normalization()
    preprocessing = dataclasses.replace(preprocessing, in_model=True)
    if inputs.shape[-1] != preprocessing.channels:
        raise ValueError(
            "`include_preprocessing` normalises images of "
            f"{preprocessing.channels} channels. Received: images of shape {inputs.shape[1:]}"
        )
    height, width = inputs.shape[1:3]
    if height == width and height is not None:
        preprocessing = dataclasses.replace(preprocessing, size=height)
    layer = Normalization(
        preprocessing.mean, preprocessing.std, dtype=at_least_float32(), name=LAYER
    )
    return layer(inputs), preprocessing


def finish(inputs, outputs, input_tensor, name, preprocessing):
    """The functional model between two tensors, with its preprocessing."""
    if input_tensor is not None:
        inputs = keras.utils.get_source_inputs(input_tensor)
        inputs = inputs[0] if len(inputs) == 1 else inputs
    model = ImageModel(inputs, outputs, name=name)
    model.preprocessing = preprocessing
    return model


def check_width(width, base):
    """Raise a ValueError unless `base` channels times the width leave at least one."""
    valid = isinstance(width, numbers.Real) and not isinstance(width, bool)
    if not valid or not math.isfinite(width) or round(base * width) < 1:
        raise ValueError(
            f"`width` should be a positive number that leaves at least one channel of the {base}. "
            f"Received: width={width!r}"
        )


def check_rate(name, rate):
    """Check that an argument is the rate of a dropout, and return it as a float."""
    valid = isinstance(rate, numbers.Real) and not isinstance(rate, bool)
    if not valid or not 0 <= rate < 1:
        raise ValueError(f"`{name}` should be a rate, 0 <= {name} < 1. Received: {name}={rate!r}")
    return float(rate)


def check_options(classes, pooling, strided_padding, include_top):
    """Raise a ValueError for an argument that no network here can be built with."""
    if include_top:
        check_classes(classes)
    if pooling not in (None, "avg", "max"):
        raise ValueError(f"`pooling` should be None, 'avg' or 'max'. Received: pooling={pooling!r}")
    if strided_padding not in ("torch", "tf"):
        raise ValueError(
            "`strided_padding` should be 'torch' or 'tf'. "
            f"Received: strided_padding={strided_padding!r}"
        )


def check_classes(classes):
    """Raise a ValueError unless `classes` is a valid number of classes."""
    if not is_int(classes) or classes < 1:
        raise ValueError(f"`classes` should be a positive integer. Received: classes={classes!r}")


def image_input(input_tensor, input_shape, min_size, default, include_top):
    """The input of a network, for images of at least `min_size`, by default of shape `default`."""
    if input_shape is None:  # as in keras.applications
        input_shape = default if include_top else (None, None, 3)
    if input_tensor is not None:
        if not keras.utils.is_keras_tensor(input_tensor):
            return keras.Input(tensor=input_tensor, name="image")
        check_input_shape(tuple(input_tensor.shape[1:]), min_size, default)
        return input_tensor
    check_input_shape(input_shape, min_size, default)
    return keras.Input(tuple(input_shape), name="image")


def check_input_shape(input_shape, min_size, default):
    """Raise a ValueError unless the shape is (height, width, channels) of at least `min_size`."""
    try:
        height, width, channels = input_shape
        sizes_valid = all(s is None or (is_int(s) and s >= min_size) for s in (height, width))
        # Who has set Keras to `channels_first` may mean (channels, height, width).
        reversed_ = keras.config.image_data_format() == "channels_first" and is_int(height)
        if (
            sizes_valid
            and is_int(channels)
            and 1 <= channels <= (height if reversed_ else channels)
        ):
            return
    except (TypeError, ValueError):
        pass
    raise ValueError(
        "`input_shape` should be (height, width, channels), whatever the image data format, height "
        f"and width at least {min_size} or None, channels at least 1, such as {default}. "
        f"Received: input_shape={input_shape!r}"
    )
