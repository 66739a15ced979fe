"""How a photo and its boxes become an input: fitted into a square; for training scaled and cut too.

keras-cv's layers do it, in TensorFlow. Boxes are corners: left, top, right, bottom in pixels.
"""

import functools

import numpy as np

FORMAT = "xyxy"  # of boxes, in keras-cv's words
TOP, LEFT, SCALE, FLIP = range(4)  # columns of an image's draws
DRAWS = 4


def as_corners(boxes, source):
    """Boxes (k, 4) in one of keras-cv's formats as left, top, right, bottom: float32.

    Args:
        boxes: array (k, 4).
        source: str, such as "xywh"; or "rel_yxyx" and the like, for shares of a photo's sides,
            which stay such.
    """
    from keras_cv.bounding_box import convert_format

    boxes = np.asarray(boxes, "float32").reshape(-1, 4)
    target = f"rel_{FORMAT}" if source.startswith("rel_") else FORMAT
    return np.asarray(convert_format(boxes, source=source, target=target, dtype="float32"))


def fitted_size(height, width, size, xp=np):
    """The height and width that a photo has once it is fitted into a square of `size`.

    These are keras-cv's, in the same float32: now and then the long side is a pixel short.

    Args:
        height, width: int, or with TensorFlow's NumPy as `xp` tensors.
        size: int.
    """
    height, width, size = (xp.asarray(side, "float32") for side in (height, width, size))
    scale = xp.minimum(size / height, size / width)
    return xp.asarray(height * scale, "int32"), xp.asarray(width * scale, "int32")


def check_fits(name, height, width, size):
    """Raise a ValueError if nothing is left of a photo, called `name`, in a square of `size`."""
    if min(fitted_size(height, width, size)) < 1:
        raise ValueError(
            f"{name} is too long and thin for a square of {size} pixels: {width} x {height}"
        )


def fit(image, size):
    """Fit a photo into the upper left of a black square, float32 (size, size, 3) of 0..255.

    Args:
        image: uint8 (height, width, 3), a NumPy array or a tensor.
        size: int.
    """
    return _layers(size)[0](image)


def fit_with_boxes(image, boxes, labels, size):
    """`fit`, and the boxes (k, 4) and labels (k,) there."""
    import tensorflow as tf

    given = {
        "images": tf.convert_to_tensor(image),
        "bounding_boxes": _as_keras_cv(tf, boxes, labels),
    }
    found = _layers(size)[1](given)  # one layer does not take both kinds
    boxes = found["bounding_boxes"]["boxes"]
    boxes = boxes.to_tensor() if isinstance(boxes, tf.RaggedTensor) else boxes
    return found["images"], tf.reshape(boxes, (-1, 4)), labels


def augment(image, boxes, labels, draws, size, scale, flips):
    """Scale a photo, cut a square out of it or fill one up with black, and maybe mirror it.

    Args:
        image: uint8 tensor (height, width, 3).
        boxes: float32 tensor (k, 4).
        labels: int32 tensor (k,).
        draws: float32 tensor (4,) in [0, 1): of the cut's top and left, the scale, the mirror.
        size: int.
        scale: (low, high), the range of the scale; at 1 the photo fits into the square.
        flips: bool, whether half of the photos are mirrored.

    Returns:
        float32 (size, size, 3) of 0..255; the boxes (k, 4), cut off at its borders; the labels
        (k,), -1 for a box of which nothing is left.
    """
    import tensorflow as tf

    *_, resize, flip = _layers(size)
    sides = tf.cast(tf.shape(image)[:2], "float32")
    low, high = scale
    wanted = size / tf.reduce_max(sides) * (low + (high - low) * draws[SCALE])
    scaled = tf.maximum(tf.round(sides * wanted), 1.0)
    offsets = draws[TOP : LEFT + 1] * tf.maximum(scaled - size, 0.0)
    how = {
        "scaled_sizes": scaled[tf.newaxis],
        "image_scales": (scaled / sides)[tf.newaxis],
        "offsets": tf.cast(offsets, "int32")[tf.newaxis],
    }
    images = image[tf.newaxis]
    found = _as_keras_cv(tf, boxes[tf.newaxis], labels[tf.newaxis])
    found = resize.augment_bounding_boxes(found, how, raw_images=images)
    images = resize.augment_images(images, how)
    if flips:
        how = {
            "flip_horizontals": draws[FLIP][tf.newaxis, tf.newaxis],
            "flip_verticals": tf.zeros((1, 1)),
        }
        found = flip.augment_bounding_boxes(found, how, raw_images=images)
        images = flip.augment_images(images, how)
    pixels = tf.ensure_shape(images[0], (size, size, 3))
    return pixels, found["boxes"][0], tf.cast(found["classes"][0], "int32")


def in_photo(boxes, height, width, size):
    """Boxes (k, 4) in a fitted photo's square, in any format, as those in the photo, float32."""
    new = np.array(fitted_size(height, width, size)[::-1] * 2, "float32")
    return (boxes * (np.array([width, height] * 2, "float32") / new)).astype("float32")


@functools.cache
def _layers(size):
    """keras-cv's layers for a size: two `Resizing`, `JitteredResize`, `RandomFlip`."""
    from keras_cv import layers

    # In float32, whatever the global policy is: boxes need it.
    settings = {"bounding_box_format": FORMAT, "dtype": "float32"}
    return (
        layers.Resizing(size, size, pad_to_aspect_ratio=True, dtype="float32"),
        layers.Resizing(size, size, pad_to_aspect_ratio=True, **settings),
        layers.JitteredResize((size, size), (1.0, 1.0), **settings),
        layers.RandomFlip("horizontal", **settings),
    )


def _as_keras_cv(tf, boxes, labels):
    return {"boxes": tf.cast(boxes, "float32"), "classes": tf.cast(labels, "float32")}
