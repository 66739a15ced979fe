"""`keras-wrn evaluate` and `keras-wrn predict`."""

import csv
import json
import math
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from keras_wrn.data.folder import kinds_of_files
from keras_wrn.files import replacing
from keras_wrn.verbs.runs import own_data

PICTURED = 64


def evaluate(
    model: Annotated[str, tyro.conf.Positional],
    data: str | None = None,
    split: Literal["test", "train"] = "test",
    views: Literal[1, 2, 6] = 1,
    data_dir: Path | None = None,
    out: Path | None = None,
):
    """Evaluate a trained network on a dataset or a folder of images.

    Args:
        model: A run directory, a .keras file, or a name with published weights.
        data: cifar10, cifar100, svhn_cropped, digits, imagenet2012, or a folder of images with one
            sub-folder for each class; by default the run's own.
        split: The split to evaluate on; of a folder val/ (validation/, test/) or train/ in it.
        views: Average the logits of the image (1), of it and its mirror (2), or of both also moved
            by one pixel along the diagonal (6).
        data_dir: Where TFDS keeps its data.
        out: A directory to write results.json and confusion.png into.
    """
    from keras_wrn import evaluation
    from keras_wrn.weights import load_model

    network = load_model(model)
    data = data or own_data(model)
    _note_other_classes(network, data)
    results = evaluation.evaluate(
        network, data, split=split, data_dir=data_dir, views=views, directory=out, progress=True
    )
    print("\n".join(summary_lines(results)))
    if out is not None:
        print(f"Wrote {out / evaluation.RESULTS_FILE} and {out / evaluation.CONFUSION_FILE}")


def summary_lines(results):
    """The figures of `evaluate`'s results for the terminal, with the worst classes."""
    lines = [
        f"images    {results['images']:,}",
        f"accuracy  {results['accuracy']:.2f} %",
        f"error     {results['error']:.2f} %",
    ]
    if "top5_accuracy" in results:
        lines.append(f"top-5     {results['top5_accuracy']:.2f} %")
    lines += [f"loss      {results['loss']:.4f}", f"ECE       {results['ece']:.2f} %"]
    if "left_out" in results:
        lines.append(f"left out  {', '.join(kinds_of_files(results['left_out']))}")
    seen = [entry for entry in results["per_class"] if entry["images"]]
    worst = sorted(seen, key=lambda entry: entry["accuracy"])[: min(3, math.ceil(len(seen) / 3))]
    texts = [f"{entry['class'].split(', ')[0]} {entry['accuracy']:.1f} %" for entry in worst]
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
    """Classify images, folders of them, or held-out images of a dataset.

    Args:
        images: Image files, folders of them, and URLs.
        model: A run directory, a .keras file, or a name with published weights.
        data: Classify the first test images of this dataset instead.
        count: How many of them.
        data_dir: Where TFDS keeps its data.
        top_k: How many classes to give for each image.
        out: A .json or .csv file to write the predictions into.
        show_dir: A directory to write a picture of the images (at most 64) and their classes into.
    """
    from keras_wrn import inference
    from keras_wrn.data import dataset_info, load_arrays
    from keras_wrn.weights import load_model

    if bool(images) == bool(data):
        raise ValueError("Give either images or --data")
    if count < 1:
        raise ValueError(f"--count should be 1 or more. Received: {count}")
    if out is not None and out.suffix not in (".json", ".csv"):
        raise ValueError(f"--out should be a file that ends in .json or .csv. Received: {out}")
    truth = None
    if data:
        arrays, labels = load_arrays(data, "test", data_dir=data_dir)
        inputs = list(arrays[:count])
        truth = [dataset_info(data).class_names[label] for label in labels[:count]]
        names = [f"{data} test {i}" for i in range(len(inputs))]
    else:
        inputs = names = _image_paths(images)
    network = load_model(model)
    if data:
        _note_other_classes(network, data)
    rows = _classified(network, inputs, names, top_k)
    _print_table(rows, truth)
    if out is not None:
        _write(rows, out)
        print(f"Wrote {out}")
    known = [i for i, row in enumerate(rows) if "top_k" in row][:PICTURED]
    if show_dir is not None and known:
        path = Path(show_dir) / "predictions.png"
        inference.prediction_figure(
            [inputs[i] for i in known],
            [rows[i] for i in known],
            path,
            true_labels=[truth[i] for i in known] if truth else None,
        )
        print(f"Picture: {path}")
    failed = [row for row in rows if "error" in row]
    if failed:
        raise OSError(f"{len(failed)} of {len(rows)} images cannot be classified")


