"""What the rows of the speed benchmark have in common."""

import atexit
import contextlib
import math
import os
import statistics
import tempfile
from pathlib import Path

import numpy as np

# Those that this process may use, where the system says which.
CORES = len(getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0))
INSIDE = 40  # steps that are timed together, after as many that are not
_FOR_LIFE = contextlib.ExitStack()
atexit.register(_FOR_LIFE.close)


def made_up(row, classes=10):
    """Normalised images and labels."""
    generator = np.random.default_rng(0)
    side = row["size"]
    images = generator.standard_normal((row["batch"], side, side, 3), dtype="float32")
    return images, generator.integers(0, classes, row["batch"])


def compute_in(precision):
    """Let all that this process compiles from now on compute in a precision."""
    from keras_wrn.training import devices

    # Kept: a scope that nobody holds is left when it is collected.
    _FOR_LIFE.enter_context(devices.precision_scope(precision))


def scratch():
    """A directory that goes with the process."""
    return Path(_FOR_LIFE.enter_context(tempfile.TemporaryDirectory(prefix="speed-")))


def rows_in(measured):
    """What a file of speed.py holds, one by one: parts, and the rows of those that have some."""
    parts = [part for name, part in measured.items() if name != "versions"]
    return [row for part in parts for row in (part if isinstance(part, list) else [part])]


def best_of(found, names):
    """Whose median time over the rounds is the lowest, of those that took part; None of nobody."""
    took_part = [name for name in names if "rounds" in found.get(name, ())]
    return min(took_part, key=lambda name: statistics.median(found[name]["rounds"]), default=None)


def ratio(ours, theirs):
    """Lower quartile, median and upper quartile of the ratio of two contestants' times by round."""
    return statistics.quantiles(_by_round(ours, theirs), n=4, method="inclusive")


def median_interval(ours, theirs):
    """Between which two rounds the median of the ratio lies, and how likely (sign test).

    The narrowest that is 95 % likely, of less than six rounds all of them.
    """
    ratios = sorted(_by_round(ours, theirs))
    outside, count = 0, len(ratios)
    while _inside(count, outside + 1) >= 0.95:
        outside += 1
    return ratios[outside], ratios[-1 - outside], _inside(count, outside)


def _inside(count, outside):
    """How likely the median lies between so many of `count` at either end."""
    return 1 - 2 * sum(math.comb(count, heads) for heads in range(outside + 1)) / 2**count


def _by_round(ours, theirs):
    return [a / b for a, b in zip(ours["rounds"], theirs["rounds"], strict=True)]
