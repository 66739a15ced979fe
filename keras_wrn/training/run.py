"""The one road from a recipe to a finished run directory."""

import contextlib
from pathlib import Path

import numpy as np

from keras_wrn.recipe import BaseRecipe, TrainingRecipe
from keras_wrn.runs.directory import clear_smoke, default_directory, locked, open_directory
from keras_wrn.runs.files import read_summary
from keras_wrn.training import anomaly
from keras_wrn.training.placement import Placement
from keras_wrn.training.tasks import task_of
from keras_wrn.training.trainer import Trainer


def run(
    recipe: BaseRecipe,
    *,
    run_dir=None,
    resume=False,
    allow_changes=False,
    data_dir=None,
    made_up=False,
    hosts=None,
) -> dict:
    """Train a recipe to its end and write its run directory.

    Args:
        recipe: `keras_wrn.Recipe`, `keras_wrn.detection.DetectionRecipe`, or
            `keras_wrn.anomaly.AnomalyRecipe`, which learns in one pass: it has no checkpoints.
        run_dir: path, by default runs/<name>-seed<seed>, or runs/<name>-<folder>-seed<seed> for a
            folder of images. It must be absent or empty, unless `resume`.
        resume: bool, go on from the newest checkpoint in the directory; start anew if there is
            none.
        allow_changes: bool, go on even if the directory was started with another recipe, as long
            as its checkpoints make sense for this one. The summary lists the changes.
        data_dir: path where TFDS keeps its data, or None for its default.
        made_up: bool, shrink the recipe to seconds and train it on made-up images.
        hosts: `keras_wrn.training.Hosts`, where one of several processes finds the others; for the
            strategy "multi-host", whose processes all get the same arguments.

    Returns:
        The contents of summary.json; {} on all processes but the first. The directory also holds
        recipe.json, log.jsonl, curves.png, tensorboard/, checkpoints/, preprocessing.json,
        model.keras and export/; for an `AnomalyRecipe` recipe.json, log.jsonl, predictions/,
        model.keras and export/.

    Raises:
        FileExistsError: the directory is not empty, and `resume` is False.
        ValueError: a setting is invalid, or differs from what the directory was started with.
        RunError: the directory cannot be written to, another process runs in it, its disk is or
            becomes too full, no checkpoint can be read, there is too little memory, or the loss
            became NaN (`Diverged`).
        Stopped: SIGTERM or SIGINT came; the state is saved.
        DataError: the dataset is missing or unreadable.

    Example:

    ```python
    summary = keras_wrn.run(recipe, run_dir="runs/mine")
    summary["test_accuracy"]
    ```
    """
    recipe = recipe.shrunk() if made_up else recipe
    own_place = run_dir is None
    run_dir = Path(run_dir or default_directory(recipe))
    if not isinstance(recipe, TrainingRecipe):
        return _learn(recipe, run_dir, resume, allow_changes, made_up, own_place)
    checked = None
    if not (run_dir / "summary.json").exists():  # the images of a finished run may be gone
        checked = task_of(recipe).check(recipe, data_dir, made_up)
    placement = Placement.of(recipe, hosts)
    if made_up and own_place and not resume:
        placement.on_chief(clear_smoke, run_dir)
    changes = placement.on_chief(open_directory, run_dir, recipe, resume, allow_changes)
    found = {"finished": np.array((run_dir / "summary.json").exists())}
    if placement.from_chief(found)["finished"]:
        if not placement.is_chief:
            return {}
        print(f"{run_dir} is a finished run.")
        return read_summary(run_dir)
    with contextlib.ExitStack() as stack, placement.with_peers(run_dir):
        placement.on_chief(lambda: stack.enter_context(locked(run_dir)))
        trainer = Trainer(recipe, run_dir, placement)
        trainer.prepare(data_dir, made_up, changes, found=checked)
        trainer.fit()
        return placement.on_chief(trainer.finish) or {}


def _learn(recipe, run_dir, resume, allow_changes, made_up, own_place):
    """`run` for what is learned in one pass, in one process; it begins anew if it was cut off."""
    finished = run_dir / "summary.json"
    if not finished.exists():
        anomaly.check(recipe, made_up)
    if made_up and own_place and not resume:
        clear_smoke(run_dir)
    changes = open_directory(run_dir, recipe, resume, allow_changes)
    if finished.exists():
        print(f"{run_dir} is a finished run.")
        return read_summary(run_dir)
    with locked(run_dir):
        if changes:  # nothing is kept of the settings it was begun with
            (run_dir / "recipe.json").unlink()
        return anomaly.learn(recipe, run_dir, made_up)
