"""What `weights` and `include_preprocessing` mean when a network is built."""

from keras_wrn.catalog.announce import announce_random
from keras_wrn.catalog.fetch import load_into
from keras_wrn.catalog.sources import published, tag_of, weights_info
from keras_wrn.weights.keras_files import load_weights, read_model

FILES = (".weights.h5", ".weights.json", ".keras")
# The arguments that published weights need, as far as a family has them.
AS_PUBLISHED = {
    "block": "B33",
    "num_blocks": None,
    "activation": "relu",
    "strided_padding": "torch",
}


def start(family, *, weights=None, include_preprocessing=False, **arguments):
    """Build a network of a family, with weights and preprocessing.

    If it has published weights but starts from random ones, a line on standard error says so.

    Args:
        family: `Family`.
        weights: None for random ones, the tag of published ones, or the path of a file.
        include_preprocessing: bool, whether the network normalises its own inputs: as the weights
            need it, or else as usual in the family.
        **arguments: those of `family.build`.

    Raises:
        ValueError: it cannot be built like that, there are no such weights, or they do not fit.
        OSError: the file cannot be read or downloaded.
    """
    name = family.name_of(arguments)

    def normalization():  # called once the other arguments are known to be right
        return _preprocessing_of(weights, name) or family.preprocessing

    model = family.build(
        **arguments, normalization=normalization if include_preprocessing else None
    )
    if weights is not None:
        _load(model, weights, name)
    elif all(arguments.get(key, value) == value for key, value in AS_PUBLISHED.items()):
        announce_random(name)
    return model


def _preprocessing_of(weights, name):
    """The preprocessing that weights come with; None if it is not known."""
    path = str(weights)
    if path.endswith(".keras"):
        return getattr(read_model(path), "preprocessing", None)
    tag = None if weights is None or path.endswith(FILES) else tag_of(path, name)
    return tag and weights_info(name, tag).preprocessing


def _load(model, weights, name):
    """Load a file or published weights into the model, or say why that is not possible."""
    path = str(weights)
    if path.endswith(FILES):
        return load_weights(model, path)
    tag = tag_of(path, name)
    if tag is None:
        known = ", ".join(published(name)) or "none"
        raise ValueError(
            "`weights` should be None, the path of a `.weights.h5` or `.keras` file (or of a "
            "`.weights.json`), or the tag of published weights. "
            f"Those of {name!r}: {known}. Received: weights={weights!r}"
        )
    load_into(model, name, tag)
