"""What the rows of the speed benchmark have in common."""

import atexit
import contextlib
import os
import statistics
import tempfile
from pathlib import Path

import numpy as np

CORES = os.cpu_count() or 1
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


def ratio(ours, theirs):
    """Median and quartiles of the ratio of two contestants' times, round by round."""
    ratios = _by_round(ours, theirs)
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return {"median": round(middle, 3), "quartiles": [round(low, 3), round(high, 3)]}


def median_interval(ours, theirs):
    """Between which two rounds the median of the ratio lies: 95 % (sign test) of six or more."""
    ratios = sorted(_by_round(ours, theirs))
    outside = max(0, int(len(ratios) / 2 - 0.98 * len(ratios) ** 0.5))
    return ratios[outside], ratios[-1 - outside]


def _by_round(ours, theirs):
    return [a / b for a, b in zip(ours["rounds"], theirs["rounds"], strict=True)]
