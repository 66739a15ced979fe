"""One training step of WRN-16-4 at batch 32, ours against PyTorch, in alternation in one run.

    python benchmarks/training_step.py --out benchmarks/results/training_step.json

Ours is the compiled step of `model.fit` with `keras_wrn.SGD`, in the precision that `auto` stands
for here; PyTorch runs eagerly, channels_last, with bfloat16 autocast where ours is bfloat16. Each
round times some steps of the one, then of the other; the result is the median of their ratios.
"""

import argparse
import os
import statistics
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.record import add_out, record
from benchmarks.steps import seconds, step_of
from keras_wrn.training import devices
from tests.reference_torch import WideResNet as TorchWideResNet


def theirs(depth, width, images, labels, precision):
    """Return a function that makes one step of the PyTorch reference."""
    torch.set_num_threads(os.cpu_count())
    model = (
        TorchWideResNet((depth - 4) // 6, width, watch=False)
        .to(memory_format=torch.channels_last)
        .train()
    )
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    x = torch.from_numpy(images.transpose(0, 3, 1, 2)).contiguous(memory_format=torch.channels_last)
    y = torch.from_numpy(labels)

    def step():
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            logits = model(x)
        torch.nn.functional.cross_entropy(logits.float(), y).backward()
        optimizer.step()

    for _ in range(3):
        step()
    return step


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=16)
    parser.add_argument("--width", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=4, help="steps of each in a round")
    add_out(parser)
    args = parser.parse_args()

    precision = devices.resolve_precision(args.precision)
    generator = np.random.default_rng(0)
    images = generator.standard_normal((args.batch_size, 32, 32, 3), dtype="float32")
    labels = generator.integers(0, 10, args.batch_size)
    settings = args.depth, args.width, images, labels
    with devices.precision_scope(precision):
        steps = {"keras_wrn": step_of(*settings), "pytorch": theirs(*settings, precision)}
        rounds = [{n: seconds(s, args.steps) for n, s in steps.items()} for _ in range(args.rounds)]
    ratios = sorted(r["keras_wrn"] / r["pytorch"] for r in rounds)
    result = {
        "what": f"WRN-{args.depth}-{args.width} training step, batch {args.batch_size}",
        "precision": precision,
        "milliseconds": {n: round(1000 * min(r[n] for r in rounds), 1) for n in steps},
        "images_per_second": {
            n: round(args.batch_size / min(r[n] for r in rounds), 1) for n in steps
        },
        "ratio_median": round(statistics.median(ratios), 3),
        "ratio_spread": [round(ratios[0], 3), round(ratios[-1], 3)],
        "rounds": args.rounds,
    }
    record(result, args.out)


if __name__ == "__main__":
    main()
