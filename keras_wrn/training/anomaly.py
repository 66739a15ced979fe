"""From the recipe of a PatchCore or PaDiM to a finished run directory."""

import contextlib
import json
import resource
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from keras_wrn.anomaly.building import build_model
from keras_wrn.anomaly.evaluation import check_photos, evaluate_inspector
from keras_wrn.anomaly.export import export_anomaly, fits_in_file
from keras_wrn.anomaly.model import held_out, step_line
from keras_wrn.anomaly.sets import defect_photos, good_photos, test_photos
from keras_wrn.files import write_json
from keras_wrn.models.complexity import count_macs
from keras_wrn.runs.directory import begin_directory
from keras_wrn.runs.files import read_steps, read_texts

MODEL, LOG, EXPORT = "model.keras", "log.jsonl", "export"
PICTURES = "predictions"
MADE_UP = (("train", "good", 6), ("test", "good", 3), ("test", "hole", 3))
MADE_UP_SIDE = 48


def check(recipe, made_up=False):
    """Find the photos, and read those to evaluate on and their masks.

    Raises:
        DataError: they are not as `GoodDataConfig` describes them, or one cannot be read.
    """
    if made_up:
        return
    folder = Path(recipe.data.dataset)
    good_photos(folder)
    if recipe.data.defects:
        defect_photos(recipe.data.defects)
    if (folder / "test").is_dir():
        check_photos(test_photos(folder))


def learn(recipe, run_dir, made_up=False):
    """Fit, evaluate and export the model of a recipe, and write its run directory.

    Unlike a training it has no checkpoints: a run that was cut off begins anew.

    Returns:
        The contents of summary.json.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(recipe.data.dataset)
        if made_up:
            folder = _made_up(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        good = good_photos(folder)
        tested = test_photos(folder) if (folder / "test").is_dir() else []
        model = build_model(recipe.anomaly, recipe.seed)
        given = {
            "dataset": recipe.data.dataset, "good": len(good), "test": len(tested),
            "model": recipe.anomaly.model,
        }  # fmt: skip
        held = held_out(len(good), recipe.data.validation)
        model.check_memory(len(good) - held, recipe.anomaly.max_memory)
        begin_directory(run_dir, recipe, given)
        log = stack.enter_context(open(run_dir / LOG, "w", encoding="utf-8"))

        def add(line):
            log.write(json.dumps(line) + "\n")
            log.flush()
            print(step_line(line), flush=True)

        model.fit(
            good, defects=recipe.data.defects or None, validation=recipe.data.validation,
            quantile=recipe.anomaly.quantile, max_memory=recipe.anomaly.max_memory, log=add,
        )  # fmt: skip
        model.save(run_dir / MODEL)
        results = {}
        if tested:
            results = evaluate_inspector(model.inspector(), folder, run_dir / PICTURES)
    lines = read_steps(run_dir / LOG)
    _export(recipe, model, run_dir / EXPORT)
    summary = {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "method": recipe.anomaly.method,
        "image_size": model.preprocessing.size,
        "points": model.points,
        "channels": model.channels,
        "macs": count_macs(model.trunk) + model.distance_macs,
        "seconds": round(sum(line["seconds"] for line in lines), 2),
        "peak_gb": _peak(),
        "threshold": model.threshold,
        "versions": read_texts(run_dir / "versions.json"),
        "data": {
            "dataset": recipe.data.dataset, "train_images": len(good) - held,
            "held_out": held, "test_images": len(tested), "split": "test",
        },
        **results,
    }  # fmt: skip
    write_json(run_dir / "summary.json", summary)
    print(f"{run_dir} is finished: {result(summary)}.")
    return summary


def _export(recipe, model, directory):
    """Write what the recipe's `export` asks for, as far as it can be written."""
    if not (recipe.export.saved_model or recipe.export.litert):
        return
    if keras.backend.backend() != "tensorflow":
        return print(f"No artifacts are exported on the {keras.backend.backend()} backend.")
    directory.mkdir(exist_ok=True)
    if recipe.export.saved_model:
        export_anomaly(model, directory / "saved_model", overwrite=True)
    if recipe.export.litert and not fits_in_file(model):
        print("The model has more than 2 GB of weights: no LiteRT file is exported.")
    elif recipe.export.litert:
        export_anomaly(model, directory / "model.tflite", overwrite=True)


def result(summary):
    """The result in a few words."""
    if "image_auroc" not in summary:
        return f"threshold {summary['threshold']:.4g}"
    text = f"AUROC {summary['image_auroc']:.1f} % of photos"
    if summary["pixel_auroc"] is not None:
        text += f", {summary['pixel_auroc']:.1f} % of pixels"
    return text


def _peak():
    """The most memory this process had so far, in GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9, 2)


def _made_up(root):
    """A folder of smooth photos, some with a hole, in MVTec AD's layout."""
    random = np.random.default_rng(0)
    ramp = np.linspace(40, 200, MADE_UP_SIDE)
    for part, kind, count in MADE_UP:
        folder = root / part / kind
        folder.mkdir(parents=True)
        for i in range(count):
            pixels = ramp[:, None, None] + random.normal(0, 5, (MADE_UP_SIDE, MADE_UP_SIDE, 3))
            if kind != "good":
                pixels[10:20, 20:35] = 0
            image = Image.fromarray(np.clip(pixels, 0, 255).astype("uint8"))
            image.save(folder / f"{i}.png")
    return root
