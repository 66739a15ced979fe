"""What makes a trained classifier: its last layer, and the images and classes it is for."""

import dataclasses

import keras

from keras_wrn.data.preprocess import Preprocessing
from keras_wrn.models.normalization import normalizes


def find_classifier(model):
    """The fully connected layer that a model ends in.

    Raises:
        ValueError: the model ends in something else.
    """
    outputs = getattr(model, "outputs", None) or []
    layer = outputs[0]._keras_history.operation if len(outputs) == 1 else None
    if (
        isinstance(layer, keras.layers.Dense)
        and layer.activation in (keras.activations.softmax, keras.activations.linear)
        and layer.quantization_mode is None
        and len(layer.output.shape) == 2
    ):
        return layer
    ends = f"{type(layer).__name__} layer {layer.name!r}" if layer else f"{len(outputs)} outputs"
    if isinstance(layer, keras.layers.Dense):
        ends += f" with activation {keras.activations.serialize(layer.activation)!r}"
    raise ValueError(
        "Expected a classifier: a functional model that ends in one `Dense` layer, not quantized, "
        "with activation 'softmax' or None (`include_top=True`, `classifier_activation='softmax'` "
        f"or None). Received: {getattr(model, 'name', model)!r}, which ends in {ends}"
    )


def resolve_preprocessing(model, preprocessing=None, class_names=None, classes=None):
    """Return the given preprocessing, or the model's own, after checking that it fits the model.

    `class_names`, if given, replace its own. `classes` is how many the model has, None for those of
    a classifier. `in_model` follows the model's layers, whatever the
    preprocessing says.

    Raises:
        ValueError: there is none, or its channels, size or classes do not match the model's.
    """
    if preprocessing is None:
        preprocessing = getattr(model, "preprocessing", None)
    if preprocessing is None:
        raise ValueError(
            f"The model {model.name!r} has no preprocessing. Give "
            "`preprocessing=keras_wrn.Preprocessing(size=..., mean=..., std=...)`, or set "
            "`model.preprocessing`."
        )
    if not isinstance(preprocessing, Preprocessing):
        raise ValueError(
            "`preprocessing` should be a `keras_wrn.Preprocessing`. Received: "
            f"preprocessing={preprocessing!r}"
        )
    if class_names is not None:
        preprocessing = dataclasses.replace(preprocessing, class_names=class_names)
    preprocessing = dataclasses.replace(preprocessing, in_model=normalizes(model))
    shape = _image_shape(model)
    names = preprocessing.class_names
    if preprocessing.channels != shape[2]:
        raise ValueError(
            f"`preprocessing` should have a mean and std for each of the model's {shape[2]} "
            f"channels. Received: mean={preprocessing.mean}"
        )
    if any(side not in (None, preprocessing.size) for side in shape[:2]):
        raise ValueError(
            f"`preprocessing` should be for the model's images, {shape[0]} x {shape[1]}. "
            f"Received: size={preprocessing.size}"
        )
    pixels = preprocessing.size**2 * preprocessing.channels
    if preprocessing.zca is not None and len(preprocessing.zca.mean) != pixels:
        raise ValueError(
            f"`preprocessing` should whiten the {pixels} values of the model's images. "
            f"Received: ZCA of {len(preprocessing.zca.mean)} values"
        )
    check_names(names, model.output_shape[-1] if classes is None else classes)
    return preprocessing


def check_names(names, classes):
    """Raise a ValueError unless there is one name for each class, or no names at all."""
    if names and len(names) != classes:
        raise ValueError(
            f"`preprocessing` should name the model's {classes} classes, or none. "
            f"Received: {len(names)} class names"
        )


def input_shape(model, preprocessing):
    """(height, width, channels) of the images an artifact takes; None for any height or width."""
    if preprocessing.zca is not None:
        return preprocessing.size, preprocessing.size, preprocessing.channels
    return _image_shape(model)


def _image_shape(model):
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4:
        raise ValueError(
            "Expected a functional model with one input, images (batch, height, width, channels). "
            f"Received: {model!r} with input shape {shape}"
        )
    return shape[1:]
