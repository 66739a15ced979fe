"""ImageNet's 1,000 classes, and the functions that Keras users expect with an ImageNet model."""

import functools
from pathlib import Path

import keras
import numpy as np

from keras_wrn.checks import check_count
from keras_wrn.data.datasets import IMAGENET_MEAN, IMAGENET_STD
from keras_wrn.data.preprocess import Preprocessing

CLASSES = 1000


@functools.cache
def imagenet_classes() -> tuple[tuple[str, str], ...]:
    """The WordNet id and the names of each of the 1,000 classes, in the order of the labels.

    Source: ILSVRC 2012 and WordNet 3.0's lemmas.

    Example:

    ```python
    keras_wrn.data.imagenet_classes()[0]   # ("n01440764", "tench, Tinca tinca")
    ```
    """
    text = Path(__file__).with_name("imagenet_classes.txt").read_text()
    return tuple(
        (wnid, names) for wnid, _, names in (line.partition("\t") for line in text.splitlines())
    )


def imagenet_names() -> tuple[str, ...]:
    """The names of the 1,000 classes, in the order of the labels."""
    return tuple(names for _, names in imagenet_classes())


def readable_names(folder_names) -> tuple[str, ...]:
    """The class names for folders named by WordNet ids; other names as they are.

    Two classes with the same name (the cranes) keep their ids after it.
    """
    known = dict(imagenet_classes())
    if not all(name in known for name in folder_names):
        return tuple(folder_names)
    names = [known[wnid] for wnid in folder_names]
    return tuple(
        with_id(wnid, name) if names.count(name) > 1 else name
        for wnid, name in zip(folder_names, names, strict=True)
    )


def with_id(wnid, name) -> str:
    """A class's name with its WordNet id."""
    return f"{name} ({wnid})"


def preprocess_input(x, data_format=None):
    """Normalise images for the ImageNet networks, under the name that `keras.applications` uses.

    The ImageNet weights of `keras_wrn` were all trained with this mean and standard deviation. A
    model with `preprocessing` has the sizes too; this is for pipelines that do their own resizing.

    Args:
        x: images (batch, height, width, 3) or (height, width, 3) in 0..255, an array or a tensor,
            such as `keras.Input((224, 224, 3))`.
        data_format: None or "channels_last"; the networks have no other.

    Returns:
        float32, the same shape: divided by 255, minus the mean, divided by the standard deviation.

    Raises:
        ValueError: another data format, or not 3 channels.

    Example:

    ```python
    x = keras_wrn.preprocess_input(np.zeros((1, 224, 224, 3), "uint8"))
    ```
    """
    if data_format not in (None, "channels_last"):
        raise ValueError(
            "`data_format` should be None or 'channels_last'. "
            f"Received: data_format={data_format!r}"
        )
    symbolic = keras.utils.is_keras_tensor(x)
    x = x if symbolic or keras.ops.is_tensor(x) else np.asarray(x)
    if len(x.shape) not in (3, 4) or x.shape[-1] != 3:
        raise ValueError(
            "Expected images (batch, height, width, 3) or (height, width, 3). Received: shape "
            f"{tuple(x.shape)}"
        )
    return Preprocessing(224, mean=IMAGENET_MEAN, std=IMAGENET_STD).normalize(x)


def decode_predictions(preds, top=5):
    """Name the top classes of ImageNet predictions, as `keras.applications` does.

    Args:
        preds: (batch, 1000), scores of an ImageNet network, an array or a tensor.
        top: int, how many classes per image.

    Returns:
        For each image a list of (WordNet id, name, score), best first.

    Raises:
        ValueError: not 1,000 classes, or a `top` out of range.

    Example:

    ```python
    keras_wrn.decode_predictions(np.eye(1000)[:1], top=1)   # [[("n01440764", "tench", 1.0)]]
    ```
    """
    preds = keras.ops.convert_to_numpy(preds)
    if preds.ndim != 2 or preds.shape[1] != CLASSES:
        raise ValueError(
            f"Expected predictions of shape (batch, {CLASSES}). Received: shape {preds.shape}. A "
            "model with other classes has their names in `model.preprocessing.class_names`"
        )
    top = check_count("top", top, most=CLASSES)
    classes = imagenet_classes()
    results = []
    for scores in preds:
        best = np.argsort(-scores, kind="stable")[:top]
        results.append([(classes[i][0], _short(classes[i][1]), float(scores[i])) for i in best])
    return results


def _short(names):
    return names.split(", ")[0].replace(" ", "_")
