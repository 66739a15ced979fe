"""The one road from a recipe to a run directory."""

import contextlib
import dataclasses
import json
import os
import platform
import shutil
import sys
from importlib import metadata
from pathlib import Path

import keras
import numpy as np

from keras_wrn.data import datasets, pipeline
from keras_wrn.data.preprocess import ZCA, Preprocessing
from keras_wrn.models.complexity import count_macs
from keras_wrn.models.layers import BatchNormalization
from keras_wrn.models.wide_resnet import WideResNet
from keras_wrn.training import devices, report
from keras_wrn.training.callbacks import RunLog, run_callbacks
from keras_wrn.training.checkpoint import Checkpoints, write_json
from keras_wrn.training.optimizer import SGD
from keras_wrn.training.recipe import Recipe, smoke
from keras_wrn.training.schedules import build_schedule

EVAL_BATCH = 500
SMOKE_IMAGES = 64


class RunError(Exception):
    """A run that cannot start, or cannot go on; the message says why and what to do."""


def run(recipe: Recipe, *, run_dir=None, resume=False, data_dir=None, made_up=False) -> dict:
    """Train a recipe to its end and write its run directory.

    Args:
        recipe: `keras_wrn.Recipe`.
        run_dir: path, by default runs/<name>-seed<seed>. It must be absent or empty, unless
            `resume`.
        resume: bool, go on from the newest checkpoint in the directory; starts when there is
            none.
        data_dir: path where TFDS keeps its data, or None for its default.
        made_up: bool, shrink the recipe to seconds and train it on made-up images.

    Returns:
        The contents of summary.json. The directory also has recipe.json, log.jsonl, curves.png,
        tensorboard/, checkpoints/, preprocessing.json, model.keras and export/.

    Raises:
        RunError: the directory cannot be used, or the loss became NaN.
        DataError: the dataset is missing or unreadable.

    Example:

    ```python
    summary = keras_wrn.run(recipe, run_dir="runs/mine")
    summary["test_accuracy"]
    ```
    """
    recipe = smoke(recipe) if made_up else recipe
    run_dir = Path(run_dir or f"runs/{recipe.name}-seed{recipe.seed}")
    if (run_dir / "summary.json").exists() and resume:
        print(f"{run_dir} is a finished run.")
        return json.loads((run_dir / "summary.json").read_text())
    _open_directory(run_dir, recipe, resume)
    _seed(recipe)
    data = _load_data(recipe, data_dir, made_up)
    precision = devices.resolve_precision(recipe.precision)
    strategy = devices.make_strategy(recipe.strategy)
    replicas = strategy.num_replicas_in_sync if strategy else 1
    _write_json_once(run_dir / "versions.json", versions())
    with devices.precision_scope(precision):
        model = _train(recipe, run_dir, data, strategy, replicas)
    final = _final_model(recipe, model, data.preprocessing)
    final.save(run_dir / "model.keras")
    data.preprocessing.save(run_dir)
    summary = _summarize(recipe, run_dir, final, data, precision, strategy)
    report.plot_curves(run_dir)
    _export(recipe, final, run_dir / "export")
    write_json(run_dir / "summary.json", summary)
    split = "validation" if recipe.data.validation else "test"
    print(f"{recipe.name}: {summary['test_error']:.2f} % {split} error after {recipe.epochs} epochs")
    return summary


@dataclasses.dataclass
class _Data:
    train: tuple
    test: tuple
    classes: int
    preprocessing: Preprocessing


def _open_directory(run_dir, recipe, resume):
    occupied = run_dir.is_dir() and any(run_dir.iterdir())
    if occupied and not resume:
        raise RunError(
            f"The run directory {run_dir} is not empty. Continue it with --resume, or give "
            "another one with --run-dir."
        )
    stored = run_dir / "recipe.json"
    if occupied and stored.exists():
        before, now = json.loads(stored.read_text()), json.loads(recipe.to_json())
        changes = list(_changes(before, now))
        if changes:
            raise RunError(
                f"{run_dir} was started with another recipe: {'; '.join(changes)}. Resume with "
                "the same flags, or give another --run-dir."
            )
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        stored.write_text(recipe.to_json())
    except OSError as error:
        raise RunError(f"The run directory {run_dir} cannot be written to: {error}") from error


def _changes(before, now, prefix=""):
    for key in sorted(set(before) | set(now)):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _changes(old, new, f"{prefix}{key}.")
        elif old != new:
            yield f"{prefix}{key} was {old!r}, is {new!r}"


def _check_disk(run_dir, params):
    # Weights and momentum in each of three checkpoints, model, SavedModel and .tflite.
    needed = params * 4 * (2 * 3 + 3) + 2**24
    free = shutil.disk_usage(run_dir).free
    if free < needed:
        raise RunError(
            f"{run_dir} needs {needed / 1e6:.0f} MB for checkpoints and artifacts, and its disk "
            f"has {free / 1e6:.0f} MB free."
        )


def _seed(recipe):
    keras.utils.set_random_seed(recipe.seed)
    if recipe.deterministic and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def _load_data(recipe, data_dir, made_up):
    info = datasets.dataset_info(recipe.data.dataset)
    if made_up:
        generator = np.random.default_rng(recipe.seed)
        shape = (SMOKE_IMAGES, info.size, info.size, 3)
        images = generator.integers(0, 256, shape, dtype="uint8")
        labels = np.arange(SMOKE_IMAGES, dtype="int32") % info.classes
        train = test = images, labels
    else:
        settings = {"extra": recipe.data.extra, "validation": recipe.data.validation}
        train = datasets.load_arrays(info.name, "train", data_dir=data_dir, **settings)
        held_out = "validation" if recipe.data.validation else "test"
        test = datasets.load_arrays(info.name, held_out, data_dir=data_dir, **settings)
    scaled = recipe.data.preprocessing == "scale"
    preprocessing = Preprocessing(
        size=info.size,
        mean=(0.0,) * 3 if scaled else info.mean,
        std=(1.0,) * 3 if scaled else info.std,
        zca=ZCA.fit(train[0]) if recipe.data.preprocessing == "zca" else None,
        class_names=info.class_names,
    )
    return _Data(train, test, info.classes, preprocessing)


