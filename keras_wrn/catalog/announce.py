"""Notes on the weights of a network: that it starts without them, or with others than suit."""

import sys

from keras_wrn.catalog.names import split_tag
from keras_wrn.catalog.sources import DEFAULT_TAGS, SOURCES

FOR_FEATURES = "tv_in1k"


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


def features_line(name) -> str:
    """The note on features of published weights, by name, or "" if these are the usual ones.

    Detectors of anomalies do worse with torchvision's newer weights: anomalib, the library most
    people use, took them out again.
    """
    model, tag = split_tag(name)
    usual = f"{model}.{FOR_FEATURES}"
    tag = tag or DEFAULT_TAGS.get(model, "")
    if usual not in SOURCES or tag == FOR_FEATURES:
        return ""
    return (
        f"{model}.{tag}: as features, {usual} are better known; torchvision's newer weights, "
        "tv2_in1k, are worse at finding anomalies"
    )


def announce_features(model_or_name):
    """Print that note to standard error, if a model is given by its name in the catalogue."""
    if isinstance(model_or_name, str) and (line := features_line(model_or_name)):
        print(line, file=sys.stderr)
