"""`keras-wrn evaluate` and `keras-wrn predict`."""

import math
import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from keras_wrn import evaluation, inference
from keras_wrn.anomaly.exported import find_inspector
from keras_wrn.anomaly.inspector import Inspector
from keras_wrn.data.datasets import DATASETS, dataset_info
from keras_wrn.data.folder import kinds_of_files
from keras_wrn.data.images import image_pixels
from keras_wrn.data.names import first_word
from keras_wrn.detection.detector import Detector, find_detector
from keras_wrn.export.opening import is_artifact
from keras_wrn.files import printable
from keras_wrn.inference import prediction_figure
from keras_wrn.trained import open_classifier, open_ensemble
from keras_wrn.verbs.detecting import detect_images, evaluate_boxes
from keras_wrn.verbs.flags import refuse
from keras_wrn.verbs.images import images_below, images_of, with_true_classes
from keras_wrn.verbs.inspecting import inspect_images
from keras_wrn.verbs.runs import held_out_images, own_data
from keras_wrn.verbs.table import line_of, written

PICTURED = 64


def evaluate(
    models: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL...")],
    data: str | None = None,
    split: Literal["test", "train"] = "test",
    size: int | None = None,
    crop: float | None = None,
    views: Literal[1, 2, 6] = 1,
    calibrate: bool = False,
    ood: str | None = None,
    corrupt: bool = False,
    data_dir: Path | None = None,
    out: Path | None = None,
):
    """Evaluate a trained network, or several as an ensemble, on a dataset or a folder of images.

    A detector is evaluated on photos with boxes: average precision, as COCO measures it.

    Args:
        models: A run directory, a .keras file, a name with published weights, or an exported model:
            a SavedModel directory, or a file that ends in .tflite, .onnx or .xml. The probabilities
            of several are averaged.
        data: cifar10, cifar100, svhn_cropped, digits, imagenet2012, tfds:NAME, a folder of images
            with one sub-folder for each class, or a list of them; by default the run's own. For a
            detector tfds:coco/2017, a folder in COCO's format, or one of its .json files.
        split: The split to evaluate on; in a folder, val/ (validation/, test/) or train/.
        size: Height and width of the images in pixels, instead of the model's.
        crop: The share of a resized photo that the central crop keeps, instead of the model's.
        views: Average the logits of the image (1), of it and its mirror image (2), or also of both
            moved by one pixel along the diagonal (6).
        calibrate: Fit a temperature on the training images that the run held out (its
            data.validation), and report with it.
        ood: Images of other things, to be told from those of the classes: cifar10, cifar100,
            svhn_cropped, digits or a folder of images.
        corrupt: Evaluate on fifteen kinds of corruption at five severities too, made from the
            images. They are like CIFAR-10-C's, not its files.
        data_dir: Where TFDS keeps its data.
        out: A directory to write results.json and confusion.png into.
    """
    if not models:
        raise ValueError("Give a model, or several")
    model = models[0]
    opened = find_detector(model)
    if isinstance(opened, Detector):
        refuse({
            "--size": size, "--crop": crop, "--calibrate": calibrate, "--ood": ood,
            "--corrupt": corrupt, "--views": views > 1, "MODEL...": len(models) > 1,
        }, "a detector")  # fmt: skip
        return evaluate_boxes(opened, model, data, split, data_dir, out)
    if isinstance(find_inspector(opened), Inspector):
        raise ValueError(
            f"{model} tells odd photos from good ones: `keras-wrn anomaly evaluate {model} FOLDER` "
            "measures it"
        )
    if len(models) == 1:
        classifier = open_classifier(opened, size=size, crop=crop)
    else:
        classifier = open_ensemble(models, size=size, crop=crop)
    if calibrate and split == "train":
        raise ValueError("--calibrate takes some of the training images: evaluate the test split")
    held_out = held_out_images(models, data_dir) if calibrate else None
    data = data or own_data(model, data_dir)
    _note_other_classes(classifier, data)
    results = evaluation.evaluate(
        classifier, data, split=split, data_dir=data_dir, views=views, calibrate=held_out, ood=ood,
        corrupt=corrupt, directory=out,
    )  # fmt: skip
    if len(models) == 1 and is_artifact(model):
        print(f"measured  {classifier.name}")
    print("\n".join(summary_lines(results)))
    if out is not None:
        print(f"Wrote {out / evaluation.RESULTS_FILE} and {out / evaluation.CONFUSION_FILE}")


def summary_lines(results):
    """The numbers in `evaluate`'s results for the terminal, with the worst classes."""
    lines = [
        *([f"ensemble  {len(results['models'])} models"] if "models" in results else []),
        f"images    {results['images']:,}",
        f"accuracy  {results['accuracy']:.2f} %",
        f"error     {results['error']:.2f} %",
    ]
    if "top5_accuracy" in results:
        lines.append(f"top-5     {results['top5_accuracy']:.2f} %")
    lines += [
        f"loss      {results['loss']:.4f}",
        f"ECE       {results['ece']:.2f} %",
        f"Brier     {results['brier']:.4f}",
    ]
    if "temperature" in results:
        before = results["uncalibrated"]
        lines.append(
            f"T         {results['temperature']:.3f}; without it loss {before['loss']:.4f}, ECE "
            f"{before['ece']:.2f} %, Brier {before['brier']:.4f}"
        )
    for score in ("max_probability", "energy") if "ood" in results else ():
        found = results["ood"][score]
        lines.append(
            f"OOD       AUROC {found['auroc']:.2f} %, FPR95 {found['fpr95']:.2f} % by the "
            f"{score.replace('_', ' ')}"
        )
    if "corruptions" in results:
        lines += [
            f"{kind:18}{'  '.join(f'{error:5.2f}' for error in errors)}"
            for kind, errors in results["corruptions"].items()
        ]
        lines.append(f"corrupted {results['mean_corruption_error']:.2f} % error on average")
    if "left_out" in results:
        lines.append(f"left out  {', '.join(kinds_of_files(results['left_out']))}")
    seen = [entry for entry in results["per_class"] if entry["images"]]
    worst = sorted(seen, key=lambda entry: entry["accuracy"])[: min(3, math.ceil(len(seen) / 3))]
    texts = [f"{first_word(entry['class'])} {entry['accuracy']:.1f} %" for entry in worst]
    return [*lines, f"lowest    {', '.join(texts)}"]


