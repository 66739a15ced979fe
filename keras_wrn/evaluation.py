"""How good a trained classifier is: accuracy, loss, calibration and confusion."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from keras_wrn.checks import check_count
from keras_wrn.data.arrays import load_arrays
from keras_wrn.data.datasets import DATASETS, IMAGENET, TFDS, is_tfds
from keras_wrn.data.evaluation import check_images, check_labels
from keras_wrn.data.file_list import is_list
from keras_wrn.data.folder import ImageFolder, stream_folder
from keras_wrn.data.images import check_array
from keras_wrn.data.labels import labels_of_folders
from keras_wrn.data.names import first_word
from keras_wrn.data.photo_sets import part_of, photo_set
from keras_wrn.data.photos import Photos, PhotoSet
from keras_wrn.data.views import check_views
from keras_wrn.errors import DataError
from keras_wrn.files import write_json
from keras_wrn.trained import open_classifier

RESULTS_FILE = "results.json"
CONFUSION_FILE = "confusion.png"
CALIBRATION_BINS = 15
STREAMED_BATCH = 64
RARE = 30.0  # seconds between lines of progress when not on a terminal
LABELLED = 40  # the most classes whose names are readable in a confusion matrix


def evaluate(
    model_or_name, data, *, split="test", data_dir=None, batch_size=None, preprocessing=None,
    size=None, crop=None, views=1, directory=None, progress=True,
):  # fmt: skip
    """Evaluate a classifier on labelled images, without dropping any.

    Args:
        model_or_name: as for `keras_wrn.inference_model`.
        data: a dataset's name ("cifar10", "cifar100", "svhn_cropped", "digits"), or of photos that
            TFDS has prepared ("imagenet2012", "tfds:NAME"); or the path of a folder of images with
            one sub-folder per class, named after the model's classes (or by WordNet id, or if the
            classes have no names, by number from 0); or the path of a list of images, .csv or
            .json; or the path of a folder that holds such a folder or list as val, validation or
            test; or an `ImageFolder`; or a tuple of
            images and labels: `Photos`, or images of the model's size in 0..255, uint8 or float
            (n, height, width, channels), grey ones also (n, height, width), and labels int (n,).
        split: str, "test" or "train", for a dataset by name or a folder that holds train/ and val/.
        data_dir: path or None, where TFDS keeps its data.
        batch_size: int, None for 500 images at a time from memory, or 64 from files.
        preprocessing: `keras_wrn.Preprocessing`, None for the model's own.
        size: int, height and width of the images instead of the model's, or None. Networks are
            often better on photos that are larger than those they were trained on.
        crop: float in (0, 1], the share of the resized photo that the central crop keeps, instead
            of the model's, or None.
        views: int, 1, 2 (the image and its mirror image) or 6 (both, also shifted by a pixel along
            the diagonal). Their logits are averaged; see `keras_wrn.data.views_of`.
        directory: path, where results.json and confusion.png are written, or None.
        progress: bool, whether to show progress on standard error: a bar on a terminal, elsewhere a
            line every half minute.

    Returns:
        dict of `views` and `images` (int), `accuracy` and `error` (percent), `loss` (mean negative
        log likelihood), `top5_accuracy` (percent; only with more than 5 classes), `ece` (expected
        calibration error in percent, 15 bins of equal width), `brier` (mean over the images of the
        squared distance between the probabilities and the true class, 0 to 2), `per_class`, a list
        of {"class", "images", "accuracy"} in label order, with accuracy None for a class without
        images, and `confusion`, a list of lists: how often the row's class was predicted as the
        column's. For a folder that also has other files, `left_out`, a dict from their extensions
        to how many there are.

    Raises:
        ValueError: no such model, images of the wrong shape, or labels that are not classes.
        DataError: the data is missing or unreadable, or has classes that the model does not have.

    Source: calibration as in Guo et al. 2017, https://arxiv.org/abs/1706.04599.

    Example:

    ```python
    keras_wrn.evaluate("wrn_16_2.cifar10", "cifar10")["error"]   # 6.92
    ```
    """
    classifier = open_classifier(model_or_name, preprocessing, size, crop)
    if batch_size is not None:
        batch_size = check_count("batch_size", batch_size)
    check_views(views)
    classes, preprocessing = classifier.classes, classifier.preprocessing
    data = _photos_of(data, split, data_dir)
    batches, count = _batches(data, split, data_dir, batch_size, preprocessing, classes)
    scores = _Scores(classes)
    size = 0
    for images, labels in _shown(batches, count, progress):
        # A short last batch is padded: a new shape would be compiled again.
        size = max(size, len(images))
        filled = np.pad(images, [(0, size - len(images)), (0, 0), (0, 0), (0, 0)])
        logs = classifier.log_probabilities(filled, views)[: len(images)]
        scores.add(logs, np.asarray(labels))
    results = {"views": views, **scores.results(classifier.class_names)}
    if isinstance(data, ImageFolder | PhotoSet) and data.left_out:
        results["left_out"] = data.left_out
    if directory is not None:
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        write_json(directory / RESULTS_FILE, results)
        confusion_figure(results, directory / CONFUSION_FILE)
    return results


class _Scores:
    """Counts over the predictions, batch by batch."""

    def __init__(self, classes):
        self.confusion = np.zeros((classes, classes), "int64")
        self.loss = 0.0
        self.brier = 0.0
        self.top5 = 0
        # For each bin: images, sum of confidences, correct predictions.
        self.bins = np.zeros((CALIBRATION_BINS, 3))

    def add(self, logs, labels):
        guesses = np.argmax(logs, axis=-1)
        np.add.at(self.confusion, (labels, guesses), 1)
        rows = np.arange(len(labels))
        self.loss -= logs[rows, labels].sum()
        chances = np.exp(logs, dtype="float64")
        chances[rows, labels] -= 1
        self.brier += float((chances**2).sum())
        # How many classes come before the true one in a stable sort, best first.
        own = logs[rows, labels][:, None]
        ahead = (logs > own).sum(axis=-1)
        ahead += ((logs == own) & (np.arange(logs.shape[1]) < labels[:, None])).sum(axis=-1)
        self.top5 += int((ahead < 5).sum())
        confidence = np.exp(logs[rows, guesses])
        # Bins are open below and closed above, as in the paper.
        places = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1, 0, None)
        np.add.at(self.bins, (np.minimum(places, CALIBRATION_BINS - 1), 0), 1)
        np.add.at(self.bins, (np.minimum(places, CALIBRATION_BINS - 1), 1), confidence)
        np.add.at(self.bins, (np.minimum(places, CALIBRATION_BINS - 1), 2), guesses == labels)

    def results(self, names) -> dict[str, Any]:
        count = int(self.confusion.sum())
        right = np.diag(self.confusion)
        accuracy = 100 * right.sum() / count
        gaps = np.abs(self.bins[:, 1] - self.bins[:, 2])
        results: dict[str, Any] = {
            "images": count,
            "accuracy": round(float(accuracy), 4),
            "error": round(float(100 - accuracy), 4),
            "loss": float(self.loss / count),
            "ece": round(float(100 * gaps.sum() / count), 4),
            "brier": self.brier / count,
        }
        if len(names) > 5:
            results["top5_accuracy"] = round(100 * self.top5 / count, 4)
        totals = self.confusion.sum(axis=1)
        results["per_class"] = [
            {
                "class": name,
                "images": int(total),
                "accuracy": round(float(100 * hits / total), 4) if total else None,
            }
            for name, total, hits in zip(names, totals, right, strict=True)
        ]
        results["confusion"] = self.confusion.tolist()
        return results


def _photos_of(data, split, data_dir):
    """The photos that a name or a path stands for; anything else as it is."""
    if isinstance(data, ImageFolder | PhotoSet | tuple | list):
        return data
    if split not in ("test", "train"):
        raise ValueError(f"`split` should be 'test' or 'train'. Received: split={split!r}")
    if str(data) in DATASETS:
        return str(data)
    path = Path(data)
    if not (is_tfds(str(data)) or is_list(path) or path.is_dir()):
        raise DataError(
            f"Expected one of {', '.join([*DATASETS, IMAGENET])}, {TFDS}NAME, or a folder or list "
            f"of images. Received: {str(data)!r}"
        )
    if split == "train" and path.is_dir() and part_of(path, ("train",)) is None:
        raise DataError(f"Expected a folder that holds train/. Received: {path}")
    return photo_set(data, split, data_dir)


def _batches(data, split, data_dir, batch_size, preprocessing, classes):
    """Batches of images and labels from any kind of data, and the number of images."""
    if isinstance(data, ImageFolder | PhotoSet):
        return _photo_batches(data, batch_size, preprocessing, classes)
    if isinstance(data, tuple | list):
        return _array_batches(data, batch_size, preprocessing, classes)
    arrays = load_arrays(data, split, data_dir=data_dir)
    return _array_batches(arrays, batch_size, preprocessing, classes)


def _photo_batches(folder, batch_size, preprocessing, classes):
    names = preprocessing.class_names
    places = labels_of_folders(folder.class_names, names, classes, folder.path)
    batches = (
        (images, places[labels])
        for images, labels in stream_folder(folder, preprocessing, batch_size or STREAMED_BATCH)
    )
    return batches, len(folder)


def _array_batches(data, batch_size, preprocessing, classes):
    images, labels = data[0], np.asarray(data[1])
    if not isinstance(images, Photos):
        images = np.asarray(images)
        images = images[..., None] if images.ndim == 3 else images  # greyscale
        check_array(images, "the images", rank=4)
        if images.shape[3] == 1 and preprocessing.channels == 3:
            images = np.broadcast_to(images, (*images.shape[:3], 3))  # as for greyscale files
    expected = preprocessing.size, preprocessing.size, preprocessing.channels
    if images.shape[1:] != expected:
        raise ValueError(f"Expected images of shape {expected}. Received: {images.shape[1:]}")
    check_images(images, labels)
    check_labels(labels, classes)
    step = min(batch_size or 500, len(images))
    batches = (
        (images[start : start + step], labels[start : start + step])
        for start in range(0, len(images), step)
    )
    return batches, len(images)


def _shown(batches, count, progress):
    from tqdm import tqdm

    # Off a terminal, such as in a job's log, a short evaluation writes nothing.
    rare = {} if sys.stderr.isatty() else {"delay": RARE, "mininterval": RARE, "maxinterval": RARE}
    with tqdm(total=count, unit="img", disable=not progress, **rare) as bar:
        for images, labels in batches:
            yield images, labels
            bar.update(len(images))


def confusion_figure(results, path):
    """Draw the confusion matrix from `evaluate`'s results as a PNG, each row in percent.

    Only classes that are some image's true or predicted class are shown.

    Args:
        results: dict, what `evaluate` returned.
        path: the file to write.

    Example:

    ```python
    results = keras_wrn.evaluate("wrn_16_2.cifar10", "cifar10")
    keras_wrn.evaluation.confusion_figure(results, "confusion.png")
    ```
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    confusion = np.asarray(results["confusion"], "float64")
    # A folder may have only ten of ImageNet's classes.
    occurring = np.flatnonzero(confusion.sum(axis=0) + confusion.sum(axis=1))
    confusion = confusion[np.ix_(occurring, occurring)]
    shares = 100 * confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    names = [results["per_class"][label]["class"] for label in occurring]
    readable = len(names) <= LABELLED
    side = min(14.0, max(5.0, 0.55 * len(names) + 2)) if readable else 10.0
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    figure.colorbar(image, ax=axes, label="% of the true class", shrink=0.8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"{results['accuracy']:.2f} % of {results['images']:,} images right")
    if readable:
        short = [first_word(name) for name in names]
        axes.set_xticks(range(len(names)), short, rotation=90)
        axes.set_yticks(range(len(names)), short)
    if len(names) <= LABELLED // 2:
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.5:
                color = "white" if share > 50 else "black"
                text = f"{share:.0f}" if share >= 9.5 else f"{share:.1f}"
                axes.text(column, row, text, ha="center", va="center", color=color, fontsize=7)
    figure.savefig(path, format="png", dpi=110)
