"""The line that says that a network with published weights starts without them."""

import contextlib
import contextvars
import sys

_silent = contextvars.ContextVar("silent", default=False)


def random_line(name: str) -> str:
    """The line for a network of the catalogue, "" for one that has no published weights."""
    from keras_wrn.weights.sources import DEFAULT_TAGS

    tag = DEFAULT_TAGS.get(name)
    if tag is None:
        return ""
    return (
        f"{name} starts with random weights. For published ones, use the name {name}.{tag} or "
        f"weights={tag!r}"
    )


def announce_random(name):
    """Print that line, to standard error."""
    line = "" if _silent.get() else random_line(name)
    if line:
        print(line, file=sys.stderr)


@contextlib.contextmanager
def unannounced():
    """Print no such line inside, where weights are loaded afterwards."""
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)
