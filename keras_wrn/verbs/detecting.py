"""What the verbs do with a detector: `predict`, `evaluate`, `export`."""

from pathlib import Path

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
from keras_wrn.files import write_json
from keras_wrn.runs.card import detector_card
from keras_wrn.verbs.flags import check_folder
from keras_wrn.verbs.photos import look_at
from keras_wrn.verbs.runs import name_of, recipe_of
from keras_wrn.verbs.served import serve
from keras_wrn.verbs.table import box_line


def detect_images(detector: Detector, found, out, show_dir):
    """Find things in images, print a line for each, and write the tables and pictures asked for.

    Args:
        detector: `Detector`.
        found, out, show_dir: as for `keras_wrn.verbs.photos.look_at`, whose errors these are.
    """

    def answer(photos):
        return named(detector, detector.find(photos))

    def fields(result):
        parts = (result[key] for key in ("labels", "classes", "scores", "boxes"))
        return {"found": [
            {"label": int(label), "class": name, "score": float(score), "box": box.tolist()}
            for label, name, score, box in zip(*parts, strict=True)
        ]}  # fmt: skip

    def picture(item, photo, result, path):
        draw([photo], [result], detector.class_names, path.parent, names=[path.stem])

    look_at(
        found, out, show_dir, of="boxes", line=box_line, batch=BATCH, check=detector.check,
        answer=answer, fields=fields, picture=picture,
    )  # fmt: skip


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
        serve(
            export_detector_serving, network, model, name, out, directory, versioned,
            max_pixels=max_pixels, max_batch_size=max_batch_size,
        )  # fmt: skip
