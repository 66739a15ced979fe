"""Many processes that train as one, joined by their backend's own coordination service.

On JAX with `keras.distribution`, on TensorFlow with MultiWorkerMirroredStrategy.
"""

import dataclasses
import os
import re
import sys

import keras
import numpy as np

from keras_wrn.errors import RunError
from keras_wrn.training.workers import join_workers

# A peer that is not heard from for so long is lost, and every process ends.
HEARTBEAT_SECONDS = 30
JOIN_SECONDS = 300
LEAVE_SECONDS = 30  # how long JAX waits for the others when this process ends
# The exit status of a process whose peer was lost: the same command may do better.
LOST = 75  # EX_TEMPFAIL
STATUS = re.compile("(ABORTED|CANCELLED|DEADLINE_EXCEEDED|INTERNAL|UNAVAILABLE|UNKNOWN): ")
# What launchers set (Kubeflow Trainer's jax runtime); JAX detects Slurm, Open MPI and Cloud TPU.
ENVIRONMENT = {
    "coordinator": "JAX_COORDINATOR_ADDRESS",
    "processes": "JAX_NUM_PROCESSES",
    "process_id": "JAX_PROCESS_ID",
}


joined: list[str] = []  # the backend on which this process is one of several


@dataclasses.dataclass(frozen=True)
class Hosts:
    """Where a process finds its peers. What is None is read from the environment."""

    coordinator: str | None = None
    """Address and port of process 0, such as 10.0.0.1:1234."""
    processes: int | None = None
    """How many processes there are."""
    process_id: int | None = None
    """Which of them this one is, from 0."""


class JaxLink:
    """How the processes of a run talk to each other on JAX."""

    handles_sigterm = True  # JAX does, and tells all processes

    def is_lost(self, error):
        """Whether an error comes from the connection to the others; some are ValueErrors."""
        if type(error).__name__ in ("JaxRuntimeError", "XlaRuntimeError"):
            return True
        return isinstance(error, ValueError) and bool(STATUS.match(str(error)))

    def from_first(self, data):
        """The uint8 array of process 0; the others pass one of the same length."""
        from jax.experimental import multihost_utils

        return np.asarray(multihost_utils.broadcast_one_to_all(data))

    def is_any(self, asked, step):
        """Whether any process was sent SIGTERM, at the same step for all."""
        from jax.experimental import multihost_utils

        return multihost_utils.reached_preemption_sync_point(step)


def join(strategy, hosts: Hosts = Hosts()):
    """Become one of a run's processes; the only one, unless the strategy is "multi-host".

    Returns:
        Which of the processes this one is; how many there are; their link, or None.

    Raises:
        RunError: this backend has no such strategy, or the peers do not answer.
        ValueError: the numbers of processes do not fit.
    """
    given = [name for name, value in dataclasses.asdict(hosts).items() if value is not None]
    if strategy != "multi-host":
        if given:
            raise ValueError(f"{', '.join(given)}: these are for `strategy` 'multi-host'")
        return 0, 1, None
    backend = keras.backend.backend()
    if backend == "tensorflow":
        if given:
            raise ValueError(
                f"{', '.join(given)}: on TensorFlow the processes are told by TF_CONFIG; start "
                "them with KERAS_BACKEND=jax, or leave these out"
            )
        workers = join_workers(JOIN_SECONDS)
        joined.append("tensorflow")
        return workers
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
    return jax.process_index(), jax.process_count(), JaxLink()


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


def end_process(code):
    """Exit with a status; one of several processes exits at once, as the backends would wait."""
    if joined:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
