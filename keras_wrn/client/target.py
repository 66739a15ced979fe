"""Which model on which server, and the errors for when it does not answer."""

import dataclasses

from keras_wrn.errors import ServingError


@dataclasses.dataclass(frozen=True)
class Target:
    """What every request is about; see `ServingClient`."""

    url: str
    model: str
    version: int | None
    label: str | None
    timeout: float
    retries: int
    backoff: float

    def refused(self, code, message):
        """The error for a server that answers, but not with what was asked for."""
        return ServingError(f"{self.url} answers {code} for the model {self.model!r}: {message}")

    def wrong(self, error):
        """The error for an answer that none of our SavedModels gives."""
        return ServingError(
            f"{self.url} answers for the model {self.model!r} otherwise than a SavedModel of "
            f"keras_wrn: {error}"
        )

    def unreachable(self, error):
        """The error for a server that does not answer."""
        return ServingError(
            f"No answer from {self.url}, where TensorFlow Serving was expected: {error}"
        )
