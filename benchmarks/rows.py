"""What the rows of the speed benchmark have in common."""

import os

import numpy as np

CORES = os.cpu_count() or 1


def made_up(row, classes=10):
    """Normalised images and labels."""
    generator = np.random.default_rng(0)
    side = row["size"]
    images = generator.standard_normal((row["batch"], side, side, 3), dtype="float32")
    return images, generator.integers(0, classes, row["batch"])