def predict(
    images: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
    *,
    model: str,
    data: str | None = None,
    count: int = 16,
    data_dir: Path | None = None,
    top_k: int = 1,
    out: Path | None = None,
    show_dir: Path | None = None,
):
    """Classify images, folders of them, or held-out images of a dataset; find things in photos, or
    what is odd in them.

    Args:
        images: Image files, folders of them, and URLs. If folders, or the sub-folders in them, are
            named after the model's classes, right and wrong answers are marked.
        model: A run directory, a .keras file, a name with published weights, or an exported model:
            a SavedModel directory, or a file that ends in .tflite, .onnx or .xml.
        data: Classify the first test images of this dataset instead.
        count: How many of them.
        data_dir: Where TFDS keeps its data.
        top_k: How many classes to give for each image.
        out: A .json or .csv file to write the predictions into as they come, at first into one that
            ends in .part. Text that a spreadsheet would evaluate gets a leading ' in the .csv.
        show_dir: A directory for a picture of the images (at most 64) and their classes; with a
            detector, of each photo with its boxes; with a PatchCore or PaDiM, with its heat map.
    """
    from tqdm import tqdm

    if bool(images) == bool(data):
        raise ValueError("Give either images or --data")
    if count < 1:
        raise ValueError(f"--count should be 1 or more. Received: {count}")
    if out is not None and out.suffix not in (".json", ".csv"):
        raise ValueError(f"--out should be a file that ends in .json or .csv. Received: {out}")
    found = images_of(data, count, data_dir) if data else images_below(images)
    given = {"--data": data, "--top-k": top_k > 1, "--count": count != 16}
    opened = find_detector(model)
    if isinstance(opened, Detector):
        refuse(given, "a detector")
        return detect_images(opened, found, out, show_dir)
    opened = find_inspector(opened)
    if isinstance(opened, Inspector):
        refuse(given, "one that tells odd photos from good ones")
        return inspect_images(opened, found, out, show_dir)
    classifier = open_classifier(opened)
    if data:
        _note_other_classes(classifier, data)
    else:
        found = list(with_true_classes(found, classifier))
    width = max(len(item.name) for item in found)
    rows = []
    with (
        written(out, any(item.true for item in found)) as write,
        # None: the bar is shown only in a terminal.
        tqdm(total=len(found), unit="img", disable=len(found) < 2 or None) as bar,
    ):
        for row in _classified(classifier, found, top_k):
            bar.write(line_of(row, width))
            write(row)
            rows.append(row)
            bar.update()
    marks = [row["right"] for row in rows if "right" in row]
    if marks:
        share = 100 * sum(marks) / len(marks)
        print(f"{sum(marks):,} of {len(marks):,} right ({share:.1f} %)")
    if out is not None:
        print(f"Wrote {out}")
    if show_dir is not None:
        _draw(found, rows, Path(show_dir) / "predictions.png")
    failed = sum("error" in row for row in rows)
    if failed:
        raise OSError(f"{failed} of {len(rows)} images cannot be classified")


def _classified(classifier, found, top_k):
    """Yield a dict for each image: see `table.written`."""
    for start in range(0, len(found), inference.BATCH):
        rows, pixels = [], {}
        for i, item in enumerate(found[start : start + inference.BATCH]):
            rows.append({"image": item.name, **({"true": item.true} if item.true else {})})
            try:
                pixels[i] = image_pixels(item.image, classifier.preprocessing)
            except (ValueError, OSError) as error:
                if len(found) == 1:
                    raise
                rows[i]["error"] = printable(str(error))
        if pixels:
            results = inference.inference_model(classifier, list(pixels.values()), top_k=top_k)
            for i, result in zip(pixels, results, strict=True):
                rows[i].update(result)
                label = found[start + i].label
                if label is not None:
                    rows[i]["right"] = label == result["pred_label"]
        yield from rows


def _draw(found, rows, path):
    """Write the picture of the first images that could be classified."""
    known = [i for i, row in enumerate(rows) if "top_k" in row]
    if known:
        some = f" (the first {PICTURED} of {len(known)})" if len(known) > PICTURED else ""
        known = known[:PICTURED]
        true = [found[i].label if rows[i].get("right") else found[i].true or None for i in known]
        images, results = [found[i].image for i in known], [rows[i] for i in known]
        prediction_figure(images, results, path, true)
        print(f"Picture: {path}{some}")


def _note_other_classes(classifier, dataset):
    """Print a note if a model's classes have other names than a dataset's."""
    if str(dataset) not in DATASETS:  # a folder is matched by names, or refused
        return
    known = classifier.preprocessing.class_names
    names = dataset_info(dataset).class_names
    if known and known != names:
        own = ", ".join(map(first_word, known[:3]))
        print(
            f"keras-wrn: note: the model's classes are {own}, ..., and those of {dataset} are "
            f"{', '.join(names[:3])}, ...",
            file=sys.stderr,
        )
