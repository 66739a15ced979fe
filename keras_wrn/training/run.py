"""The one road from a recipe to a run directory."""

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_wrn.files import write_json
from keras_wrn.models.layers import BatchNormalization
from keras_wrn.optim.muon import Muon
from keras_wrn.optim.schedules import scaled_schedule
from keras_wrn.optim.sgd import SGD
from keras_wrn.recipe import Recipe, smoke
from keras_wrn.runs import report
from keras_wrn.runs.checkpoint import Checkpoints, apply_state
from keras_wrn.runs.directory import (
    begin_directory,
    check_disk,
    check_unchanged,
    clear_smoke,
    default_directory,
    locked,
    note_changes,
    open_directory,
)
from keras_wrn.runs.files import read_summary
from keras_wrn.training import devices
from keras_wrn.training.announce import opening_lines
from keras_wrn.training.averaging import averaging, hold_average, renew_statistics
from keras_wrn.training.callbacks import RunLog, end_epoch, run_callbacks
from keras_wrn.training.distill import Distiller
from keras_wrn.training.hosts import Hosts, check_same, from_chief, join, leave, on_chief, peers
from keras_wrn.training.inputs import (
    check_inputs,
    eval_batches,
    fingerprint,
    load_inputs,
    phases,
    recipe_batches,
    train_batches,
)
from keras_wrn.training.memory import memory_explained
from keras_wrn.training.network import final_model, load_teacher, start_model, training_model
from keras_wrn.training.on_device import fits_device, on_device
from keras_wrn.training.outcome import export_artifacts, summarize
from keras_wrn.training.workers import build_metrics, of_workers, on_workers


