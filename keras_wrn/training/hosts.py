"""Many processes that train as one, joined by their backend's own coordination service.

On JAX by `keras.distribution`, on TensorFlow by MultiWorkerMirroredStrategy.
"""

import contextlib
import dataclasses
import hashlib
import io
import os
import re
import sys
from typing import Any

import keras
import numpy as np

from keras_wrn.errors import RunError

# A peer that is not heard of for so long is lost, and every process ends.
HEARTBEAT_SECONDS = 30
JOIN_SECONDS = 300
LEAVE_SECONDS = 30  # that JAX waits for the others where this process ends
# The exit status of a process whose peer was lost: the same command may do better.
LOST = 75  # EX_TEMPFAIL
STATUS = re.compile("(ABORTED|CANCELLED|DEADLINE_EXCEEDED|INTERNAL|UNAVAILABLE|UNKNOWN): ")
# What launchers set (Kubeflow Trainer's jax runtime); Slurm, Open MPI and Cloud TPU JAX finds out.
ENVIRONMENT = {
    "coordinator": "JAX_COORDINATOR_ADDRESS",
    "processes": "JAX_NUM_PROCESSES",
    "process_id": "JAX_PROCESS_ID",
}


joined: list[str] = []  # what this process is one of several of


@dataclasses.dataclass(frozen=True)
class Hosts:
    """Where a process finds its peers. What is None is taken from the environment."""

    coordinator: str | None = None
    """Address and port of process 0, such as 10.0.0.1:1234."""
    processes: int | None = None
    """How many processes there are."""
    process_id: int | None = None
    """Which of them this one is, from 0."""


@dataclasses.dataclass(frozen=True)
class Share:
    """Which of the processes of a run this one is, and by what it speaks with the others."""

    rank: int = 0
    count: int = 1
    link: Any = None

    @property
    def is_chief(self):
        """Whether this process writes what the run leaves."""
        return self.rank == 0

    def rows(self, batch):
        """This process's rows of a global batch of so many."""
        size = batch // self.count
        return slice(self.rank * size, (self.rank + 1) * size)


class JaxLink:
    """What the processes of a run say to each other on JAX."""

    handles_sigterm = True  # JAX does, and tells all processes

    def is_lost(self, error):
        """Whether an error is of the connection to the others; some come as ValueErrors."""
        if type(error).__name__ in ("JaxRuntimeError", "XlaRuntimeError"):
            return True
        return isinstance(error, ValueError) and bool(STATUS.match(str(error)))

    def from_first(self, data):
        """The uint8 array of process 0; the others give one of the same length."""
        from jax.experimental import multihost_utils

        return np.asarray(multihost_utils.broadcast_one_to_all(data))

    def is_any(self, asked, step):
        """Whether a process was sent SIGTERM, at the same step for all."""
        from jax.experimental import multihost_utils

        return multihost_utils.reached_preemption_sync_point(step)


def join(strategy, hosts: Hosts = Hosts()) -> Share:
    """Become one of the processes of a run; alone, unless the strategy is "multi-host".

    Raises:
        RunError: this backend has no such strategy, or the peers do not answer.
        ValueError: the numbers of processes do not fit.
    """
    given = [name for name, value in dataclasses.asdict(hosts).items() if value is not None]
    if strategy != "multi-host":
        if given:
            raise ValueError(f"{', '.join(given)}: these are for `strategy` 'multi-host'")
        return Share()
    backend = keras.backend.backend()
    if backend == "tensorflow":
        if given:
            raise ValueError(
                f"{', '.join(given)}: on TensorFlow the processes are told by TF_CONFIG; start "
                "them with KERAS_BACKEND=jax, or leave these out"
            )
        from keras_wrn.training.workers import join_workers

        rank, count, link = join_workers(JOIN_SECONDS)
        joined.append("tensorflow")
        return Share(rank, count, link)
    if backend != "jax":
        raise RunError(
            "Many machines need Keras on JAX or TensorFlow: start every process with "
            f"KERAS_BACKEND=jax. Received: KERAS_BACKEND={backend}"
        )
    return _join_jax(_settings(hosts))


