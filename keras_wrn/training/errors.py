"""How a run can end early."""

import contextlib
import signal


class RunError(Exception):
    """A run that cannot start or go on; the message says why and what to do."""


class Diverged(RunError):
    """The loss is no longer a number."""


class CheckpointError(RunError):
    """A checkpoint that is damaged or belongs to another network."""


class Stopped(Exception):
    """The run was asked to stop by a signal, and has saved its state.

    Args:
        signum: int, the signal.
        path: where the checkpoints are.
    """

    def __init__(self, signum, path):
        super().__init__(
            f"Stopped by {signal.Signals(signum).name}; the state is saved in {path}. Continue "
            "with --resume."
        )
        self.signum = signum


@contextlib.contextmanager
def memory_explained(recipe, run_dir, replicas):
    """Say what to do where the memory does not suffice."""
    try:
        yield
    except Exception as error:
        known = isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"
        if not known and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        if "No space left" in str(error):  # which TensorFlow calls by the same name
            raise RunError(f"The disk of {run_dir} is full: {error}") from error
        batch = recipe.batch_size
        half = batch // 2 // replicas * replicas
        smaller = f"--batch-size {half} --scale-lr with another --run-dir, or " if half else ""
        raise RunError(
            f"Out of memory with a batch of {batch} images. Try {smaller}a smaller network. "
            f"Checkpoints, if any, are in {run_dir / 'checkpoints'}."
        ) from error