def run(
    recipe: Recipe,
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
        recipe: `keras_wrn.Recipe`.
        run_dir: path, by default runs/<name>-seed<seed>, or runs/<name>-<folder>-seed<seed> for a
            folder of images. It must be absent or empty, unless `resume`.
        resume: bool, go on from the newest checkpoint in the directory; starts when there is
            none.
        allow_changes: bool, go on also where the directory was started with another recipe, as far
            as its checkpoints have a meaning for this one. The summary lists the changes.
        data_dir: path where TFDS keeps its data, or None for its default.
        made_up: bool, shrink the recipe to seconds and train it on made-up images.
        hosts: `keras_wrn.training.Hosts`, where a process of several finds the others; for the
            strategy "multi-host", whose processes are all given the same arguments.

    Returns:
        The contents of summary.json; {} on all processes but the first. The directory also has
        recipe.json, log.jsonl, curves.png, tensorboard/, checkpoints/, preprocessing.json,
        model.keras and export/.

    Raises:
        FileExistsError: the directory is not empty, and this is no resume.
        ValueError: a setting cannot be, or differs from what the directory was started with.
        RunError: the directory cannot be written to, another process runs in it, its disk is or
            becomes too full, no checkpoint can be read, the memory does not suffice, or the loss
            became NaN (`Diverged`).
        Stopped: SIGTERM or SIGINT came; the state is saved.
        DataError: the dataset is missing or unreadable.

    Example:

    ```python
    summary = keras_wrn.run(recipe, run_dir="runs/mine")
    summary["test_accuracy"]
    ```
    """
    recipe = smoke(recipe) if made_up else recipe
    own_place = run_dir is None
    run_dir = Path(run_dir or default_directory(recipe))
    share = join(recipe.strategy, hosts or Hosts())
    if made_up and own_place and not resume:
        on_chief(lambda: clear_smoke(run_dir), share)
    changes = on_chief(lambda: open_directory(run_dir, recipe, resume, allow_changes), share)
    found = {"finished": np.array((run_dir / "summary.json").exists())}
    if from_chief(found, share)["finished"]:
        if not share.is_chief:
            return {}
        print(f"{run_dir} is a finished run.")
        return read_summary(run_dir)
    with contextlib.ExitStack() as stack, peers(share, run_dir):
        on_chief(lambda: stack.enter_context(locked(run_dir)), share)
        return _run(recipe, run_dir, data_dir, made_up, share, changes)


def _run(recipe, run_dir, data_dir, made_up, share, changes):
    _seed(recipe)
    check_inputs(recipe)
    start = start_model(recipe.model)
    data = load_inputs(recipe, start, data_dir, made_up)
    place = devices.place(recipe, share)
    with place.scope():
        teacher = load_teacher(recipe.distill, data.preprocessing, data.classes)
    given = fingerprint(data, *(model for model in (start, teacher) if model is not None))
    check_same("recipe", recipe.to_json(), share)
    check_same("images and starting weights", json.dumps(given), share)
    on_chief(lambda: check_unchanged(run_dir, given), share)
    with (
        devices.precision_scope(place.precision),
        memory_explained(recipe, run_dir, place.replicas),
    ):
        model = _train(recipe, run_dir, data, start, teacher, place, given, changes)
    leave()
    return on_chief(lambda: _finish(recipe, run_dir, model, teacher, data, place), share) or {}


def _finish(recipe, run_dir, model, teacher, data, place):
    final = final_model(recipe, model, data.preprocessing)
    renewed = 0
    if recipe.optimizer.average:
        batches = recipe_batches(recipe, data, data.preprocessing.size)
        renewed = renew_statistics(final, batches, recipe.epochs)
    final.save(run_dir / "model.keras")
    data.preprocessing.save(run_dir)
    summary = summarize(recipe, run_dir, final, model, teacher, data, place, renewed)
    report.plot_curves(run_dir, summary["test_error"])
    export_artifacts(recipe, final, run_dir / "export")
    write_json(run_dir / "summary.json", summary)
    split = "validation" if recipe.data.validation else "test"
    error = f"{summary['test_error']:.2f} % {split} error"
    epochs = f"{recipe.epochs} epoch" + "s" * (recipe.epochs > 1)
    print(f"{recipe.name}: {error} after {epochs}; see {run_dir}")
    return summary


def _seed(recipe):
    keras.utils.set_random_seed(recipe.seed)
    if recipe.deterministic and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def _train(recipe, run_dir, data, start, teacher, place, given, changes):
    replicas, share = place.replicas, place.share
    parts = [
        (epochs, recipe_batches(recipe, data, size))
        for epochs, size in phases(recipe, data.preprocessing.size)
    ]
    steps = parts[0][1].steps_per_epoch
    if recipe.batch_size % replicas:
        raise ValueError(
            f"`batch_size` should be a multiple of the {replicas} devices. Received: "
            f"{recipe.batch_size}. Nearest: {round(recipe.batch_size / replicas) * replicas}"
        )
    with place.scope():
        student = training_model(recipe, start, data)
        if place.strategy is not None and replicas > 1 and recipe.sync_batch_norm:
            for layer in student.layers:
                if isinstance(layer, BatchNormalization):
                    layer.synchronized = True
    with contextlib.nullcontext() if on_workers(share) else place.scope():
        model = _trained(recipe, student, teacher, share, parts[0][1].images)
    with place.scope():
        params, zca = model.count_params(), data.preprocessing.zca
        on_chief(lambda: check_disk(run_dir, params, zca), share)
        _compile(model, recipe, steps)
        take_average = hold_average(model.optimizer)
        build_metrics(model, data.classes)  # which `fit` makes too late to be restored
        on_chief(lambda: begin_directory(run_dir, recipe, given), share)
        if share.is_chief:
            print(opening_lines(recipe, student, data, place))
        checkpoints = Checkpoints(run_dir / "checkpoints")
        stored = from_chief(on_chief(checkpoints.read, share), share)
        step, extras = apply_state(model, stored)
        if step > recipe.epochs * steps:
            raise ValueError(
                f"`epochs` should be at least the {step / steps:g} that {run_dir} has behind it. "
                f"Received: {recipe.epochs}"
            )
        on_chief(lambda: note_changes(run_dir, recipe, changes, step), share)
    log = RunLog(run_dir / "log.jsonl", keep_epochs=step // steps) if share.is_chief else None
    test = eval_batches(recipe, data, place)

    def fit(batches, start, epochs, extras):
        """Train from a step to the end of so many epochs; `extras` are of one inside an epoch."""
        first, done = divmod(start, steps)
        callbacks = run_callbacks(
            model, recipe, run_dir, checkpoints, log, batches, start, extras, share
        )
        if extras and not done:
            end_epoch(model, test, callbacks, first - 1)
            return start
        with place.scope() if on_workers(share) else contextlib.nullcontext():
            model.fit(
                train_batches(model, batches, start, epochs, share),
                initial_epoch=first,
                epochs=epochs,
                steps_per_epoch=steps - done,
                validation_data=test,
                callbacks=callbacks,
                shuffle=False,
            )
        return epochs * steps

    if step and share.is_chief:
        print(f"Resuming {run_dir} after step {step} of {recipe.epochs * steps}.")
    end = 0
    for epochs, batches in parts:
        end += epochs
        if extras and step <= end * steps:  # stopped inside an epoch, or in its evaluation
            step, extras = fit(batches, step, step // steps + 1, extras), {}
        if step < end * steps:
            step = fit(batches, step, end, {})
        model.train_function = None  # else TensorFlow makes one for images of any size
    if recipe.optimizer.average:
        take_average(model.trainable_variables)
    return student


def _trained(recipe, student, teacher, share, images):
    """What `fit` is called on: the student or a distiller around it, of a class that fits."""
    cls: Any = keras.Model if teacher is None else Distiller
    if on_workers(share):
        cls = of_workers(cls)
    elif fits_device(share, images):
        cls = on_device(cls)
    if cls is keras.Model:
        return student
    if teacher is None:
        return cls(student.inputs, student.outputs, name=student.name)
    settings = dataclasses.asdict(recipe.distill)
    settings.pop("teacher")
    return cls(student, teacher, **settings)


def _compile(model, recipe, steps):
    settings = dataclasses.asdict(recipe.optimizer)
    rate = settings.pop("learning_rate")
    scale = recipe.batch_size / recipe.rate_batch if recipe.scale_lr else 1.0
    schedule = scaled_schedule(recipe.schedule, rate, scale, recipe.epochs, steps)
    settings.update(averaging(settings.pop("average")))
    muon = {name: settings.pop(name) for name in ("kernel_rate", "kernel_momentum")}
    optimizer = (
        Muon(schedule, **muon, **settings) if muon["kernel_rate"] else SGD(schedule, **settings)
    )
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=recipe.label_smoothing
        ),
        weighted_metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        # XLA is slower on CPU, and fails under MirroredStrategy with more than one replica.
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    model.optimizer.build(model.trainable_variables)
