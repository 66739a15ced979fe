"""Reads the files of a run directory. Each error names the file and says what was expected."""

import json
import sys
from pathlib import Path

from keras_wrn.anomaly.recipe import AnomalyRecipe
from keras_wrn.detection.recipe import DetectionRecipe
from keras_wrn.recipe import Recipe

# The fields that are read from an object, with their types; it may have more.
LINE = {
    "epoch": int, "loss": float, "val_loss": float, "learning_rate": float, "seconds": float
}  # fmt: skip
STEP = {"step": str, "seconds": float}
CLASSIFIER_LINE = {"accuracy": float, "val_accuracy": float}
DETECTOR_LINE = {"box_loss": float, "classification_loss": float}
SUMMARY = {
    "recipe": str, "seed": int, "epochs": int, "params": int,
    "flops": float, "seconds": float, "precision": str, "versions": {"machine": str},
    "data": {"dataset": str, "split": str},
}  # fmt: skip
CLASSIFIED = {"test_error": float}
LEARNED = {
    "recipe": str, "seed": int, "method": str, "image_size": int, "points": int,
    "seconds": float, "peak_gb": float, "threshold": float, "versions": {"machine": str},
    "data": {"dataset": str, "split": str, "train_images": int, "held_out": int,
             "test_images": int},
}  # fmt: skip
OPTIONAL = {"trained_params": int, "changes": list, "views": int}
VIEWS = {"views": int, "views_test_accuracy": float}
CHANGE = {"after_step": int, "changes": list}
WORDS = {int: "a whole number", float: "a number", str: "a text", list: "a list"}


def read_recipe(run_dir):
    """The `Recipe`, `DetectionRecipe` or `AnomalyRecipe` of a run.

    Raises:
        ValueError: it is damaged, or from another version; the message names the file.
    """
    return _read(Path(run_dir, "recipe.json"), _recipe, "the recipe of a run")


def read_summary(run_dir, also=()):
    """The summary.json of a finished run, dict, with what tables need and `also`, a dict.

    Raises:
        ValueError: it is damaged; the message names the file.
    """

    def parse(text):
        return _check(_summary(text), dict(also))

    return _read(Path(run_dir, "summary.json"), parse, "the summary of a finished run")


def read_texts(path):
    """A JSON object of strings, such as versions.json, as a dict.

    Raises:
        ValueError: it is something else; the message names the file.
    """
    return _read(Path(path), lambda text: _texts(json.loads(text)), "a JSON object of texts")


def read_object(path):
    """A JSON object, such as data.json, as a dict.

    Raises:
        ValueError: it is something else; the message names the file.
    """
    return _read(Path(path), lambda text: _check(json.loads(text), {}), "a JSON object")


def read_log(path, count=None, also=()):
    """The lines of a log.jsonl, or its first `count` lines, as a list of dicts.

    They have what all runs log, and `also`, a dict.

    Raises:
        ValueError: a line is damaged; the message names the file and the line.
    """
    expected = {**LINE, **dict(also)}
    return _read(
        Path(path), lambda text: _lines(text, expected, count), "a log, a JSON object an epoch"
    )


def read_steps(path):
    """The lines of the log.jsonl of what was learned in one pass, as a list of dicts.

    Raises:
        ValueError: a line is damaged; the message names the file and the line.
    """
    return _read(Path(path), lambda text: _lines(text, STEP), "a log, a JSON object a step")


def read_changes(path):
    """The lines of a changes.jsonl, as a list of dicts.

    Raises:
        ValueError: a line is damaged; the message names the file and the line.
    """
    return _read(Path(path), _changes, "the changes of a recipe, a JSON object a line")


def _recipe(text):
    found = json.loads(text)
    keys = found if isinstance(found, dict) else {}
    if "anomaly" in keys:
        return AnomalyRecipe.from_json(text)
    return (DetectionRecipe if "detector" in keys else Recipe).from_json(text)


def _read(path, parse, expected):
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # from UTF-8 and JSON, too
        raise ValueError(f"{path} should be {expected}, and is damaged: {error}") from error


def _lines(text, expected, count=None):
    found = []
    for number, line in enumerate(text.splitlines()[:count], start=1):
        try:
            found.append(_check(json.loads(line), expected))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number}: {error}") from error
    return found


def _changes(text):
    return [_check_change(line) for line in _lines(text, CHANGE)]


def _check_change(change):
    if not all(isinstance(text, str) for text in change["changes"]):
        raise ValueError(f"`changes` should be a list of texts, received {change['changes']!r}")
    return change


def _summary(text):
    found = json.loads(text)
    keys = found if isinstance(found, dict) else {}
    if "method" in keys:
        return _check(found, LEARNED)
    summary = _check(found, SUMMARY | ({} if "ap50" in keys else CLASSIFIED))
    _texts(summary["versions"])
    _check(summary, {key: kind for key, kind in OPTIONAL.items() if key in summary})
    if "views" in summary:
        _check(summary, VIEWS)
    for change in summary.get("changes", ()):
        _check_change(_check(change, CHANGE))
    return summary


def _texts(found):
    return _check(found, dict.fromkeys(_check(found, {}), str))


def _check(found, expected, where=""):
    """Return an object that has these keys, with values of these types."""
    if not isinstance(found, dict):
        name = f"`{where[:-1]}`" if where else "it"
        raise ValueError(f"{name} should be a JSON object, received {_shown(found)}")
    for key, kind in expected.items():
        if key not in found:
            raise ValueError(f"expected `{where}{key}`, received {_shown(list(found))}")
        value = found[key]
        if isinstance(kind, dict):
            _check(value, kind, f"{where}{key}.")
        elif not _fits(value, kind):
            raise ValueError(f"`{where}{key}` should be {WORDS[kind]}, received {_shown(value)}")
    return found


def _fits(value, kind):
    if isinstance(value, bool):
        return False
    if kind in (int, float) and isinstance(value, int):
        return abs(value) <= sys.float_info.max  # a larger one cannot be divided by a float
    return isinstance(value, kind)


def _shown(value):
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
