"""What the verbs do with a detector: `predict`, `evaluate`, `export`."""

from pathlib import Path

from keras_wrn.data.images import picture
from keras_wrn.detection.detector import BATCH, Detector, named
from keras_wrn.detection.evaluation import evaluate_detector
from keras_wrn.detection.export import (
    FILES,
    export_detector_serving,
    export_detector_version,
)
from keras_wrn.detection.inputs import part_to_evaluate
from keras_wrn.detection.pictures import draw
from keras_wrn.evaluation import RESULTS_FILE
from keras_wrn.export.bundle import SAVED_MODEL
from keras_wrn.files import printable, write_json
from keras_wrn.runs.card import detector_card
from keras_wrn.verbs.runs import name_of, recipe_of
from keras_wrn.verbs.table import box_line, written


def detect_images(detector: Detector, found, out, show_dir):
    """Find things in images, print a line for each, and write the tables and pictures asked for.

    Args:
        detector: `Detector`.
        found: list of `keras_wrn.verbs.images.Image`.
        out: path of a .json or .csv file, or None.
        show_dir: path of a folder for a picture of each image, or None.

    Raises:
        OSError: some images cannot be read. The others have their answers.
        ValueError, OSError: the only image cannot be read.
    """
    from tqdm import tqdm

    check_folder("--show-dir", show_dir)
    width = max(len(item.name) for item in found)
    failed, names = 0, _file_names(found)
    with (
        written(out, boxes=True) as write,
        # None: the bar is shown only in a terminal.
        tqdm(total=len(found), unit="img", disable=len(found) < 2 or None) as bar,
    ):
        for start in range(0, len(found), BATCH):
            for number, (row, photo, result) in enumerate(
                _detected(detector, found[start : start + BATCH], len(found) == 1), start
            ):
                bar.write(box_line(row, width))
                write(row)
                failed += "error" in row
                if show_dir is not None and photo is not None:
                    draw([photo], [result], detector.class_names, show_dir, names=[names[number]])
                bar.update()
    if out is not None:
        print(f"Wrote {out}")
    if show_dir is not None and failed < len(found):
        print(f"Pictures: {len(found) - failed} in {show_dir}")
    if failed:
        raise OSError(f"{failed} of {len(found)} images cannot be read")


def evaluate_boxes(detector: Detector, model, data, split, data_dir, out):
    """Measure a detector on photos with boxes, and print the figures.

    Args:
        detector: `Detector`.
        model: str, where it is from, such as a run directory.
        data: str, the photos, None for the run's own.
        split: "test" for the held-out photos, or "train".
        data_dir: where TFDS keeps its data, or None.
        out: path of a folder for results.json and pictures, or None.
    """
    check_folder("--out", out)
    recipe = recipe_of(model)
    if data is None and recipe is None:
        raise ValueError(f"{model} is no run directory: give --data")
    own = data is None or (recipe is not None and data == recipe.data.dataset)
    validation = recipe.data.validation if own and recipe is not None else 0
    photos = part_to_evaluate(data or recipe.data.dataset, split, validation, data_dir)
    results = evaluate_detector(detector, photos, directory=out)
    print(f"images    {results['images']:,} of {photos.path}, {photos.count:,} boxes")
    for name, text in (
        ("ap", "AP"), ("ap50", "AP50"), ("ap75", "AP75"), ("ap_small", "AP small"),
        ("ap_medium", "AP medium"), ("ap_large", "AP large"), ("ar100", "AR100"),
    ):  # fmt: skip
        value = "none to find" if results[name] is None else f"{results[name]:.2f} %"
        print(f"{text:9} {value}")
    known = [(value, name) for name, value in results["per_class"].items() if value is not None]
    lowest = ", ".join(f"{name} {value:.1f} %" for value, name in sorted(known)[:3])
    print(f"lowest    {lowest}")
    if out is not None:
        write_json(Path(out) / RESULTS_FILE, results)
        print(f"Wrote {Path(out) / RESULTS_FILE} and pictures")


def export_files(network, model, formats, out, name, max_pixels, max_batch_size):
    """Export a detector; the arguments are those of `keras-wrn export`."""
    unknown = set(formats) - {SAVED_MODEL, "serving", *FILES}
    if unknown:
        raise ValueError(
            f"A detector is exported as {', '.join((SAVED_MODEL, *FILES, 'serving'))}. Received: "
            f"--format {' '.join(sorted(unknown))}"
        )
    directory = out or Path("saved_models") / name_of(model)
    versioned = [kind for kind in formats if kind != "serving"]
    if versioned:
        card = None
        if (Path(model) / "summary.json").is_file():
            card = detector_card(Path(model), network.preprocessing)
        version = export_detector_version(
            network, directory, versioned, max_pixels=max_pixels, card=card
        )
        print(f"Exported {', '.join(versioned)} to {version}")
    if "serving" in formats:
        served = directory / "serving" if versioned else out or Path("serving")
        version = export_detector_serving(
            network, served, name=name or name_of(model), max_pixels=max_pixels,
            max_batch_size=max_batch_size,
        )  # fmt: skip
        print(f"Exported serving to {served}: version {version.name} of {version.parent.name}")


def refuse(given):
    """Raise a ValueError if something is given that is for classifiers alone: flags by name."""
    names = ", ".join(name for name, value in given.items() if value)
    if names:
        raise ValueError(f"The model is a detector, and these are for classifiers: {names}")


def check_folder(flag, path):
    """Raise a ValueError if what should become a folder is a file."""
    if path is not None and Path(path).exists() and not Path(path).is_dir():
        raise ValueError(f"{flag} should be a folder, new or there. Received: {path}, a file")


def _detected(detector, items, alone):
    """Yield for each image its row, its pixels and what is found, or a row with the error."""
    photos, errors = {}, {}
    for i, item in enumerate(items):
        try:
            photos[i] = picture(item.image)
            detector.check(photos[i], item.name)
        except (ValueError, OSError) as error:
            if alone:
                raise
            photos.pop(i, None)
            errors[i] = printable(str(error))
    results = dict(zip(photos, named(detector, detector.find(list(photos.values()))), strict=True))
    for i, item in enumerate(items):
        row = {"image": item.name}
        if i in errors:
            yield {**row, "error": errors[i]}, None, None
            continue
        found = results[i]
        row["found"] = [
            {"label": int(label), "class": name, "score": float(score), "box": box.tolist()}
            for label, name, score, box in zip(
                found["labels"], found["classes"], found["scores"], found["boxes"], strict=True
            )
        ]
        yield row, photos[i], found


def _file_names(found):
    """A name for the picture of each image: that of the file, with a number where it is taken."""
    taken: set = set()
    names = []
    for item in found:
        stem = Path(item.name).stem or "photo"
        name, number = stem, 1
        while name in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name)
        names.append(name)
    return names
