"""Processes that train as one on TensorFlow: `fit` under MultiWorkerMirroredStrategy.

Keras 3.15 has two bugs there, https://github.com/keras-team/keras/issues/20585. This module works
around both with public means: the fitted model is made outside the strategy's scope (its variables
inside), and its steps return vectors, which the strategy can average, instead of numbers.
"""

import json
import os
import sys
import threading

import keras
import numpy as np

from keras_wrn.errors import RunError


def on_workers(placement):
    """Whether a run has several processes that are TensorFlow's workers."""
    return isinstance(placement.link, WorkersLink) and placement.count > 1


class WorkersLink:
    """How the processes of a run talk to each other, with the strategy's own sums."""

    handles_sigterm = False

    def __init__(self, strategy, rank):
        self.strategy = strategy
        self.rank = rank

    def from_first(self, data):
        """The uint8 array of process 0; the others pass one of the same length."""
        padded = np.pad(data, (0, -len(data) % 4)).view("int32")  # a type that can be summed
        found = self._sum(padded if self.rank == 0 else np.zeros_like(padded))
        return found.view("uint8")[: len(data)]

    def is_lost(self, error):
        """Whether an error comes from the connection to the others."""
        lost = "UnavailableError", "AbortedError", "InternalError", "CancelledError"
        return type(error).__name__ in lost

    def is_any(self, asked, step):
        """Whether any process was asked to stop, at the same step for all."""
        return self._sum(np.array([asked], "int32"))[0] > 0

    def _sum(self, array):
        # One of this process's replicas brings it, the others bring zeros.
        parts = iter([array])
        values = self.strategy.experimental_distribute_values_from_function(
            lambda context: next(parts, np.zeros_like(array))
        )
        return self.strategy.reduce("SUM", values, axis=None).numpy()


def join_workers(patience):
    """Become one of the workers that TF_CONFIG names: rank, count and link.

    Ends the process if the others have not joined after `patience` seconds.

    Raises:
        RunError: there is no TF_CONFIG, or it is unusable.
    """
    import tensorflow as tf

    text = os.environ.get("TF_CONFIG", "")
    try:
        config = json.loads(text)
        workers = [host for kind in ("chief", "worker") for host in config["cluster"].get(kind, [])]
        kind, index = config["task"]["type"], int(config["task"]["index"])
        rank = index + (len(config["cluster"].get("chief", [])) if kind == "worker" else 0)
        if kind not in ("chief", "worker") or not 0 <= rank < len(workers):
            raise ValueError(f"task {kind} {index} of {len(workers)} workers")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            "Many machines on TensorFlow need TF_CONFIG in the environment of each process, such "
            'as {"cluster": {"worker": ["10.0.0.1:1234", "10.0.0.2:1234"]}, "task": {"type": '
            '"worker", "index": 0}}. On JAX (KERAS_BACKEND=jax) the --hosts flags or the launcher '
            f"tell them. Received: TF_CONFIG={text!r} ({error})"
        ) from error
    alone = threading.Timer(patience, _give_up, [patience, text])
    alone.daemon = True
    alone.start()
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except (RuntimeError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0][:200]
        raise RunError(f"The workers of TF_CONFIG cannot be joined: {reason}") from error
    finally:
        alone.cancel()
    return rank, len(workers), WorkersLink(strategy, rank)


def _give_up(patience, config):
    print(
        f"keras-wrn: error: the workers of TF_CONFIG have not all come in {patience} seconds. "
        f"Received: TF_CONFIG={config}",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)  # the other thread would wait for TensorFlow forever


def averaged_steps(model):
    """Make a model's steps return what the strategy can average over its workers."""
    for name in ("train_step", "test_step"):
        step = getattr(model, name)
        setattr(model, name, lambda data, step=step: _vectors(step(data)))


def build_metrics(model, targets, answers):
    """Make the variables of a compiled model's loss and metrics, in its strategy's scope."""
    model.compute_loss(None, targets, answers, None, training=False)
    model.compute_metrics(None, targets, answers)
    model.reset_metrics()


def _vectors(logs):
    return {name: keras.ops.expand_dims(value, 0) for name, value in logs.items()}
