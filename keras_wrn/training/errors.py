"""How a run can end early."""

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
