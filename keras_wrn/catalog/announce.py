"""The note that a network starts without the weights that are published for it."""

import sys

from keras_wrn.catalog.sources import DEFAULT_TAGS


def random_line(name: str) -> str:
    """The note for a catalogue network, or "" if it has no published weights."""
    tag = DEFAULT_TAGS.get(name)
    if tag is None:
        return ""
    return (
        f"{name} starts with random weights. For published ones, use the name {name}.{tag} or "
        f"weights={tag!r}"
    )


def announce_random(name):
    """Print that note to standard error."""
    if line := random_line(name):
        print(line, file=sys.stderr)
