"""This package's own exceptions, and the exit status that each gives a command."""

import signal

WRONG_USE, FAILURE, BUSY = 2, 1, 75  # 75 is EX_TEMPFAIL: try again later


class KerasWrnError(Exception):
    """Base class of the errors below."""

    status = FAILURE


class DataError(KerasWrnError):
    """A dataset that is missing, unreadable or not what was asked for."""

    status = WRONG_USE


class WeightsError(KerasWrnError, ValueError):
    """Weights that cannot be read, or that belong to another network."""

    status = WRONG_USE


class DownloadError(KerasWrnError, OSError):
    """A published file that cannot be fetched, or is not the one that was published."""


class ExportError(KerasWrnError, RuntimeError):
    """An artifact that cannot be written here, or that does not compute what the model does."""


class ServingError(KerasWrnError, RuntimeError):
    """A server that cannot be reached, refuses a request, or sends an unexpected answer."""


class RunError(KerasWrnError):
    """A run that cannot start or continue; the message says why and what to do."""


class Busy(RunError):
    """A run that another process works on."""

    status = BUSY


class Diverged(RunError):
    """The loss is no longer a number."""


class CheckpointError(RunError):
    """A checkpoint that is damaged or belongs to another network."""


class Stopped(KerasWrnError):
    """A signal asked the run to stop, and it has saved its state.

    Args:
        signum: int, the signal.
        path: where the checkpoints are, None if that was said elsewhere.
        way: str, how to go on.
    """

    def __init__(self, signum, path=None, way="Continue with --resume."):
        saved = "" if path is None else f"; the state is saved in {path}"
        super().__init__(f"Stopped by {signal.Signals(signum).name}{saved}. {way}")
        self.path = path
        self.signum = signum
        self.status = 128 + signum
