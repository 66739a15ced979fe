"""How good a trained classifier is: accuracy, calibration, confusion, and what it does not know."""

import dataclasses
import itertools
import sys
import warnings
from pathlib import Path

import numpy as np

from keras_wrn.checks import check_count
from keras_wrn.data.arrays import load_arrays
from keras_wrn.data.corruptions import CORRUPTIONS, SEVERITIES
from keras_wrn.data.corruptions import corrupt as corrupted
from keras_wrn.data.datasets import DATASETS, IMAGENET, TFDS, is_tfds
from keras_wrn.data.evaluation import check_images, check_labels
from keras_wrn.data.file_list import is_list
from keras_wrn.data.folder import ImageFolder, find_images, stream_folder
from keras_wrn.data.images import check_array, image_pixels
from keras_wrn.data.labels import labels_of_folders
from keras_wrn.data.names import first_word
from keras_wrn.data.photo_sets import part_of, photo_set
from keras_wrn.data.photos import Photos, PhotoSet
from keras_wrn.data.views import check_views
from keras_wrn.errors import DataError
from keras_wrn.files import write_json
from keras_wrn.scores import (
    COLDEST,
    HOTTEST,
    Scores,
    at_temperature,
    fit_temperature,
    told_apart,
)
from keras_wrn.trained import Classifier, Ensemble, open_classifier, open_ensemble

RESULTS_FILE = "results.json"
CONFUSION_FILE = "confusion.png"
STREAMED_BATCH = 64
RARE = 30.0  # seconds between lines of progress when not on a terminal
LABELLED = 40  # the most classes whose names are readable in a confusion matrix


def evaluate(
    model_or_name, data, *, split="test", data_dir=None, batch_size=None, preprocessing=None,
    size=None, crop=None, views=1, calibrate=None, ood=None, corrupt=False, directory=None,
    progress=True,
):  # fmt: skip
    """Evaluate a classifier, or several as an ensemble, on labelled images, without dropping any.

    Args:
        model_or_name: as for `keras_wrn.inference_model`; or a list of them, for the mean of their
            probabilities.
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
        calibrate: labelled images like `data`, that the model was not trained on and that are not
            those of `data`, to fit a temperature on; or None.
        ood: images of other things than the classes, out of distribution: a dataset's name, a
            folder with images anywhere in it, or an array like the images of `data`; or None.
        corrupt: bool, whether to evaluate on 15 x 5 corruptions of the images too; for uint8 images
            in memory. They are this package's own, see `keras_wrn.data.corrupt`.
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
        to how many there are. With `calibrate` also `temperature`, by which the logits were
        divided, and `uncalibrated`, the `loss`, `ece` and `brier` without it. With `ood`, a dict of
        `images` (int) and of `auroc` and `fpr95` (percent) for two scores, `max_probability` and
        `energy`. With `corrupt`, `corruptions`, a dict from the names to the errors at the five
        severities, and `mean_corruption_error`, the mean of all 75 (percent). Of several models,
        `models`, their names.

    Raises:
        ValueError: no such model, images of the wrong shape, or labels that are not classes.
        DataError: the data is missing or unreadable, or has classes that the model does not have.

    Sources: Guo et al. 2017, https://arxiv.org/abs/1706.04599 (calibration); Hendrycks & Gimpel
    2017, https://arxiv.org/abs/1610.02136, and Liu et al. 2020, https://arxiv.org/abs/2010.03759
    (images of other things).

    Example:

    ```python
    keras_wrn.evaluate("wrn_16_2.cifar10", "cifar10")["error"]   # 6.92
    ```
    """
    classifier: Classifier
    if isinstance(model_or_name, list | tuple):
        classifier = open_ensemble(model_or_name, preprocessing, size, crop)
    else:
        classifier = open_classifier(model_or_name, preprocessing, size, crop)
    if batch_size is not None:
        batch_size = check_count("batch_size", batch_size)
    check_views(views)
    reading = {"data_dir": data_dir, "batch_size": batch_size, "classifier": classifier}
    asking = {"classifier": classifier, "views": views, "progress": progress}
    named = isinstance(data, str | Path) and str(calibrate) == str(data)
    if calibrate is not None and (calibrate is data or named):
        raise ValueError("`calibrate` should be other images than `data`. Received: the same")
    data = _photos_of(data, split, data_dir)
    labelled = _batches(data, split, **reading)
    # All that is wrong with the data is found before any of it is evaluated.
    held_out = strange = spoilt = None
    if calibrate is not None:
        held_out = _batches(_photos_of(calibrate, split, data_dir), split, **reading)
    if ood is not None:
        strange = _unlabelled(ood, data_dir, batch_size, classifier)
    if corrupt:
        spoilt = _corruptible(data, split, data_dir, classifier)
    if held_out is not None:
        fitted = _fitted(_answers(*held_out, **asking))
        temperature = classifier.temperature * fitted
        classifier = dataclasses.replace(classifier, temperature=temperature)
        asking["classifier"] = classifier
    scores, uncalibrated = Scores(classifier.classes), Scores(classifier.classes)
    known = []
    for answer, labels in _answers(*labelled, **asking):
        scores.add(answer.logs, labels)
        if held_out is not None:
            uncalibrated.add(at_temperature(answer.logs, 1 / fitted), labels)
        known.append((answer.logs.max(axis=-1), answer.energy))
    results = {"views": views, **scores.results(classifier.class_names)}
    if isinstance(classifier, Ensemble):
        results["models"] = [member.name for member in classifier.members]
    if isinstance(data, ImageFolder | PhotoSet) and data.left_out:
        results["left_out"] = data.left_out
    if held_out is not None:
        before = uncalibrated.results(classifier.class_names)
        results["temperature"] = temperature
        results["uncalibrated"] = {x: before[x] for x in ("loss", "ece", "brier")}
    if strange is not None:
        results["ood"] = _told_apart(known, _answers(*strange, **asking))
    if spoilt is not None:
        results.update(_under_corruption(spoilt, batch_size, asking))
    if directory is not None:
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        write_json(directory / RESULTS_FILE, results)
        confusion_figure(results, directory / CONFUSION_FILE)
    return results


