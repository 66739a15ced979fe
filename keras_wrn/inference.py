"""A trained network's predictions for images, and a figure of them."""

import math
import textwrap
from pathlib import Path

import numpy as np

from keras_wrn.checks import check_count
from keras_wrn.data.images import image_pixels, picture
from keras_wrn.data.names import first_word, one_form
from keras_wrn.results import result_of
from keras_wrn.trained import open_classifier

BATCH = 32
RIGHT, WRONG = "#1a7f37", "#cf222e"
TITLE_WIDTH = 22  # characters per line of a title


def inference_model(model_or_name, image_or_images, *, top_k=5, preprocessing=None):
    """Classify one image, or several.

    Args:
        model_or_name: a `keras.Model` that ends in a `Dense` layer, the path of a `.keras` file or
            of a run directory (which holds model.keras), or a name with published weights, such
            as "wide_resnet50_2.tv2_in1k" (see `keras_wrn.list_models(pretrained=True)`). Or an
            exported model: a SavedModel directory, or a .tflite, .onnx or .xml file.
        image_or_images: one image or a list of them. An image is the path of an image file, a URL
            (http or https), its bytes, a `PIL.Image`, or an array (height, width, channels) in
            0..255, uint8 or float, in RGB order, or grey, (height, width) or (height, width, 1). An
            array (batch, height, width, channels) is a list of images. Arrays of the model's size
            are taken as they are; any other image is resized and cropped. A file's EXIF orientation
            is ignored: a photo is classified as its pixels are stored.
        top_k: int, the most classes that `top_k` lists.
        preprocessing: `keras_wrn.Preprocessing`, None for the model's own.

    Returns:
        For one image, a dict as in mmpretrain: `pred_label` (int), `pred_score` (float),
        `pred_class` (str; the label's number if the classes have no names), `pred_scores` (float32
        (classes,), probabilities), and `top_k`, a list of {"label", "class", "score"}, best first.
        For several images, a list of these.

    Raises:
        ValueError: no such model, or an image that cannot be fetched or decoded, or has the wrong
            shape.
        FileNotFoundError: no such image file.

    Example:

    ```python
    images, labels = keras_wrn.data.load_arrays("digits", "test")
    result = keras_wrn.inference_model("runs/digits_wrn10_1-seed0", images[0])
    result["pred_class"], result["pred_score"]   # '7', 0.998
    keras_wrn.inference_model("wide_resnet50_2", "https://example.org/bird.jpg")["pred_class"]
    ```
    """
    top_k = check_count("top_k", top_k)
    classifier = open_classifier(model_or_name, preprocessing)
    several = isinstance(image_or_images, list | tuple) or getattr(image_or_images, "ndim", 0) == 4
    images = list(image_or_images) if several else [image_or_images]
    pixels = [
        image_pixels(image, classifier.preprocessing, f"image {index}" if several else "the image")
        for index, image in enumerate(images)
    ]
    results = []
    for start in range(0, len(pixels), BATCH):
        logs = classifier.predictions(np.stack(pixels[start : start + BATCH])).logs
        results += [_result(np.exp(row), classifier.class_names, top_k) for row in logs]
    return results if several else results[0]


def prediction_figure(images, results, path=None, true_labels=None):
    """Draw images, each under its predicted class and score.

    Args:
        images: list of images of any kind that `inference_model` takes.
        results: list of what `inference_model` returned for them.
        path: the PNG file to write (its directory is created if needed), or None.
        true_labels: list of int labels or str class names, or None. For a known label the title is
            green if the prediction is right, else red with the true class below (by name, if given
            as a name or among the result's `top_k`).

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        ValueError: the lists are empty, or their lengths differ.

    Example:

    ```python
    results = keras_wrn.inference_model(model, images[:16])
    keras_wrn.prediction_figure(images[:16], results, "predictions.png", labels[:16])
    ```
    """
    # Drawn without pyplot, so that a notebook keeps its own backend.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    labels = [None] * len(images) if true_labels is None else list(true_labels)
    if not len(images) or not len(images) == len(results) == len(labels):
        raise ValueError(
            "Expected as many results, and true labels if any, as images, and at least one. "
            f"Received: {len(images)} images, {len(results)} results, {len(labels)} labels"
        )
    columns = min(8, math.ceil(math.sqrt(len(images))))
    rows = math.ceil(len(images) / columns)
    layout = ConstrainedLayoutEngine(h_pad=0.08)
    figure = Figure(figsize=(1.9 * columns, 2.2 * rows), layout=layout)
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.axis("off")
    for axes, image, result, label in zip(grid, images, results, labels, strict=False):
        axes.imshow(picture(image), interpolation="nearest")
        title, color = _title(result, label)
        axes.set_title(title, color=color, fontsize=9)
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="png", dpi=120)
    return figure


def _result(scores, names, top_k):
    best = [int(label) for label in np.argsort(-scores, kind="stable")[:top_k]]
    top = [{"label": i, "class": names[i], "score": float(scores[i])} for i in best]
    return result_of(top, pred_scores=scores.astype("float32"))


def _title(result, label):
    title = f"{_short(result['pred_class'])}: {100 * result['pred_score']:.1f} %"
    if label is None:
        return title, "black"
    if isinstance(label, str):
        right, name = one_form(label) == result["pred_class"], label
    else:
        right = int(label) == result["pred_label"]
        known = {entry["label"]: entry["class"] for entry in result["top_k"]}
        name = known.get(int(label), f"class {int(label)}")
    return (title, RIGHT) if right else (f"{title}\n{_short(f'(is {name}')})", WRONG)


def _short(name):
    """The first of a class's names, wrapped to fit a title."""
    return textwrap.fill(first_word(name), TITLE_WIDTH)
