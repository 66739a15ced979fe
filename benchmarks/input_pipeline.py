"""Images per second of the training input: CIFAR's crop, flip and normalisation.

    python benchmarks/input_pipeline.py --out benchmarks/results/input_pipeline.json

The input is 50,000 made-up images of 32x32 (pixel values make no difference), or a dataset's own
with --dataset cifar10. One epoch warms up; the result is the median of the others. If other
programs use the processor too, images per second of processor time tell more. --heavy measures the
heavier augmentations too.
"""

import argparse
import itertools
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.record import add_out, record
from keras_wrn import data

HEAVY = {
    "cutout": {"cutout": 16},
    "mixup": {"mixup": 0.2},
    "cutmix": {"cutmix": 1.0},
    "rand_augment": {"rand_augment": 0.5},
}


def load(args):
    """Return the training images and labels, uint8 and int32."""
    if args.dataset:
        return data.load_arrays(args.dataset, "train", data_dir=args.data_dir, extra=False)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (args.images, 32, 32, 3), dtype="uint8")
    return images, np.arange(args.images, dtype="int32") % 10


def measure(batches, epochs):
    """Images per second, and per second of processor time, for each epoch but the first."""
    count = batches.steps_per_epoch * batches.batch_size
    iterator = iter(batches.dataset(epochs=epochs + 1))
    rates = []
    for _ in range(epochs + 1):
        begun, worked = time.perf_counter(), time.process_time()
        for _ in itertools.islice(iterator, batches.steps_per_epoch):
            pass
        rates.append(
            (count / (time.perf_counter() - begun), count / (time.process_time() - worked))
        )
    return zip(*rates[1:], strict=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=50_000, help="made-up images")
    parser.add_argument("--dataset", choices=sorted(data.DATASETS), help="in place of made-up ones")
    parser.add_argument("--data-dir", help="where TFDS keeps its data")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=7)
    parser.add_argument("--heavy", action="store_true", help="cutout, mixup, CutMix, RandAugment")
    add_out(parser)
    args = parser.parse_args()

    images, labels = load(args)
    info = data.dataset_info(args.dataset or "cifar10")
    results = {}
    for name, settings in {"crop_and_flip": {}, **(HEAVY if args.heavy else {})}.items():
        batches = data.Batches(
            images,
            labels,
            info.classes,
            batch_size=args.batch_size,
            preprocessing=data.default_preprocessing(info),
            augmentation=data.Augmentation(**settings),
        )
        rates, cpu_rates = measure(batches, args.epochs)
        results[name] = {
            "images_per_second": round(statistics.median(rates)),
            "slowest_and_fastest_epoch": [round(min(rates)), round(max(rates))],
            "images_per_cpu_second": round(statistics.median(cpu_rates)),
        }
    result = {
        "what": f"training input, {len(images)} images of 32x32, batch {args.batch_size}",
        "epochs": args.epochs,
        "results": results,
    }
    record(result, args.out)


if __name__ == "__main__":
    main()