def _answers(batches, count, classifier, views, progress):
    """Yield the `Predictions` and the labels, int (batch,), of each batch."""
    size = 0
    for images, labels in _shown(batches, count, progress):
        # A short last batch is padded: a new shape would be compiled again.
        size = max(size, len(images))
        filled = np.pad(images, [(0, size - len(images)), (0, 0), (0, 0), (0, 0)])
        answer = classifier.predictions(filled, views)
        number = len(images)
        yield (
            dataclasses.replace(answer, logs=answer.logs[:number], energy=answer.energy[:number]),
            np.asarray(labels),
        )


def _fitted(answers):
    """The temperature that suits the answers for held-out images."""
    parts = [(answer.logs, labels) for answer, labels in answers]
    logs, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    fitted = fit_temperature(logs, labels)
    if not COLDEST < fitted < HOTTEST:
        warnings.warn(
            f"The {len(labels)} images to calibrate on set no temperature: their likelihood "
            f"still rises at {fitted:.3g}",
            stacklevel=3,
        )
    return fitted


def _told_apart(known, answers):
    unknown = [(answer.logs.max(axis=-1), answer.energy) for answer, _ in answers]
    scores = zip(
        *(map(np.concatenate, zip(*x, strict=True)) for x in (known, unknown)), strict=True
    )
    names = "max_probability", "energy"
    found = {name: told_apart(*pair) for name, pair in zip(names, scores, strict=True)}
    return {"images": sum(len(part) for part, _ in unknown), **found}


def _under_corruption(data, batch_size, asking):
    """The errors of each corruption at each severity, and their mean."""
    images, labels = data
    errors: dict[str, list[float]] = {}
    step = min(batch_size or 500, len(images))
    starts = range(0, len(images), step)

    def batches():
        for kind in CORRUPTIONS:
            for severity in SEVERITIES:
                for start in starts:
                    part = slice(start, start + step)
                    yield corrupted(images[part], kind, severity, start), labels[part]

    answers = _answers(batches(), len(images) * len(CORRUPTIONS) * len(SEVERITIES), **asking)
    for kind in CORRUPTIONS:
        errors[kind] = []
        for _ in SEVERITIES:
            wrong = 0
            for answer, own in itertools.islice(answers, len(starts)):
                wrong += int((answer.logs.argmax(axis=-1) != own).sum())
            errors[kind].append(round(100 * wrong / len(images), 4))
    return {
        "mean_corruption_error": round(float(np.mean([*errors.values()])), 4),
        "corruptions": errors,
    }


def _corruptible(data, split, data_dir, classifier):
    """The images and labels of data that corruptions can be made from."""
    if isinstance(data, str):
        data = load_arrays(data, split, data_dir=data_dir)
    images = data[0] if isinstance(data, tuple | list) else None
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[3:] != (3,):
        kind = type(data).__name__ if images is None else type(images).__name__
        if isinstance(images, np.ndarray):
            kind = f"{images.dtype} {images.shape}"
        raise ValueError(
            "Corruptions are made from small RGB images in memory, uint8: a dataset by name, or a "
            f"tuple of arrays. Received: {kind}"
        )
    return images, np.asarray(data[1])


def _unlabelled(data, data_dir, batch_size, classifier):
    """Batches of images without classes, their labels -1, and the number of images."""
    preprocessing = classifier.preprocessing
    if isinstance(data, tuple | list):
        raise ValueError(
            "`ood` should be an array of images, a dataset's name or a folder, without labels. "
            f"Received: a {type(data).__name__}"
        )
    if isinstance(data, np.ndarray):
        return _array_batches((data, None), batch_size, preprocessing, classifier.classes)
    if str(data) in DATASETS:
        images, _ = load_arrays(str(data), "test", data_dir=data_dir)
        return _array_batches((images, None), batch_size, preprocessing, classifier.classes)
    if not Path(data).is_dir():
        raise DataError(
            f"Expected one of {', '.join(DATASETS)}, or a folder of images. Received: {str(data)!r}"
        )
    paths, _ = find_images(data)
    if not paths:
        raise DataError(f"There are no image files below {data}")
    for path in paths:  # one that cannot be read is named before anything is evaluated
        image_pixels(str(path), preprocessing, str(path))
    step = batch_size or STREAMED_BATCH
    parts = (paths[start : start + step] for start in range(0, len(paths), step))
    batches = (
        (
            np.stack([image_pixels(str(path), preprocessing, str(path)) for path in part]),
            np.full(len(part), -1),
        )
        for part in parts
    )
    return batches, len(paths)


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


def _batches(data, split, data_dir, batch_size, classifier):
    """Batches of images and labels from any kind of data, and the number of images."""
    preprocessing, classes = classifier.preprocessing, classifier.classes
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
    if len(data) != 2:
        raise ValueError(f"Expected a pair of images and labels. Received: {len(data)} parts")
    images, labels = data
    labels = np.full(len(images), -1) if labels is None else np.asarray(labels)
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
    if data[1] is not None:
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
