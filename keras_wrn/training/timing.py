"""How long the parts of one training step take, next to what the machine can do at most."""

import statistics
import tempfile
import time
from pathlib import Path

import keras
import numpy as np

from keras_wrn import files
from keras_wrn.data.datasets import DATASETS
from keras_wrn.errors import RunError
from keras_wrn.files import write_json
from keras_wrn.machine import versions
from keras_wrn.models.complexity import count_macs
from keras_wrn.runs.directory import locked
from keras_wrn.runs.study_report import TIMING
from keras_wrn.training.devices import precision_scope
from keras_wrn.training.network import build_model
from keras_wrn.training.placement import Placement
from keras_wrn.training.trainer import compile_model

ROUNDS = 20
SIDES = 1024, 2048, 4096  # of the matrices whose product shows the peak
PARTS = "forward", "backward", "update"


def time_recipe(recipe, run_dir, quick=False):
    """Time a training step of a recipe's network at its batch size, and write timing.json.

    Args:
        recipe: `Recipe`.
        run_dir: path, made if it is absent.
        quick: bool, whether to measure a tiny network once, as a rehearsal.

    Returns:
        dict of `forward`, `backward` and `update` (seconds, medians over rounds in which all three
        take their turn), `step` (their sum), `flops` of a step, `peak` (FLOP/s of the best matrix
        product), `params`, `batch_size`, `precision` and `versions`.

    Raises:
        RunError: the backend is not TensorFlow.
        Busy: another process times it.
    """
    if keras.backend.backend() != "tensorflow":
        raise RunError(f"Steps are timed on TensorFlow. Received: {keras.backend.backend()!r}")
    run_dir = Path(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    # Two steps at once would tell nothing of either.
    everywhere = files.locked(Path(tempfile.gettempdir(), "keras-wrn-timing.lock"))
    with locked(run_dir), everywhere:
        placement = Placement.of(recipe)
        keras.utils.set_random_seed(recipe.seed)
        with precision_scope(placement.precision):
            result = _measured(recipe.shrunk() if quick else recipe, 1 if quick else ROUNDS)
            result["peak"] = _peak(placement.precision, SIDES[:1] if quick else SIDES)
        result.update(
            recipe=recipe.name,
            batch_size=recipe.batch_size,
            precision=placement.precision,
            quick=quick,
            versions=versions(),
        )
        write_json(run_dir / TIMING, result)
    print(f"{recipe.name}: {1e3 * result['step']:.1f} ms a step of {recipe.batch_size} images")
    return result


def _measured(recipe, rounds):
    import tensorflow as tf

    info = DATASETS[recipe.data.dataset]
    model = build_model(recipe, classes=info.classes, size=info.size, classifier_activation=None)
    compile_model(model, recipe, steps=1000)
    random = np.random.default_rng(0)
    images = random.normal(size=(recipe.batch_size, info.size, info.size, 3)).astype("float32")
    labels = np.eye(info.classes, dtype="float32")[
        random.integers(0, info.classes, recipe.batch_size)
    ]
    x, y = tf.constant(images), tf.constant(labels)

    @tf.function
    def forward():
        return model.compute_loss(y=y, y_pred=model(x, training=True))

    @tf.function
    def backward():
        with tf.GradientTape() as tape:
            loss = model.compute_loss(y=y, y_pred=model(x, training=True))
        return tape.gradient(loss, model.trainable_variables)

    @tf.function
    def update():
        with tf.GradientTape() as tape:
            loss = model.compute_loss(y=y, y_pred=model(x, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        model.optimizer.apply(gradients, model.trainable_variables)
        return loss

    steps = forward, backward, update
    for step in steps:  # traces, and warms up
        _seconds(step), _seconds(step)
    times = [[_seconds(step) for step in steps] for _ in range(rounds)]
    ends = [statistics.median(column) for column in zip(*times, strict=True)]
    parts = dict(zip(PARTS, [ends[0], *np.diff(ends).tolist()], strict=True))
    macs = count_macs(model)
    return {
        **parts,
        "step": ends[-1],
        "flops": 6 * macs * recipe.batch_size,
        "macs": macs,
        "params": sum(int(np.prod(w.shape)) for w in model.trainable_weights),
    }


def _seconds(step):
    import tensorflow as tf

    begun = time.perf_counter()
    step()
    tf.test.experimental.sync_devices()
    return time.perf_counter() - begun


def _peak(precision, sides):
    """The FLOP/s of the best square matrix product."""
    import tensorflow as tf

    product = tf.function(lambda a: tf.reduce_sum(tf.matmul(a, a)[0]))
    best = 0.0
    for side in sides:
        a = tf.cast(tf.random.normal((side, side)), precision)
        product(a).numpy()
        for _ in range(5):
            begun = time.perf_counter()
            product(a).numpy()
            best = max(best, 2 * side**3 / (time.perf_counter() - begun))
    return best