def build_model(recipe: Recipe, *, classes: int, size: int = 32, classifier_activation="softmax"):
    """Build the network of a recipe, untrained."""
    return WideResNet(
        **dataclasses.asdict(recipe.model),
        classes=classes,
        input_shape=(size, size, 3),
        classifier_activation=classifier_activation,
    )


def _train(recipe, run_dir, data, strategy, replicas):
    batches = pipeline.Batches(
        *data.train,
        data.classes,
        batch_size=recipe.batch_size,
        preprocessing=data.preprocessing,
        padding=recipe.data.crop_padding,
        horizontal_flip=recipe.data.horizontal_flip,
        seed=recipe.seed,
    )
    steps = batches.steps_per_epoch
    if recipe.batch_size % replicas:
        raise RunError(
            f"batch_size should be a multiple of the {replicas} replicas. Received: "
            f"{recipe.batch_size}. Nearest: {round(recipe.batch_size / replicas) * replicas}"
        )
    with strategy.scope() if strategy else contextlib.nullcontext():
        model = build_model(recipe, classes=data.classes, classifier_activation=None)
        if replicas > 1 and recipe.sync_batch_norm:
            for layer in model.layers:
                if isinstance(layer, BatchNormalization):
                    layer.synchronized = True
        _check_disk(run_dir, model.count_params())
        _compile(model, recipe, steps)
        checkpoints = Checkpoints(run_dir / "checkpoints")
        step, extras = checkpoints.restore(model)
    log = RunLog(run_dir / "log.jsonl", keep_epochs=step // steps)
    test = _eval_batches(data, replicas)

    def fit(start, end_epoch):
        """Train from a step to the end of an epoch."""
        first, done = divmod(start, steps)
        model.fit(
            _train_batches(batches, start, end_epoch),
            initial_epoch=first,
            epochs=end_epoch,
            steps_per_epoch=steps - done,
            validation_data=test,
            callbacks=run_callbacks(recipe, run_dir, checkpoints, log, batches, start, extras),
            shuffle=False,
            verbose=1 if sys.stdout.isatty() else 2,
        )
        return end_epoch * steps

    if step:
        print(f"Resuming {run_dir} after step {step} of {recipe.epochs * steps}.")
    if step % steps:
        step = fit(step, step // steps + 1)
    if step < recipe.epochs * steps:
        fit(step, recipe.epochs)
    return model


def _compile(model, recipe, steps):
    settings = dataclasses.asdict(recipe.optimizer)
    rate = settings.pop("learning_rate")
    optimizer = SGD(build_schedule(recipe.schedule, rate, recipe.epochs, steps), **settings)
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


def _train_batches(batches, start, epochs):
    if keras.backend.backend() == "tensorflow":
        return batches.dataset(start, epochs)
    return batches.arrays(start, epochs)


def _eval_batches(data, replicas):
    settings = {"batch_size": EVAL_BATCH, "preprocessing": data.preprocessing}
    if keras.backend.backend() == "tensorflow":
        return pipeline.eval_dataset(*data.test, data.classes, replicas=replicas, **settings)
    return pipeline.EvalBatches(*data.test, data.classes, **settings)


def _final_model(recipe, model, preprocessing):
    """The trained network as users get it: float32, softmax, on one device."""
    final = build_model(recipe, classes=model.output_shape[-1])
    for variable, trained in zip(final.variables, model.variables, strict=True):
        variable.assign(keras.ops.convert_to_numpy(trained))
    final.preprocessing = preprocessing
    return final


def _summarize(recipe, run_dir, final, data, precision, strategy):
    lines = RunLog.read(run_dir / "log.jsonl")
    images, labels = data.test
    probabilities = final.predict(
        data.preprocessing.normalize(images), batch_size=EVAL_BATCH, verbose=0
    )
    accuracy = float(np.mean(np.argmax(probabilities, axis=-1) == labels))
    macs = count_macs(final)
    seen = recipe.epochs * (len(data.train[0]) // recipe.batch_size) * recipe.batch_size
    return {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "epochs": recipe.epochs,
        "test_error": round(100 * (1 - accuracy), 4),
        "test_accuracy": round(100 * accuracy, 4),
        "last_epoch": lines[-1],
        "params": sum(int(np.prod(w.shape)) for w in final.trainable_weights),
        "macs": macs,
        "flops": 6 * macs * seen,
        "seconds": round(sum(line["seconds"] for line in lines), 1),
        "precision": precision,
        "devices": devices.device_names(strategy),
        "versions": json.loads((run_dir / "versions.json").read_text()),
        "data": {
            "dataset": recipe.data.dataset,
            "train_images": len(data.train[0]),
            "test_images": len(images),
            "split": "validation" if recipe.data.validation else "test",
        },
    }


def versions():
    """The machine and the versions of what computes, as a dict of str."""
    found = {"python": platform.python_version(), "machine": _machine()}
    for package in ("keras", "tensorflow", "tensorflow-datasets", "jax", "torch", "numpy"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    found["backend"] = keras.backend.backend()
    return found


def _machine():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def _write_json_once(path, value):
    if not path.exists():
        write_json(path, value)


def _export(recipe, final, directory):
    if keras.backend.backend() != "tensorflow":
        print(f"No artifacts are exported on the {keras.backend.backend()} backend.")
        return
    del final, directory
