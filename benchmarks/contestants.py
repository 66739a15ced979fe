"""What is compared: ours and its peers, each a function that does one thing once.

A contestant is named "ours", "pytorch" or another key of `CONTESTANTS[kind]`, and is made from the
settings of a row, such as {"network": "wrn_16_4", "size": 32, "batch": 32, "precision": "float32"}.
Everything is imported where it is used: a child process loads one library alone.
"""

import itertools
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CORES = os.cpu_count() or 1
INSIDE = 40  # steps of `fit` that are timed, after as many that are not


def made_up(row, classes=10):
    """Normalised images and labels."""
    generator = np.random.default_rng(0)
    side = row["size"]
    images = generator.standard_normal((row["batch"], side, side, 3), dtype="float32")
    return images, generator.integers(0, classes, row["batch"])


def our_model(row, activation=None):
    """The network of a row, with logits unless said otherwise."""
    import keras_wrn

    classes = 10 if row["size"] == 32 else 1000
    return keras_wrn.create_model(
        row["network"], classes=classes, classifier_activation=activation,
        input_shape=(row["size"], row["size"], 3),
    )  # fmt: skip


def our_step(row):
    """One compiled step of `model.fit` with `keras_wrn.SGD`."""
    from benchmarks.steps import step_of
    from keras_wrn.training import devices

    # For the life of the process: a step computes in its precision only inside.
    devices.precision_scope(row["precision"]).__enter__()
    model = our_model(row)
    return step_of(model, *made_up(row, model.output_shape[-1]))


def our_fit(row, bare=False):
    """`fit` with the callback of a run, or its compiled step alone; returns seconds a step."""
    import keras
    import tensorflow as tf

    import keras_wrn
    from keras_wrn.training import devices
    from keras_wrn.training.callbacks import RunCallback
    from keras_wrn.training.hosts import Share

    class Timed(RunCallback):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            if batch == INSIDE:
                self.first = time.perf_counter()
            self.last = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            pass  # a checkpoint an epoch is no cost of a step

    devices.precision_scope(row["precision"]).__enter__()
    model = our_model(row)
    images, labels = made_up(row)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    accuracy = keras.metrics.CategoricalAccuracy(name="accuracy")
    model.compile(keras_wrn.SGD(0.1), loss, weighted_metrics=[accuracy], jit_compile=False)
    dataset = tf.data.Dataset.from_tensors((images, tf.one_hot(labels, 10))).repeat()
    iterator = iter(dataset)

    def fit():
        callback = Timed(None, None, 2 * INSIDE, row["batch"], 0, {}, Share())
        model.fit(dataset, steps_per_epoch=2 * INSIDE + 1, verbose=0, callbacks=[callback])
        return (callback.last - callback.first) / INSIDE

    def step():
        model.make_train_function()
        begun = time.perf_counter()
        for _ in range(INSIDE):
            model.train_function(iterator)
        return (time.perf_counter() - begun) / INSIDE

    return step if bare else fit


def torch_model(row):
    """The reference network in PyTorch, in channels_last."""
    import torch

    root = Path(__file__).resolve().parent.parent
    if row["size"] == 32:
        from tests.reference_torch import WideResNet

        depth, width = (int(part) for part in row["network"].split("_")[1:])
        model = WideResNet((depth - 4) // 6, width, watch=False)
    else:
        sys.path.append(str(root / "tests/weights"))
        from timm_networks import import_timm

        model = import_timm().create_model(row["network"])
    torch.set_num_threads(CORES)  # after the reference, whose tests take one
    return model.to(memory_format=torch.channels_last)


def torch_images(row):
    """The images and labels of a row as tensors in channels_last."""
    import torch

    images, labels = made_up(row, 10 if row["size"] == 32 else 1000)
    x = torch.from_numpy(images.transpose(0, 3, 1, 2)).contiguous(memory_format=torch.channels_last)
    return x, torch.from_numpy(labels)


def torch_step(row, compiled=False):
    """Forward, backward and update in PyTorch, with autocast where the row is in bfloat16."""
    import torch

    model = torch_model(row).train()
    x, y = torch_images(row)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    forward = torch.compile(model) if compiled else model
    low = row["precision"] == "bfloat16"

    def step():
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            logits = forward(x)
        torch.nn.functional.cross_entropy(logits.float(), y).backward()
        optimizer.step()

    return step


def torch_inference(row, compiled=False):
    """The reference in evaluation mode, its batch norms folded by torch.compile if at all."""
    import torch

    model = torch_model(row).eval()
    x, _ = torch_images(row)
    forward = torch.compile(model) if compiled else model
    low = row["precision"] == "bfloat16"

    def infer():
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=low):
            forward(x)

    return infer


