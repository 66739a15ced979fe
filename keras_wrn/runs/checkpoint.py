"""Checkpoints that hold the whole state of a run, each written aside and renamed."""

import hashlib
import io
import os
import re
from pathlib import Path

import keras
import numpy as np

from keras_wrn.errors import CheckpointError
from keras_wrn.files import TEMPORARY, replacing

DIGEST = hashlib.sha256().digest_size
PATTERN = re.compile(r"step-(\d{8})\.npz")


class Checkpoints:
    """The checkpoints of one run, in one directory; the last `keep` stay.

    Each is a `.npz` of every variable (weights, moving statistics, dropout's random states,
    optimizer and running metrics) and the step, followed by its SHA-256, 32 bytes. Backend-neutral.

    Args:
        directory: path, made when needed.
        keep: int, how many to keep.
    """

    def __init__(self, directory, keep=2):
        self.directory = Path(directory)
        self.keep = keep

    def paths(self):
        """The checkpoints on disk, oldest first."""
        if not self.directory.is_dir():
            return []
        return sorted(p for p in self.directory.iterdir() if PATTERN.fullmatch(p.name))

    def save(self, state, step):
        """Write what `state_of` returned after `step` steps of the run."""
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / f"step-{step:08d}.npz"
        for left in self.directory.glob(TEMPORARY):
            left.unlink()
        with replacing(path) as temporary, open(temporary, "w+b") as file:
            np.savez(file, step=np.int64(step), **state)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").digest()
            file.seek(0, os.SEEK_END)
            file.write(digest)
            file.flush()
            os.fsync(file.fileno())
        for old in self.paths()[: -self.keep]:
            old.unlink()

    def read(self):
        """The arrays of the newest readable checkpoint, or None if there are no checkpoints.

        Raises:
            CheckpointError: there are checkpoints, but none can be read.
        """
        problems = []
        for path in reversed(self.paths()):
            try:
                return _read_whole(path)
            except (OSError, ValueError) as error:
                problems.append(f"{path}: {error}")
                print(f"Checkpoint {path} is damaged and not used: {error}")
        if problems:
            raise CheckpointError("No checkpoint can be read: " + "; ".join(problems))
        return None


def _read_whole(path):
    data = memoryview(path.read_bytes())
    content, digest = data[:-DIGEST], data[-DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("it is cut off or its bytes have changed")
    with np.load(io.BytesIO(content)) as archive:
        return dict(archive)


def state_of(model):
    """Every variable of a compiled model, as a dict of NumPy arrays."""
    return _read(_variables(model))


def apply_state(model, arrays):
    """Give a compiled, built model the state that `Checkpoints.read` returned.

    Returns:
        The step it was saved at, and, for a checkpoint inside an epoch, the extras and the running
        metrics by name; (0, {}) for None.

    Raises:
        CheckpointError: it is from another network.
    """
    if arrays is None:
        return 0, {}
    arrays = dict(arrays)
    step = int(arrays.pop("step"))
    own = {name for name in arrays if name.startswith(("model:", "optimizer:"))}
    extras = {name: arrays.pop(name) for name in list(arrays) if name not in own}
    variables = {n: v for n, v in _variables(model) if not n.startswith("metric:")}
    wrong = sorted(set(arrays) ^ set(variables)) or [
        name for name, v in variables.items() if tuple(v.shape) != arrays[name].shape
    ]
    if wrong:
        raise CheckpointError(
            f"The checkpoint of step {step} is of another network or optimizer; differing "
            f"variables: {', '.join(wrong[:5])}{' ...' if len(wrong) > 5 else ''}"
        )
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return step, extras if "seconds" in extras else {}


def metrics_of(model):
    """The running metrics of a compiled model, as a dict of NumPy arrays."""
    return _read(pair for pair in _variables(model) if pair[0].startswith("metric:"))


def _read(variables):
    return {name: keras.ops.convert_to_numpy(variable) for name, variable in variables}


def restore_metrics(model, values):
    """Set the running metrics of a model to those of a checkpoint."""
    for name, variable in _variables(model):
        if name in values:
            variable.assign(values[name])


def _variables(model):
    for kind, variables in (
        ("model", model.variables),
        ("optimizer", model.optimizer.variables),
        ("metric", [v for metric in model.metrics for v in metric.variables]),
    ):
        for index, variable in enumerate(variables):
            # Keras numbers seed generators across the process: the number identifies nothing.
            path = re.sub(r"seed_generator_\d+", "seed_generator", variable.path)
            yield f"{kind}:{index:04d}:{path.replace('/', '.')}", variable
