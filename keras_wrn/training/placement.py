"""Where a run computes, and which of its processes this one is."""

import contextlib
import dataclasses
import hashlib
import io
import os
import sys
from typing import Any

import keras
import numpy as np

from keras_wrn.errors import RunError
from keras_wrn.training import devices
from keras_wrn.training.hosts import LOST, Hosts, join


@dataclasses.dataclass(frozen=True)
class Placement:
    """The devices, the precision and the processes of a run.

    Args:
        strategy: a `tf.distribute` strategy, or None.
        precision: str, "float32", "bfloat16" or "float16".
        replicas: int, how many devices share a batch.
        rank: int, which of the processes this one is; the first writes what the run leaves.
        count: int, how many processes there are.
        link: how they talk to each other; None if there is only one.
    """

    strategy: Any = None
    precision: str = "float32"
    replicas: int = 1
    rank: int = 0
    count: int = 1
    link: Any = None

    @classmethod
    def of(cls, recipe, hosts: Hosts | None = None):
        """Where a recipe computes here, once this process has joined the others, if any.

        Raises:
            RunError: the backend has no such strategy, or the other processes do not answer.
            ValueError: the numbers of processes do not fit.
        """
        rank, count, link = join(recipe.strategy, hosts or Hosts())
        if recipe.strategy == "multi-host":
            strategy = getattr(link, "strategy", None)
        else:
            strategy = devices.make_strategy(recipe.strategy)
        replicas = 1
        if strategy is not None:
            replicas = strategy.num_replicas_in_sync
        elif keras.distribution.distribution() is not None:
            replicas = len(keras.distribution.list_devices())
        precision = devices.resolve_precision(recipe.precision)
        return cls(strategy, precision, replicas, rank, count, link)

    @property
    def is_chief(self):
        """Whether this process writes what the run leaves."""
        return self.rank == 0

    def rows(self, batch):
        """This process's rows of a global batch of size `batch`."""
        size = batch // self.count
        return slice(self.rank * size, (self.rank + 1) * size)

    def scope(self):
        """Where variables are made."""
        return contextlib.nullcontext() if self.strategy is None else self.strategy.scope()

    def idle_devices(self):
        """How many of this process's JAX devices the run does not use."""
        if keras.backend.backend() != "jax" or self.replicas > 1:
            return 0
        import jax

        return len(jax.local_devices()) - 1

    def device_names(self):
        """The devices, as a list of str."""
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            names = devices.mirrored_devices(tf)
            return names if self.strategy is not None else names[:1]
        if keras.backend.backend() == "jax":
            import jax

            return [str(device) for device in jax.devices()[: self.replicas]]
        return [keras.backend.backend()]

    def from_chief(self, arrays):
        """Process 0's dict of NumPy arrays, or None, on every process."""
        if self.count == 1:
            return arrays
        file = io.BytesIO()
        if self.is_chief and arrays is not None:
            np.savez(file, **arrays)
        data = np.frombuffer(file.getvalue(), "uint8")
        length = self.link.from_first(np.array([len(data)], "int64").view("uint8"))
        size = int(length.view("int64")[0])
        if not size:
            return None
        data = self.link.from_first(data if self.is_chief else np.zeros(size, "uint8"))
        with np.load(io.BytesIO(data.tobytes())) as archive:
            return dict(archive)

    def on_chief(self, function, *args):
        """Call a function on process 0: what it returns there, None elsewhere.

        Raises:
            RunError: (on the others) it failed there; the error itself is raised on process 0.
        """
        if self.count == 1:
            return function(*args)
        result = failure = None
        if self.is_chief:
            try:
                result = function(*args)
            except Exception as error:
                failure = error
        failed = self.from_chief({"failed": np.array(failure is not None)})["failed"]
        if failure is not None:
            raise failure
        if failed:
            raise RunError("Process 0 cannot go on: its message says why.")
        return result

    def check_same(self, what, text):
        """Raise a ValueError if this process was given something other than process 0."""
        if self.count == 1:
            return
        digest = np.frombuffer(hashlib.sha256(text.encode()).digest(), "uint8")
        if (self.link.from_first(digest) != digest).any():
            raise ValueError(
                f"All processes should be given the same {what}. Process {self.rank} of "
                f"{self.count} has another one than process 0: {text[:2000]}"
            )

    def is_any_asked_to_stop(self, asked, step) -> bool:
        """Whether this or another process was asked to stop; all learn of it at the same step."""
        return asked if self.count == 1 else bool(self.link.is_any(asked, step))

    @contextlib.contextmanager
    def with_peers(self, run_dir):
        """End this process if another was lost, more politely than the backends do."""
        try:
            yield
        except Exception as error:
            if self.count == 1 or not self.link.is_lost(error):
                raise
            if "RESOURCE_EXHAUSTED" in str(error):
                raise
            lines = [line for line in str(error).splitlines() if line.strip()]
            reason = next((line for line in lines if "aborted" in line), lines[0])
            print(
                "A process of this run was lost, or this one cannot go on: "
                f"{reason.strip()[:200]}. Start all of them again with --resume: {run_dir} has the "
                "state of the last whole epoch.",
                file=sys.stderr,
                flush=True,
            )
            sys.stdout.flush()
            # Not through the backend's own shutdown, which waits for the lost one and aborts.
            os._exit(LOST)

    def leave(self):
        """Go on as one process: what comes after training is for the first alone."""
        if keras.distribution.distribution() is not None:
            keras.distribution.set_distribution(None)
