"""How the cost of training grows with width, depth, batch, devices, processes; and the input's.

    python benchmarks/scale.py --out benchmarks/results/scale.json

Steps are those of `fit` on made-up images, in the precision that `auto` stands for here; the
fastest of some counts. Devices and processes share this machine's cores, so what they add is
overhead: it is measured on whole recipes for the digits, in float32, by the images per second in
the log. Takes about ten minutes on two cores. `benchmarks/scale_page.py` turns the result into
tables and plots.
"""

import argparse
import dataclasses
import io
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.record import add_out, record

ROOT = Path(__file__).resolve().parent.parent
DEPTH, WIDTH, BATCH = 16, 2, 32
DEPTHS, WIDTHS, BATCHES = (10, 16, 22, 28, 40), (1, 2, 4, 8), (8, 16, 32, 64, 128, 256)
PHOTO = 375, 500  # about the average size of an ImageNet photo


def grow(rounds, steps):
    """Seconds per step by depth, width and batch: a list of dicts."""
    import keras_wrn
    from benchmarks.steps import seconds, step_of
    from keras_wrn.training import devices

    settings = [(d, WIDTH, BATCH) for d in DEPTHS] + [(DEPTH, w, BATCH) for w in WIDTHS]
    settings += [(DEPTH, WIDTH, b) for b in BATCHES]
    generator = np.random.default_rng(0)
    rows = []
    with devices.precision_scope(devices.resolve_precision("auto")):
        for depth, width, batch in dict.fromkeys(settings):
            images = generator.standard_normal((batch, 32, 32, 3), dtype="float32")
            network = keras_wrn.WideResNet(depth, width, classifier_activation=None)
            step = step_of(network, images, generator.integers(0, 10, batch))
            row = {
                "depth": depth,
                "width": width,
                "batch": batch,
                "params": network.count_params(),
                "macs": keras_wrn.models.count_macs(network),
                "seconds": min(seconds(step, steps) for _ in range(rounds)),
            }
            print(json.dumps(row), flush=True)
            rows.append(row)
    return rows


def train(kind, count, rank, port, directory, epochs):
    """One process of a run on `count` devices or processes; its run directory has the log."""
    if kind == "mirrored":
        import tensorflow as tf

        logical = [tf.config.LogicalDeviceConfiguration()] * count
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], logical
        )
    from keras_wrn.scripts import load_recipe
    from keras_wrn.training import Hosts
    from keras_wrn.training.run import run

    recipe = load_recipe("digits_wrn10_1")
    recipe = dataclasses.replace(
        recipe,
        model=dataclasses.replace(recipe.model, depth=DEPTH, width=WIDTH),
        export=dataclasses.replace(recipe.export, saved_model=False, litert=False),
        epochs=epochs,
        batch_size=128,
        precision="float32",
        strategy="mirrored" if kind == "mirrored" else "multi-host",
    )
    hosts = Hosts(f"127.0.0.1:{port}", count, rank) if kind == "jax" else None
    run(recipe, run_dir=Path(directory) / str(rank), hosts=hosts)


def share(kind, count, epochs):
    """Images per second of a run on `count` devices or processes of this machine."""
    with tempfile.TemporaryDirectory() as directory:
        sockets = [socket.socket() for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in sockets]
        for each in sockets:
            each.close()
        processes = []
        for rank in range(1 if kind == "mirrored" else count):
            cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
            task = {"type": "worker", "index": rank}
            environment = os.environ | {
                "KERAS_BACKEND": "jax" if kind == "jax" else "tensorflow",
                "PYTHONPATH": str(ROOT),
            }
            if kind == "workers":
                environment["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
            args = [kind, count, rank, ports[0], directory, epochs]
            command = [sys.executable, __file__, "--train", *map(str, args)]
            processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))
        if any([process.wait() for process in processes]):
            raise SystemExit(f"{kind} {count} failed")
        log = (Path(directory) / "0" / "log.jsonl").read_text().splitlines()
    rates = [json.loads(line)["images_per_second"] for line in log[1:]]  # the first one compiles
    row = {"kind": kind, "count": count, "images_per_second": statistics.median(rates)}
    print(json.dumps(row), flush=True)
    return row


def feed(seconds):
    """Images per second of processor time: CIFAR's crops, and photos decoded and resized."""
    from PIL import Image

    from benchmarks.input_pipeline import measure
    from keras_wrn import data
    from keras_wrn.data.images import image_pixels

    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (50_000, 32, 32, 3), dtype="uint8")
    info = data.dataset_info("cifar10")
    batches = data.Batches(
        images, np.arange(50_000, dtype="int32") % 10, 10,
        batch_size=128, preprocessing=data.default_preprocessing(info),
    )  # fmt: skip
    rates, cpu_rates = measure(batches, 4)
    # A photo is neither noise nor flat: so take a small random image, enlarged.
    small = Image.fromarray(generator.integers(0, 256, (24, 32, 3), dtype="uint8"))
    file = io.BytesIO()
    small.resize(PHOTO[::-1], Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    preprocessing = data.Preprocessing(224, crop=0.875)
    count, begun = 0, time.process_time()
    while time.process_time() - begun < seconds:
        image_pixels(file.getvalue(), preprocessing)
        count += 1
    return {
        "crops_per_second": round(statistics.median(rates)),
        "crops_per_core_second": round(statistics.median(cpu_rates)),
        "photos_per_core_second": round(count / (time.process_time() - begun), 1),
        "photo_bytes": len(file.getvalue()),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=5, help="steps in a round")
    parser.add_argument("--epochs", type=int, default=4, help="epochs of each run, the first aside")
    parser.add_argument("--train", nargs=6, help=argparse.SUPPRESS)  # a process of `share`
    add_out(parser)
    args = parser.parse_args()
    if args.train:
        kind, count, rank, port, directory, epochs = args.train
        train(kind, int(count), int(rank), int(port), directory, int(epochs))
        return
    many = [("mirrored", 1), ("mirrored", 2), ("mirrored", 4), ("workers", 2)]
    many += [("jax", 1), ("jax", 2)]
    result = {
        "what": "cost of a training step, of devices and processes that share it, and of its input",
        "steps": grow(args.rounds, args.steps),
        "devices": [share(kind, count, args.epochs + 1) for kind, count in many],
        "input": feed(5.0),
    }
    record(result, args.out)


if __name__ == "__main__":
    main()
