"""RetinaNet on the trunk of a network for photos: a feature pyramid, two heads, anchor boxes."""

import dataclasses
import math

import keras
import numpy as np

from keras_wrn.checks import check_count
from keras_wrn.models.convolution import CHANNELS_LAST
from keras_wrn.models.image_model import ImageModel
from keras_wrn.models.imagenet import imagenet_resnet, resnet_name
from keras_wrn.models.layers import at_least_float32
from keras_wrn.models.stages import stage_outputs

LEVELS = 3, 4, 5, 6, 7  # of the pyramid; level l has a cell for every 2 ** l pixels
SCALES = tuple(2 ** (octave / 3) for octave in range(3))
RATIOS = 0.5, 1.0, 2.0  # height over width
PER_CELL = len(SCALES) * len(RATIOS)
STAGES = 2, 3, 4  # of the trunk
CHANNELS = 256  # of the pyramid and the heads
DEPTH = 4  # convolutions of a head
GROUPS = 32  # of the heads' normalisation
PRIOR = 0.01  # the probability of each class at each anchor before training
BASE = 32.0  # the side in pixels of the smallest square anchor
SHAPE = (512, 512, 3)
CLASSES = 80  # of COCO
BOX, CLASSES_OUTPUT = "box", "classification"  # the outputs


