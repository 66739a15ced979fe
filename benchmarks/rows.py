"""What the rows of the speed benchmark have in common."""

import atexit
import contextlib
import math
import os
import statistics
import tempfile
from pathlib import Path

import numpy as np

# The cores that this process may use, if the system says which.
CORES = len(getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0))
INSIDE = 40  # steps that are timed as one, after as many that are not timed
_FOR_LIFE = contextlib.ExitStack()
atexit.register(_FOR_LIFE.close)


def made_up(row, classes=10):
    """Normalised images and labels."""
    generator = np.random.default_rng(0)
    side = row["size"]
    images = generator.standard_normal((row["batch"], side, side, 3), dtype="float32")
    return images, generator.integers(0, classes, row["batch"])


def compute_in(precision):
    """Make everything that this process compiles from now on compute in a precision."""
    from keras_wrn.training import devices

    # Kept: a scope without a reference ends when it is garbage-collected.
    _FOR_LIFE.enter_context(devices.precision_scope(precision))


def scratch():
    """A directory that is deleted with the process."""
    return Path(_FOR_LIFE.enter_context(tempfile.TemporaryDirectory(prefix="speed-")))


def rows_in(measured):
    """The contents of a file of speed.py, one by one: its parts, or their rows if they have any."""
    parts = [part for name, part in measured.items() if name != "versions"]
    return [row for part in parts for row in (part if isinstance(part, list) else [part])]


def best_of(found, names):
    """The name with the lowest median time over the rounds, None if nobody took part."""
    took_part = [name for name in names if "rounds" in found.get(name, ())]
    return min(took_part, key=lambda name: statistics.median(found[name]["rounds"]), default=None)


def ratio(ours, theirs):
    """Lower quartile, median and upper quartile of the ratio of two contestants' times by round."""
    return statistics.quantiles(_by_round(ours, theirs), n=4, method="inclusive")


def median_interval(ours, theirs):
    """The two rounds between which the ratio's median lies, and how likely (sign test).

    The narrowest interval that is 95 % likely; with less than six rounds, all of them.
    """
    ratios = sorted(_by_round(ours, theirs))
    outside, count = 0, len(ratios)
    while _inside(count, outside + 1) >= 0.95:
        outside += 1
    return ratios[outside], ratios[-1 - outside], _inside(count, outside)


def _inside(count, outside):
    """How likely the median is not among the outermost `outside` of `count` at either end."""
    return 1 - 2 * sum(math.comb(count, heads) for heads in range(outside + 1)) / 2**count


def _by_round(ours, theirs):
    return [a / b for a, b in zip(ours["rounds"], theirs["rounds"], strict=True)]