def our_artifact(row, kind):
    """A file that `keras-wrn export` writes, in the runtime that is made for it."""
    from benchmarks.runtimes import exported

    directory = Path(tempfile.mkdtemp(prefix="speed-"))
    return exported(kind, our_model(row, "softmax"), made_up(row)[0], directory, CORES)


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


def torch_input(row):
    """The same in the way of torchvision: one image at a time, in the workers of a DataLoader."""
    import torch

    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (row["images"], 32, 32, 3), dtype="uint8")
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.49, 0.48, 0.45], [0.25, 0.24, 0.26]))

    class Images(torch.utils.data.Dataset):
        def __len__(self):
            return len(images)

        def __getitem__(self, index):
            image = torch.from_numpy(images[index]).permute(2, 0, 1).float().div_(255)
            image = torch.nn.functional.pad(image[None], (4,) * 4, mode="reflect")[0]
            top, left = torch.randint(0, 9, (2,)).tolist()
            image = image[:, top : top + 32, left : left + 32]
            if torch.rand(()) < 0.5:
                image = image.flip(-1)
            return (image - mean) / std, index % 10

    loader = torch.utils.data.DataLoader(
        Images(), row["batch"], shuffle=True, num_workers=CORES, persistent_workers=True,
        drop_last=True,
    )  # fmt: skip
    return lambda: [None for _ in loader]


def tensorflow_matmul(row):
    """A square matrix product in TensorFlow."""
    import tensorflow as tf

    a = tf.cast(tf.random.normal((row["side"], row["side"])), row["precision"])
    product = tf.function(lambda a: tf.matmul(a, a))
    return lambda: product(a)


def torch_matmul(row):
    """A square matrix product in PyTorch."""
    import torch

    torch.set_num_threads(CORES)
    a = torch.randn(row["side"], row["side"], dtype=getattr(torch, row["precision"]))
    return lambda: a @ a


CONTESTANTS = {
    "matmul": {"tensorflow": tensorflow_matmul, "pytorch": torch_matmul},
    "training": {
        "ours": our_step,
        "pytorch": torch_step,
        "pytorch compiled": lambda row: torch_step(row, compiled=True),
    },
    "fit": {"step": lambda row: our_fit(row, bare=True), "fit": our_fit},
    "input": {"ours": our_input, "pytorch": torch_input},
    "inference": {
        **{
            f"ours {kind}": lambda row, kind=kind: our_artifact(row, kind)
            for kind in (
                "saved_model", "saved_model bfloat16", "litert float32", "litert float16",
                "litert dynamic_int8", "litert int8", "onnx", "openvino", "openvino bfloat16",
            )
        },
        "pytorch float32": lambda row: torch_inference({**row, "precision": "float32"}),
        "pytorch bfloat16": lambda row: torch_inference({**row, "precision": "bfloat16"}),
        "pytorch compiled float32": lambda row: torch_inference(
            {**row, "precision": "float32"}, compiled=True
        ),
        "pytorch compiled bfloat16": lambda row: torch_inference(
            {**row, "precision": "bfloat16"}, compiled=True
        ),
    },
}  # fmt: skip
