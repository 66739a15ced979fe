"""What is compared: ours and its peers, each a function that does one thing once.

A contestant is named "ours", "pytorch" or another key of `CONTESTANTS[kind]`, and is made from the
settings of a row, such as {"network": "wrn_16_4", "size": 32, "batch": 32, "precision": "float32"}.
Everything is imported where it is used: a child process loads one library alone.
"""

import itertools
import multiprocessing
import os
import time

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
    """An epoch of a run as users train it: seconds per step, on TensorFlow also per bare step."""
    import keras

    import keras_wrn
    from keras_wrn.recipe import DataConfig, ModelConfig
    from keras_wrn.training import Placement, Trainer
    from keras_wrn.training.inputs import Inputs

    class Together(keras.callbacks.Callback):
        """Times many steps as one: at both ends, the run has waited for some earlier steps."""

        last = None

        def on_train_batch_end(self, batch, logs=None):
            if batch in (INSIDE, 2 * INSIDE):
                self.first, self.last = self.last, time.perf_counter()

        def seconds(self):
            return (self.last - self.first) / INSIDE

    class InTurns(keras.callbacks.Callback):
        """Makes a bare step after each step of `fit`, so that both meet the same load."""

        def on_train_begin(self, logs=None):
            self.iterator, self.times, self.last = iter(batch), [], None

        def on_train_batch_end(self, batch, logs=None):
            ended = time.perf_counter()
            self.model.train_function(self.iterator)
            if self.last is not None:
                self.times.append((ended - self.last, time.perf_counter() - ended))
            self.last = time.perf_counter()

        def seconds(self):
            return tuple(np.median(self.times, axis=0))

    jax = keras.backend.backend() == "jax"
    side, classes = row["size"], 10 if row["size"] == 32 else 1000
    recipe = keras_wrn.Recipe(
        "fit", model=ModelConfig(name=row["network"]), data=DataConfig(crop_padding=4),
        batch_size=row["batch"], rate_batch=row["batch"], epochs=1000,
        precision=row["precision"], strategy="none",
    )  # fmt: skip
    count = ((2 if jax else 1) * INSIDE + 1) * row["batch"]
    images = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype="uint8")
    labels = (np.arange(count) % classes).astype("int32")
    preprocessing = keras_wrn.Preprocessing(side, mean=(0.5,) * 3, std=(0.25,) * 3)
    held_out = images[: row["batch"]], labels[: row["batch"]]
    trainer = Trainer(recipe, scratch(), Placement.of(recipe))
    trainer.prepare(inputs=Inputs((images, labels), held_out, classes, preprocessing))
    if not jax:
        import tensorflow as tf

        images, labels = made_up(row, classes)
        batch = tf.data.Dataset.from_tensors((images, tf.one_hot(labels, classes))).repeat()

    def fit():
        timed = Together() if jax else InTurns()
        trainer.fit(until=trainer.step // trainer.steps + 1, callbacks=[timed])
        return timed.seconds()

    return fit


def our_artifact(row, kind):
    """A file that `keras-wrn export` writes, in its own runtime."""
    from benchmarks.runtimes import opened

    directory = scratch()
    # In a process that ends: an export can leave gigabytes behind.
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


def our_inspector(row, kind):
    """A file of a PatchCore, in its own runtime: the map of one photo."""
    from pathlib import Path

    from benchmarks import runtimes

    path, images = Path(row["directory"], INSPECTORS[kind]), inspected(row)
    if kind == "saved_model":
        run = runtimes.saved_model(path, output="map")
    elif kind.startswith("openvino"):
        precision = "bf16" if kind.endswith("bfloat16") else "f32"
        run = runtimes.openvino(path, CORES, precision, output="map")
    else:
        run = getattr(runtimes, kind.split()[0])(path, CORES, output="map")
    return lambda: run(images)


def inspected(row):
    """One photo of noise."""
    shape = 1, row["size"], row["size"], 3
    return np.random.default_rng(0).integers(0, 256, shape).astype("float32")


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


def photos_of(row):
    """The files of a folder of photos and their labels."""
    from keras_wrn.data.folder import scan_folder

    return scan_folder(row["folder"])


def used(count, batches):
    """A call that goes through batches and returns the processor milliseconds an image took.

    They count from the end of the call before: tf.data works ahead between calls too. The first
    call's figure has the start in it.
    """
    before = [0.0]

    def call():
        for _ in batches():
            pass
        spent = sum(os.times()[:4])  # of this process, and of workers that have ended
        before[0], since = spent, spent - before[0]
        return 1000 * since / count

    return call


def our_photos(row):
    """An epoch of random-resized crops and flips, for a network that normalises by itself."""
    from keras_wrn import data

    folder, side = photos_of(row), row["size"]
    preprocessing = data.Preprocessing(side, in_model=True)
    batches = data.Batches(
        folder.photos(preprocessing), folder.labels, len(folder.class_names),
        batch_size=row["batch"], preprocessing=preprocessing,
        augmentation=data.Augmentation(random_resized_crop=True, crop_padding=0),
    )  # fmt: skip
    iterator, steps = iter(batches.dataset(epochs=10_000)), batches.steps_per_epoch
    return used(steps * row["batch"], lambda: itertools.islice(iterator, steps))


def tensorflow_photos(row):
    """The same as users of tf.data write it by hand."""
    import tensorflow as tf

    folder, side = photos_of(row), row["size"]
    whole = tf.zeros((1, 0, 4))

    def read(path, label):
        content = tf.io.read_file(path)
        shape = tf.io.extract_jpeg_shape(content)
        begin, size, _ = tf.image.sample_distorted_bounding_box(
            shape, whole, min_object_covered=0.0, aspect_ratio_range=(3 / 4, 4 / 3),
            area_range=(0.08, 1), max_attempts=10, use_image_if_no_bounding_boxes=True,
        )  # fmt: skip
        window = tf.concat([begin[:2], size[:2]], 0)
        image = tf.io.decode_and_crop_jpeg(
            content, window, channels=3, dct_method="INTEGER_ACCURATE"
        )
        image = tf.image.resize(image, (side, side), antialias=True)
        image = tf.image.random_flip_left_right(image)
        return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), "uint8"), label

    dataset = tf.data.Dataset.from_tensor_slices(
        ([str(x) for x in folder.files], np.array(folder.labels))
    )
    dataset = dataset.shuffle(len(folder)).repeat()
    dataset = dataset.map(read, num_parallel_calls=tf.data.AUTOTUNE)
    dataset = dataset.batch(row["batch"], drop_remainder=True).prefetch(2)
    iterator, steps = iter(dataset), len(folder) // row["batch"]
    return used(steps * row["batch"], lambda: itertools.islice(iterator, steps))