@dataclasses.dataclass(frozen=True)
class Anchors:
    """Nine boxes around the centre of each cell of a feature pyramid.

    Args:
        size: int, height and width of the images in pixels.
        base: float, the side in pixels of the smallest square anchor. Its box is twice as large at
            each further level of the pyramid. The paper has 32, for images of 800 pixels.

    Source: Lin et al. 2017, https://arxiv.org/abs/1708.02002.

    Example:

    ```python
    anchors = keras_wrn.models.retinanet.Anchors(256, base=16)
    anchors.boxes.shape   # (12276, 4)
    ```
    """

    size: int
    base: float = BASE

    @property
    def boxes(self):
        """float32 (n, 4): left, top, right, bottom in pixels, level by level, row by row."""
        levels = []
        for level in LEVELS:
            stride, side = 2**level, self.base * 2 ** (level - LEVELS[0])
            shapes = [
                (side * scale / ratio**0.5, side * scale * ratio**0.5)  # width, height
                for scale in SCALES
                for ratio in RATIOS
            ]
            centers = (np.arange(-(-self.size // stride)) + 0.5) * stride
            y, x = np.meshgrid(centers, centers, indexing="ij")
            middles = np.stack([x, y], axis=-1)[:, :, None]
            halves = np.array(shapes) / 2
            levels.append(np.concatenate([middles - halves, middles + halves], -1).reshape(-1, 4))
        return np.concatenate(levels).astype("float32")


def retinanet(trunk, classes=CLASSES, *, anchor_size=BASE, name=None):
    """Build a detector on a network, with random weights above it.

    A feature pyramid joins the stages 2 to 4 of the network, and two coarser levels follow. Two
    heads, each the same for all levels, say what is in each anchor box and how the box is to move.

    Args:
        trunk: a network such as `keras_wrn.WideResNet34(2)`, for square images of a fixed size. Its
            layers are shared, and its classifier, if it has one, is left out.
        classes: int.
        anchor_size: float, the side in pixels of the smallest square anchor. The paper's 32 is for
            images of 800 pixels. Smaller images have smaller things in them, and need less.
        name: str, the model's name; None for the trunk's with "retinanet_" before it.

    Returns:
        A functional `keras.Model` from images (batch, size, size, 3), as the trunk takes them, to a
        dict of `box` (batch, anchors, 4), how each anchor box moves, and `classification` (batch,
        anchors, classes), logits; both float32. `keras_wrn.detection` turns them into boxes.

    Raises:
        ValueError: the trunk has no four stages or takes no square images of a fixed size, or an
            argument is out of range.

    Source: Lin et al. 2017, https://arxiv.org/abs/1708.02002. The normalisation of the heads, by
    groups of channels, is not in the paper.

    Example:

    ```python
    trunk = keras_wrn.WideResNet18(include_top=False, input_shape=(128, 128, 3))
    model = keras_wrn.detection.retinanet(trunk, classes=80)
    model.output["classification"].shape   # (None, 3087, 80)
    ```
    """
    classes = check_count("classes", classes)
    if not isinstance(anchor_size, int | float) or not 0 < anchor_size < math.inf:
        raise ValueError(
            f"`anchor_size` should be a number of pixels above 0. Received: {anchor_size!r}"
        )
    stages = stage_outputs(trunk)
    height, width, channels = trunk.inputs[0].shape[1:]
    if not set(STAGES) <= stages.keys():
        raise ValueError(
            "A detector needs a network with four stages, such as "
            f"`keras_wrn.WideResNet34`. Received: {trunk.name!r} with {max(stages)}"
        )
    if height is None or height != width:
        raise ValueError(
            "A detector is for square images of a fixed size. Received: a network for images of "
            f"shape {(height, width, channels)}"
        )
    levels = _pyramid([stages[stage] for stage in STAGES])
    bias = keras.initializers.Constant(-math.log((1 - PRIOR) / PRIOR))
    outputs = {
        BOX: AnchorOutput(anchor_size, name=BOX)(_head(levels, 4, "zeros", "box")),
        CLASSES_OUTPUT: AnchorOutput(anchor_size, name=CLASSES_OUTPUT)(
            _head(levels, classes, bias, "class")
        ),
    }
    model = ImageModel(trunk.inputs[0], outputs, name=name or f"retinanet_{trunk.name}")
    preprocessing = getattr(trunk, "preprocessing", None)
    if preprocessing is not None:  # its classes are the trunk's
        preprocessing = dataclasses.replace(
            preprocessing, size=height, crop=1.0, interpolation="bilinear", class_names=()
        )
    model.preprocessing = preprocessing
    return model


def named_retinanet(
    depth, width, *, classes=CLASSES, input_shape=SHAPE, anchor_size=BASE, input_tensor=None,
    activation="relu", strided_padding="torch", name=None, normalization=None,
):  # fmt: skip
    """`retinanet` on a network of the ImageNet family with random weights, for the catalogue.

    The arguments are those of `imagenet_resnet` and `retinanet`.
    """
    trunk = imagenet_resnet(
        depth, width, include_top=False, input_shape=input_shape, input_tensor=input_tensor,
        activation=activation, strided_padding=strided_padding, normalization=normalization,
    )  # fmt: skip
    return retinanet(trunk, classes, anchor_size=anchor_size, name=name)


def retinanet_name(depth, width):
    """The name of a detector of the catalogue."""
    return f"retinanet_{resnet_name(depth, width)}"


def is_detector(model):
    """Whether a model is a detector as `retinanet` builds it."""
    names = getattr(model, "output_names", None) or ()
    return set(names) == {BOX, CLASSES_OUTPUT} and all(
        isinstance(model.get_layer(name), AnchorOutput) for name in names
    )


def trunk_of(model):
    """The network that a detector was built on, without its classifier; its layers are shared."""
    return keras.Model(model.inputs[0], stage_outputs(model)[STAGES[-1]], name=model.name)


def anchors_of(model) -> Anchors:
    """The anchor boxes of a detector.

    Raises:
        ValueError: the model is none.
    """
    if not is_detector(model):
        raise ValueError(
            "Expected a detector, as `keras_wrn.detection.retinanet` builds it. Received: "
            f"{getattr(model, 'name', model)!r}"
        )
    return Anchors(model.input_shape[1], model.get_layer(BOX).anchor_size)


@keras.saving.register_keras_serializable("keras_wrn")
class AnchorOutput(keras.layers.Concatenate):
    """Join the answers for all levels of the pyramid, and know which anchors they are for.

    Args:
        anchor_size: float, the side in pixels of the smallest square anchor.
        **kwargs: those of `keras.layers.Layer`.
    """

    def __init__(self, anchor_size, **kwargs):
        super().__init__(**{"axis": 1, "dtype": at_least_float32(), **kwargs})
        self.anchor_size = float(anchor_size)

    def get_config(self):
        return {**super().get_config(), "anchor_size": self.anchor_size}


def _pyramid(stages):
    """The five levels, the finest first, of the maps of three stages."""
    inner = [
        _conv(CHANNELS, 1, name=f"pyramid_inner{level}")(stage)
        for level, stage in zip(LEVELS, stages, strict=False)
    ]
    for i in (1, 0):  # from coarse to fine
        height, width = inner[i].shape[1:3]
        above = keras.layers.UpSampling2D(
            2, data_format=CHANNELS_LAST, name=f"pyramid_up{LEVELS[i]}"
        )(inner[i + 1])
        if above.shape[1:3] != (height, width):  # a side that is no multiple of the stride
            crop = ((0, above.shape[1] - height), (0, above.shape[2] - width))
            above = keras.layers.Cropping2D(
                crop, data_format=CHANNELS_LAST, name=f"pyramid_crop{LEVELS[i]}"
            )(above)
        inner[i] = keras.layers.Add(name=f"pyramid_add{LEVELS[i]}")([inner[i], above])
    levels = [
        _conv(CHANNELS, 3, name=f"pyramid_outer{level}")(x)
        for level, x in zip(LEVELS, inner, strict=False)
    ]
    levels.append(_coarser(stages[-1], 6))
    x = keras.layers.Activation("relu", name="pyramid_act6")(levels[-1])
    return [*levels, _coarser(x, 7)]


def _coarser(x, level):
    """A level with half of the height and width, whose padding is that of "same".

    The zeros have a layer of their own. In bfloat16 on a CPU, oneDNN leaves the gradient of those
    weights undefined that meet nothing but its own padding, as on a map of one pixel.
    """
    sides = [((side % 2), 1) for side in x.shape[1:3]]
    x = keras.layers.ZeroPadding2D(sides, CHANNELS_LAST, name=f"pyramid_pad{level}")(x)
    name = f"pyramid_outer{level}"
    return _conv(CHANNELS, 3, 2, padding="valid", name=name)(x)


def _conv(filters, size, strides=1, *, padding="same", name, **settings):
    return keras.layers.Conv2D(
        filters, size, strides, padding, data_format=CHANNELS_LAST,
        **{"kernel_initializer": "he_normal", **settings}, name=name,
    )  # fmt: skip


def _head(levels, values, bias, name):
    """The answers (batch, anchors, values) of one head for each level; its layers are shared."""
    layers = []
    for i in range(1, DEPTH + 1):
        layers += [
            _conv(CHANNELS, 3, use_bias=False, name=f"{name}_conv{i}"),
            keras.layers.GroupNormalization(GROUPS, epsilon=1e-5, name=f"{name}_norm{i}"),
            keras.layers.Activation("relu", name=f"{name}_act{i}"),
        ]
    small = keras.initializers.RandomNormal(stddev=0.01)
    settings = {"kernel_initializer": small, "bias_initializer": bias, "dtype": at_least_float32()}
    layers.append(_conv(PER_CELL * values, 3, **settings, name=f"{name}_output"))
    outputs = []
    for level, x in zip(LEVELS, levels, strict=True):
        for layer in layers:
            x = layer(x)
        outputs.append(keras.layers.Reshape((-1, values), name=f"{name}_flat{level}")(x))
    return outputs