def _image_paths(images):
    """The files and URLs of what was given, folders replaced by the images in them."""
    from keras_wrn.data.folder import image_files

    found = []
    for image in images:
        if os.path.isdir(image):
            inside = [str(path) for path in image_files(image)]
            if not inside:
                raise ValueError(f"There are no image files below {image}")
            found += inside
        else:
            if "://" not in image and not os.path.exists(image):
                raise FileNotFoundError(2, "No such file or directory", image)
            found.append(image)
    return found


def _classified(network, inputs, names, top_k):
    """A dict for each image: `image`, its name, and the prediction or an `error`."""
    from tqdm import tqdm

    from keras_wrn import inference
    from keras_wrn.data.images import image_pixels
    from keras_wrn.trained import open_classifier

    classifier = open_classifier(network)
    rows = []
    # None: the bar is shown only where somebody looks.
    with tqdm(total=len(inputs), unit="img", disable=len(inputs) < 2 or None) as bar:
        for start in range(0, len(inputs), inference.BATCH):
            batch = inputs[start : start + inference.BATCH]
            pixels, positions = [], []
            for i, image in enumerate(batch, start=start):
                rows.append({"image": names[i]})
                try:
                    pixels.append(image_pixels(image, classifier.preprocessing))
                    positions.append(i)
                except (ValueError, OSError) as error:
                    if len(inputs) == 1:
                        raise
                    rows[i]["error"] = str(error)
            if pixels:
                results = inference.inference_model(classifier, pixels, top_k=top_k)
                for i, result in zip(positions, results, strict=True):
                    rows[i].update(result)
            bar.update(len(batch))
    return rows


def _print_table(rows, truth):
    width = max(len(row["image"]) for row in rows)
    for i, row in enumerate(rows):
        text = f"cannot be classified: {row.get('error')}"
        if "top_k" in row:
            text = "  ".join(f"{top['class']} {top['score']:.3f}" for top in row["top_k"])
        print(f"{row['image']:{width}}  {text}" + (f"  (true: {truth[i]})" if truth else ""))


def _write(rows, path):
    """Write the predictions as JSON or CSV: aside, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = [{key: value for key, value in row.items() if key != "pred_scores"} for row in rows]
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        if path.suffix == ".json":
            json.dump(kept, file, indent=1)
        else:
            table = csv.writer(file)
            table.writerow(["image", "rank", "label", "class", "score", "error"])
            for row in kept:
                for rank, top in enumerate(row.get("top_k", ()), start=1):
                    values = [rank, top["label"], top["class"], f"{top['score']:.6f}", ""]
                    table.writerow([row["image"], *values])
                if "error" in row:
                    table.writerow([row["image"], "", "", "", "", row["error"]])


def _note_other_classes(network, dataset):
    """Say so where a model's classes have other names than a dataset's."""
    from keras_wrn.data import DATASETS, dataset_info

    if str(dataset) not in DATASETS:  # a folder is matched by names, or refused
        return
    known = getattr(getattr(network, "preprocessing", None), "class_names", ())
    names = dataset_info(dataset).class_names
    if known and tuple(known) != names:
        print(
            f"keras-wrn: note: the model's classes are {', '.join(known[:3])}, ..., and those of "
            f"{dataset} are {', '.join(names[:3])}, ...",
            file=sys.stderr,
        )
