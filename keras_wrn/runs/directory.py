"""The run directory: whether it can be used, and what is in it from the start."""

import contextlib
import fnmatch
import json
import os
import shutil
from pathlib import Path

from keras_wrn import files
from keras_wrn.data.datasets import TFDS, is_folder
from keras_wrn.data.file_list import is_list
from keras_wrn.errors import Busy, RunError
from keras_wrn.files import TEMPORARY, write_json
from keras_wrn.machine import versions
from keras_wrn.recipe import SMOKE
from keras_wrn.runs.files import read_changes, read_object, read_recipe, read_summary

# Fields of a recipe that may change on resume.
NOT_TRAINING = "export", "paper_error", "source", "views"
# If one of these fields changes, a checkpoint is void: its network, images or steps were others.
FIXED = frozenset(
    "batch_size data.dataset data.extra data.image_size data.validation model.block model.depth "
    "model.name model.num_blocks model.whitened_stem model.width detector.anchor_size".split()
)
CHANGES = "changes.jsonl"
LOCK = ".lock"


def default_directory(recipe):
    """The default directory of a run, named after its recipe, its folder of images and its seed."""
    parts = [recipe.name]
    name = recipe.data.dataset
    if name.startswith(TFDS):
        parts.append(name.removeprefix(TFDS).replace("/", "-"))
    elif is_folder(name):
        name = os.path.basename(os.path.abspath(name))
        parts.append(Path(name).stem if is_list(name) else name)
    return Path("runs", "-".join([*filter(None, parts), f"seed{recipe.seed}"]))


def open_directory(run_dir, recipe, resume, allow_changes=False):
    """Make the directory, or say why this run cannot use it.

    Returns:
        What differs from the recipe it was started with, a list of str; only with `allow_changes`.

    Raises:
        FileExistsError: it is not empty, and `resume` is False.
        ValueError: it was started with another recipe; the message lists the differences.
        RunError: it cannot be written to.
    """
    occupied = run_dir.is_dir() and any(path.name != LOCK for path in run_dir.iterdir())
    if occupied and not resume:
        raise FileExistsError(
            f"The run directory {run_dir} is not empty. Continue it with --resume, or give "
            "another one with --run-dir."
        )
    if occupied and not (run_dir / "recipe.json").exists():
        written = {LOCK, "versions.json", "data.json"}  # before recipe.json
        names = sorted(path.name for path in run_dir.iterdir())
        foreign = [n for n in names if n not in written and not fnmatch.fnmatch(n, TEMPORARY)]
        if foreign:
            raise FileExistsError(
                f"There is no run to continue in {run_dir}, which holds {', '.join(foreign[:5])}. "
                "Give another directory with --run-dir."
            )
    changes = _recipe_changes(run_dir, recipe)
    if changes:
        forbidden = [text for field, text in changes.items() if field in FIXED]
        if not allow_changes or forbidden or (run_dir / "summary.json").exists():
            raise ValueError(
                f"{run_dir} was started with another recipe: {'; '.join(changes.values())}. "
                + _way_out(run_dir, allow_changes and forbidden)
            )
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        probe = run_dir / f".{os.getpid()}.tmp.writable"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise RunError(f"The run directory {run_dir} cannot be written to: {error}") from error
    return list(changes.values())


def _recipe_changes(run_dir, recipe):
    stored = run_dir / "recipe.json"
    if not stored.exists():
        return {}
    # Through a Recipe, which adds the fields that an earlier version did not have.
    before = json.loads(read_recipe(run_dir).to_json())
    now = json.loads(recipe.to_json())
    for field in NOT_TRAINING:
        before.pop(field, None), now.pop(field, None)
    return dict(_changes(before, now))


def _way_out(run_dir, forbidden):
    if (run_dir / "summary.json").exists():
        return f"It is finished. Give another --run-dir; --model.weights {run_dir} goes on from it."
    if forbidden:
        return f"A run cannot go on with {'; '.join(forbidden)}. Give another --run-dir."
    return (
        "Resume with the same flags, give another --run-dir, or go on with the new recipe with "
        "--allow-changes, which the results will state."
    )


def clear_smoke(run_dir):
    """Remove a finished smoke run: nothing in it is worth keeping."""
    summary = run_dir / "summary.json"
    if summary.exists() and read_summary(run_dir)["recipe"].endswith(SMOKE):
        shutil.rmtree(run_dir)


@contextlib.contextmanager
def locked(run_dir):
    """Keep other processes from running in the directory until the `with` block ends.

    Raises:
        Busy: another process has it.
    """
    with contextlib.ExitStack() as stack:
        try:
            held = stack.enter_context(files.locked(Path(run_dir, LOCK), wait=False))
        except BlockingIOError as error:
            raise Busy(
                f"Another process is running in {run_dir}. Wait for its end, or give another "
                "--run-dir."
            ) from error
        if not held:
            print(f"{run_dir} cannot be locked: see to it that no other run uses it.")
        yield


def _changes(before, now, prefix=""):
    """The fields that differ, by their dotted names, with the difference in words."""
    for key in sorted(set(before) | set(now)):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _changes(old, new, f"{prefix}{key}.")
        elif old != new:
            yield f"{prefix}{key}", f"{prefix}{key} was {old!r}, is {new!r}"


def check_unchanged(run_dir, given):
    """Raise a ValueError if a run was started with other images or starting weights."""
    stored = run_dir / "data.json"
    if not stored.exists():
        return
    before = read_object(stored)
    # Pixels are there only of images in memory, paths and sizes only of photos.
    both = before.keys() & given.keys()
    changes = dict(_changes({x: before[x] for x in both}, {x: given[x] for x in both})).values()
    if changes:
        raise ValueError(
            f"{run_dir} was begun with other images or starting weights: {'; '.join(changes)}. "
            "Resume with the same ones, or give another --run-dir."
        )


def begin_directory(run_dir, recipe, given):
    """Write recipe.json, versions.json and data.json, once only the training is left to do."""
    if not (run_dir / "recipe.json").exists():
        write_json(run_dir / "versions.json", versions())
        write_json(run_dir / "data.json", given)
        write_json(run_dir / "recipe.json", json.loads(recipe.to_json()))


def note_changes(run_dir, recipe, changes, step):
    """Record which settings a run changes after a step."""
    if changes:
        with open(run_dir / CHANGES, "a") as file:
            file.write(json.dumps({"after_step": step, "changes": changes}) + "\n")
        write_json(run_dir / "recipe.json", json.loads(recipe.to_json()))


def noted_changes(run_dir):
    """What `note_changes` recorded, as a list of dicts."""
    path = run_dir / CHANGES
    return read_changes(path) if path.exists() else []


def check_disk(run_dir, params, zca=None):
    """Raise a RunError unless the disk has room for the checkpoints and artifacts of a run.

    Args:
        run_dir: path that exists.
        params: int, all weights of the network.
        zca: the `ZCA` of the preprocessing, or None.
    """
    # Weights and momentum in each of three checkpoints; model.keras, SavedModel and .tflite.
    needed = params * 4 * (2 * 3 + 3) + 2**24
    if zca is not None:  # the run directory, model.keras, SavedModel (graph, extras), .tflite
        needed += 5 * (zca.matrix.nbytes + zca.mean.nbytes)
    free = shutil.disk_usage(run_dir).free
    if free < needed:
        raise RunError(
            f"{run_dir} needs {needed / 1e6:.0f} MB for checkpoints and artifacts, and its disk "
            f"has {free / 1e6:.0f} MB free."
        )
