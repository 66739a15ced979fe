"""The cost of photos as training input, in processor time: random-resized crops out of JPEGs.

    python benchmarks/photos.py --out benchmarks/results/photos.json --page docs/photos.md

Made-up photos of 500 x 375 pixels (--photos FOLDER takes your own), crops of 224, flips, uint8 out,
in batches of 64. Beside ours are tf.data written by hand, with TensorFlow's own random boxes and no
promise to repeat anything, and PyTorch's DataLoader with two workers and Pillow. Every contestant
runs in its own process; in each round all take their turn, and a ratio is between figures of one
round. --rounds 1 --count 64 is a rehearsal. Needs torch.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.child import Child
from benchmarks.contestants import CONTESTANTS
from benchmarks.record import add_out, record
from keras_wrn.machine import versions
from keras_wrn.runs.report import write_between_markers

SIZE = 500, 375  # width and height, as most of ImageNet's
NOISE = 13  # grey levels: with it files have 99 kB, about as ImageNet's


def make_photos(folder, count):
    """Photos of smooth colours, edges and noise, about as many bytes as ImageNet's."""
    generator = np.random.default_rng(0)
    for i in range(count):
        coarse = [generator.integers(0, 256, (n, n, 3), dtype="uint8") for n in (5, 40)]
        large, fine = (
            np.asarray(Image.fromarray(x).resize(SIZE, Image.Resampling.BICUBIC), "float32")
            for x in coarse
        )
        pixels = 0.7 * large + 0.2 * fine + generator.normal(12, NOISE, large.shape)
        place = folder / f"{i % 10}"
        place.mkdir(exist_ok=True)
        image = Image.fromarray(np.clip(pixels, 0, 255).astype("uint8"))
        image.save(place / f"{i:04}.jpg", quality=93)


def compare(row, rounds):
    """For each contestant the medians, and those of its ratio to the others in the same round."""
    children = [Child("photos", name, row) for name in CONTESTANTS["photos"]]
    for child in children:
        child.seconds(1)  # tf.data finds its number of threads
    turns: dict[str, list] = {child.name: [] for child in children}
    for _ in range(rounds):
        for child in children:
            turns[child.name] += child.seconds(1)
    for child in children:
        child.end()
    ours = turns["ours"]
    return {
        name: {
            "cpu_ms_an_image": round(statistics.median(times), 3),
            "ours_over_it": round(
                statistics.median(a / b for a, b in zip(ours, times, strict=True)), 3
            ),
        }
        for name, times in turns.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="a folder of class sub-folders")
    parser.add_argument("--count", type=int, default=512, help="photos that are made up")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--page", type=Path, help="page to write a table into")
    add_out(parser)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        if args.photos is None:
            make_photos(Path(made), args.count)
        folder = args.photos or Path(made)
        files = [path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg")]
        results = compare({"folder": str(folder), "size": 224, "batch": 64}, args.rounds)
        size = sum(path.stat().st_size for path in files) / len(files)
    what = (
        f"random-resized crops of 224 and flips, {len(files)} JPEGs of {size / 1000:.0f} kB, uint8"
    )
    record({"what": what, "rounds": args.rounds, "results": results}, args.out)
    if args.page:
        write_between_markers(args.page, page(what, args.rounds, results))


def page(what, rounds, results):
    """The results as a table."""
    found = versions()
    where = f"{found['machine']}, tensorflow {found['tensorflow']}"
    lines = [
        f"Measured on {where}, the medians of {rounds} rounds: {what}.",
        "",
        "| input | ms an image | ours over it |",
        "|---|---|---|",
    ]
    names = {
        "ours": "`keras_wrn.data.Batches`",
        "tf.data": "tf.data written by hand, in no fixed order",
        "pytorch": "PyTorch's DataLoader with Pillow, two workers",
    }
    lines += [
        f"| {names[name]} | {row['cpu_ms_an_image']:.2f} | {row['ours_over_it']:.2f} |"
        for name, row in results.items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