def _join_jax(settings):
    import jax

    if settings["processes"] != 1:
        try:
            jax.distributed.initialize(
                settings["coordinator"],
                settings["processes"],
                settings["process_id"],
                heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
                initialization_timeout=JOIN_SECONDS,
                shutdown_timeout_seconds=LEAVE_SECONDS,
            )
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0][:200]
            raise RunError(
                f"The processes cannot be joined: {reason}. Give --hosts.coordinator, "
                "--hosts.processes and --hosts.process-id, or start them under Slurm, Open MPI, "
                "Cloud TPU or Kubeflow Trainer, which tell them"
            ) from error
        joined.append("jax")
    distribution = keras.distribution.DataParallel(
        devices=keras.distribution.list_devices(), auto_shard_dataset=False
    )
    keras.distribution.set_distribution(distribution)
    return Share(jax.process_index(), jax.process_count(), JaxLink())


def _settings(hosts):
    settings = dataclasses.asdict(hosts)
    for name, variable in ENVIRONMENT.items():
        if settings[name] is None and variable in os.environ:
            value = os.environ[variable]
            settings[name] = value if name == "coordinator" else int(value)
    count, number = settings["processes"], settings["process_id"]
    if count is not None and (count < 1 or (number is not None and not 0 <= number < count)):
        raise ValueError(
            "`processes` should be 1 or more, and `process_id` below it. Received: "
            f"processes={count}, process_id={number}"
        )
    return settings


def from_chief(arrays, share: Share):
    """A dict of NumPy arrays that process 0 has, or None, on every process."""
    if share.count == 1:
        return arrays
    file = io.BytesIO()
    if share.is_chief and arrays is not None:
        np.savez(file, **arrays)
    data = np.frombuffer(file.getvalue(), "uint8")
    length = share.link.from_first(np.array([len(data)], "int64").view("uint8"))
    size = int(length.view("int64")[0])
    if not size:
        return None
    data = share.link.from_first(data if share.is_chief else np.zeros(size, "uint8"))
    with np.load(io.BytesIO(data.tobytes())) as archive:
        return dict(archive)


def on_chief(function, share: Share):
    """What a function that process 0 calls returns there, None elsewhere.

    Raises:
        RunError: (on the others) it failed there; the error itself is raised on process 0.
    """
    if share.count == 1:
        return function()
    result = failure = None
    if share.is_chief:
        try:
            result = function()
        except Exception as error:
            failure = error
    failed = from_chief({"failed": np.array(failure is not None)}, share)["failed"]
    if failure is not None:
        raise failure
    if failed:
        raise RunError("Process 0 cannot go on: its message says why.")
    return result


def check_same(what, text, share: Share):
    """Raise a ValueError where this process was given something else than process 0."""
    if share.count == 1:
        return
    digest = np.frombuffer(hashlib.sha256(text.encode()).digest(), "uint8")
    if (share.link.from_first(digest) != digest).any():
        raise ValueError(
            f"All processes should be given the same {what}. Process {share.rank} of "
            f"{share.count} has another one than process 0: {text[:2000]}"
        )


def end_process(code):
    """Leave with an exit status: of several processes at once, as the backends would wait."""
    if joined:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def is_any_asked_to_stop(asked, share: Share, step) -> bool:
    """Whether this process was asked to stop, or another; all hear of it at the same step."""
    return asked if share.count == 1 else bool(share.link.is_any(asked, step))


@contextlib.contextmanager
def peers(share: Share, run_dir):
    """End this process where another of the run was lost, as the backends do less politely."""
    try:
        yield
    except Exception as error:
        if share.count == 1 or not share.link.is_lost(error):
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
        # Not by way of the backend's own shutdown, which waits for the lost one and aborts.
        os._exit(LOST)


def leave():
    """What comes after training is of one process."""
    if keras.distribution.distribution() is not None:
        keras.distribution.set_distribution(None)
