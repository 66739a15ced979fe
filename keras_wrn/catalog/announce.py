"""The line that says that a network with published weights starts without them."""

import sys

from keras_wrn.catalog.sources import DEFAULT_TAGS


def random_line(name: str) -> str:
    """The line for a network of the catalogue, "" for one that has no published weights."""
    tag = DEFAULT_TAGS.get(name)
    if tag is None:
        return ""
    return (
        f"{name} starts with random weights. For published ones, use the name {name}.{tag} or "
        f"weights={tag!r}"
    )


def announce_random(name):
    """Print that line, to standard error."""
    if line := random_line(name):
        print(line, file=sys.stderr)