def pytorch_photos(row):
    """The same in the workers of PyTorch's DataLoader."""
    folder = photos_of(row)
    batches = peers.photo_loader(row, folder.files, folder.labels)
    return used(len(batches) * row["batch"], lambda: batches)


def tensorflow_matmul(row):
    """A square matrix product in TensorFlow."""
    import tensorflow as tf

    a = tf.cast(tf.random.normal((row["side"], row["side"])), row["precision"])
    product = tf.function(lambda a: tf.matmul(a, a)[0, 0])
    return lambda: product(a).numpy()


INSPECTORS = {
    "saved_model": "1", "litert float32": "1/model.tflite",
    "litert float16": "1/model_float16.tflite", "onnx": "1/model.onnx",
    "openvino": "1/model.xml", "openvino bfloat16": "1/model.xml",
    "openvino int8": "1/model_int8.xml",
}  # fmt: skip
CONTESTANTS = {
    "matmul": {"tensorflow": tensorflow_matmul, "pytorch": peers.matmul},
    "training": {
        "ours": our_step,
        "pytorch": peers.step,
        "pytorch compiled": lambda row: peers.step(row, compiled=True),
    },
    "fit": {"ours": our_fit},
    "input": {"ours": our_input, "pytorch": peers.loader},
    "photos": {"ours": our_photos, "tf.data": tensorflow_photos, "pytorch": pytorch_photos},
    "inspection": {
        **{
            f"ours {kind}": lambda row, kind=kind: our_inspector(row, kind) for kind in INSPECTORS
        },
        **{
            f"pytorch {'compiled ' * compiled}{precision}": (
                lambda row, precision=precision, compiled=compiled: peers.inspection(
                    {**row, "precision": precision}, compiled
                )
            )
            for compiled in (False, True)
            for precision in ("float32", "bfloat16")
        },
    },
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
