"""What is compared: ours and its peers, each a function that does one thing once.

A contestant is named "ours", "pytorch" or another key of `CONTESTANTS[kind]`, and is made from the
settings of a row, such as {"network": "wrn_16_4", "size": 32, "batch": 32, "precision": "float32"}.
Everything is imported where it is used: a child process loads one library alone.
"""

import itertools
import multiprocessing
import time
from types import SimpleNamespace

import numpy as np

from benchmarks import peers
from benchmarks.rows import CORES, INSIDE, compute_in, made_up, scratch


def our_model(row, activation=None):
    """The network of a row, with logits unless said otherwise."""
    import keras_wrn

    classes = 10 if row["size"] == 32 else 1000
    return keras_wrn.create_model(
        row["network"], classes=classes, classifier_activation=activation,
        input_shape=(row["size"], row["size"], 3),
    )  # fmt: skip


def our_step(row):
    """One compiled step of `model.fit` with `keras_wrn.SGD`; on JAX `fit` itself."""
    import keras

    if keras.backend.backend() == "jax":
        return our_fit(row)
    from benchmarks.steps import step_of

    compute_in(row["precision"])
    model = our_model(row)
    return step_of(model, *made_up(row, model.output_shape[-1]))


def our_fit(row):
    """`fit` with the callbacks of a run: seconds a step, on TensorFlow of the bare step too."""
    import keras

    import keras_wrn
    from keras_wrn.runs.checkpoint import Checkpoints
    from keras_wrn.training.callbacks import RunLog, run_callbacks
    from keras_wrn.training.hosts import Share

    class Together(keras.callbacks.Callback):
        """Times steps together: a run has waited for some steps before, at both ends."""

        last = None

        def on_train_batch_end(self, batch, logs=None):
            if batch in (INSIDE, 2 * INSIDE):
                self.first, self.last = self.last, time.perf_counter()

        def seconds(self):
            return (self.last - self.first) / INSIDE

    class InTurns(keras.callbacks.Callback):
        """After each step of `fit` makes a bare one: both meet the same machine."""

        def on_train_begin(self, logs=None):
            self.iterator, self.times, self.last = iter(dataset), [], None

        def on_train_batch_end(self, batch, logs=None):
            ended = time.perf_counter()
            model.train_function(self.iterator)
            if self.last is not None:
                self.times.append((ended - self.last, time.perf_counter() - ended))
            self.last = time.perf_counter()

        def seconds(self):
            return tuple(np.median(self.times, axis=0))

    compute_in(row["precision"])
    jax = keras.backend.backend() == "jax"
    model, dataset = (_from_device if jax else _from_tensors)(row)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    accuracy = keras.metrics.CategoricalAccuracy(name="accuracy")
    jit = "auto" if jax else False
    model.compile(keras_wrn.SGD(0.1), loss, weighted_metrics=[accuracy], jit_compile=jit)
    if hasattr(model, "take_from"):
        from keras_wrn.training.workers import build_metrics

        build_metrics(model, model.output_shape[-1])
    directory = scratch()
    steps = (2 if jax else 1) * INSIDE + 1
    run = {
        "recipe": keras_wrn.Recipe("fit", batch_size=row["batch"]),
        "run_dir": directory,
        "checkpoints": Checkpoints(directory / "checkpoints"),
        "log": RunLog(directory / "log.jsonl"),
        "batches": SimpleNamespace(steps_per_epoch=steps),
        "start": 0,
        "extras": {},
        "share": Share(),
    }

    def fit():
        timed = Together() if jax else InTurns()
        callbacks = run_callbacks(model, **run)
        callbacks.callbacks.append(timed)  # the last, after whatever else a step calls
        model.fit(dataset, steps_per_epoch=steps, shuffle=False, callbacks=callbacks)
        return timed.seconds()

    return fit


def _from_tensors(row):
    """A model and its batches for `fit` on TensorFlow: one batch, again and again."""
    import tensorflow as tf

    model = our_model(row)
    classes = model.output_shape[-1]
    images, labels = made_up(row, classes)
    batch = images, tf.one_hot(labels, classes)
    return model, tf.data.Dataset.from_tensors(batch).repeat()


def _from_device(row):
    """A model and its batches for `fit` on JAX, cropped, mirrored and normalised on the device."""
    import keras

    from keras_wrn import data
    from keras_wrn.training.on_device import on_device

    model = our_model(row)
    model = on_device(keras.Model)(model.inputs, model.outputs)
    count, side = (2 * INSIDE + 1) * row["batch"], row["size"]
    images = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype="uint8")
    batches = data.Batches(
        images, np.arange(count) % 10, model.output_shape[-1], batch_size=row["batch"],
        preprocessing=data.Preprocessing(side, mean=(0.5,) * 3, std=(0.25,) * 3),
    )  # fmt: skip
    return model, model.take_from(batches, 0, 1)


def our_artifact(row, kind):
    """A file that `keras-wrn export` writes, in the runtime that is made for it."""
    from benchmarks.runtimes import opened

    directory = scratch()
    # In a process that ends: what an export leaves behind can be gigabytes.
    spawn = multiprocessing.get_context("spawn")
    process = spawn.Process(target=_write, args=(row, kind, directory))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"The export of {kind} ended with {process.exitcode}")
    run, images = opened(kind, directory, CORES), made_up(row)[0]
    return lambda: run(images)


def _write(row, kind, directory):
    from benchmarks.runtimes import write

    write(kind, our_model(row, "softmax"), made_up(row)[0], directory)


def our_input(row):
    """An epoch of CIFAR-sized training batches."""
    from keras_wrn import data

    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (row["images"], 32, 32, 3), dtype="uint8")
    info = data.dataset_info("cifar10")
    batches = data.Batches(
        images, np.arange(len(images)) % 10, 10, batch_size=row["batch"],
        preprocessing=data.default_preprocessing(info),
    )  # fmt: skip
    iterator = iter(batches.dataset(epochs=10_000))
    return lambda: [None for _ in itertools.islice(iterator, batches.steps_per_epoch)]


def tensorflow_matmul(row):
    """A square matrix product in TensorFlow."""
    import tensorflow as tf

    a = tf.cast(tf.random.normal((row["side"], row["side"])), row["precision"])
    product = tf.function(lambda a: tf.matmul(a, a)[0, 0])
    return lambda: product(a).numpy()


CONTESTANTS = {
    "matmul": {"tensorflow": tensorflow_matmul, "pytorch": peers.matmul},
    "training": {
        "ours": our_step,
        "pytorch": peers.step,
        "pytorch compiled": lambda row: peers.step(row, compiled=True),
    },
    "fit": {"ours": our_fit},
    "input": {"ours": our_input, "pytorch": peers.loader},
    "inference": {
        **{
            f"ours {kind}": lambda row, kind=kind: our_artifact(row, kind)
            for kind in (
                "saved_model", "saved_model bfloat16", "litert float32", "litert float16",
                "litert dynamic_int8", "litert int8", "onnx", "onnx int8", "openvino",
                "openvino bfloat16", "openvino int8",
            )
        },
        "pytorch float32": lambda row: peers.inference({**row, "precision": "float32"}),
        "pytorch bfloat16": lambda row: peers.inference({**row, "precision": "bfloat16"}),
        "pytorch compiled float32": lambda row: peers.inference(
            {**row, "precision": "float32"}, compiled=True
        ),
        "pytorch compiled bfloat16": lambda row: peers.inference(
            {**row, "precision": "bfloat16"}, compiled=True
        ),
    },
}  # fmt: skip
