"""From a checkpoint and a network's name to the Keras model, and what was assumed on the way."""

import dataclasses

import keras

from keras_wrn.catalog.names import build, model_info, split_tag
from keras_wrn.catalog.sources import weights_info
from keras_wrn.data.preprocess import Preprocessing
from keras_wrn.weights.convert import assign
from keras_wrn.weights.files import OTHERWISE, among, read_checkpoint
from keras_wrn.weights.naming import find_layout, input_constants
from keras_wrn.weights.reading import reading

SHORTCUTS = {
    "cifar": "shortcuts that read the first batch norm and activation of a block where the number "
    "of channels changes, and the raw sum elsewhere",
    "imagenet": "a batch norm on every shortcut that is a convolution, and the stride in the 3x3",
}


@dataclasses.dataclass(frozen=True)
class Converted:
    """A network that was built from a checkpoint.

    Args:
        model: the network, with its weights and maybe a preprocessing.
        layout: str, how the tensors were named.
        taken, others: the key of the weights that were taken, "" for the whole file; the keys of
            those that were not.
        assumed: str, what the tensors do not say and was assumed.
    """

    model: keras.Model
    layout: str
    taken: str
    others: tuple[str, ...]
    assumed: str

    def notes(self):
        """Yield the lines that the person who converts should read."""
        if self.others:
            others = ", ".join(repr(key) for key in self.others)
            yield f"Took the weights {self.taken!r}; there are also {others} (--weights KEY)"
        yield self.assumed


def from_checkpoint(
    path, name, layout="auto", *, activation=None, preprocessing=None, weights=None
):
    """Build a network by name, with a checkpoint's classes, and load the checkpoint.

    Args:
        path: the checkpoint; see `read_state_dict`.
        name: str, a catalogue name, such as "wide_resnet50_2". With the tag of published weights
            after a dot, or with mmpretrain's name for them, the model gets their preprocessing.
        layout: as for `load_torch_weights`.
        activation: str, the name of the activation, such as "silu" or "leaky_relu:0.1"; None for
            the layout's: "silu" (Swish) for "deepmind", as in its published networks, "relu" for
            the others. The tensors do not say.
        preprocessing: `Preprocessing` that becomes the model's own; None for the tag's. If a
            checkpoint has the mean and standard deviation of its images (buffers called mean and
            std, or mu and sigma), they replace those of the preprocessing; for a network for small
            images they are enough to make one.
        weights: str, the key of the weights to take if there are several; see `read_state_dict`.

    Returns:
        The model, and the name of the layout.

    Raises:
        OSError: no such file, or no permission to read it.
        ValueError: an unknown name, or what `load_torch_weights` raises.

    Example:

    ```python
    model, layout = keras_wrn.catalog.from_checkpoint("wrn_28_10.pt", "wrn_28_10")
    ```
    """
    converted = convert(path, name, layout, activation, preprocessing, weights)
    return converted.model, converted.layout


def convert(path, name, layout="auto", activation=None, preprocessing=None, weights=None):
    """Like `from_checkpoint`, but with what was taken and assumed: a `Converted`."""
    name, tag = split_tag(name)
    model_info(name)
    if tag and preprocessing is None:
        preprocessing = weights_info(name, tag).preprocessing
    state, taken, others = read_checkpoint(path, weights)
    with reading(path, OTHERWISE):
        layout, state = find_layout(state, layout)
        classifier = state.get(layout.tensor("predictions"))
        settings = {"include_top": False} if classifier is None else {"classes": len(classifier)}
    settings["activation"] = activation = activation or layout.activation
    model = build(name, strided_padding=layout.strided_padding, **settings)
    with reading(path, OTHERWISE):
        assign(model, state, layout.name, among(path, taken, others))
        model.preprocessing = _preprocessing(state, layout, model, preprocessing, classifier)
    return Converted(model, layout.name, taken, others, _assumed(model, layout, activation))


def _preprocessing(state, layout, model, given, classifier):
    _, constants = input_constants(state)
    if given is None and constants and layout.family == "cifar":
        given = Preprocessing(size=model.input_shape[1])
    if given is None:
        return None
    if constants and len(constants[0]) == model.input_shape[-1]:
        mean, std = constants
        given = dataclasses.replace(given, mean=mean, std=std)
    if classifier is None or len(given.class_names) != len(classifier):
        given = dataclasses.replace(given, class_names=())
    return given


def _assumed(model, layout, activation):
    norms = (x for x in model.layers if isinstance(x, keras.layers.BatchNormalization))
    epsilons = {layer.epsilon for layer in norms}
    padding = {
        "torch": "even padding before strided convolutions",
        "tf": "TensorFlow's padding (`same`) of strided convolutions",
    }
    return (
        f"Assumed, because the file does not say: the activation {activation} (--activation); "
        f"{SHORTCUTS[layout.family]}; epsilon {', '.join(f'{e:g}' for e in epsilons)} in batch "
        f"norms; {padding[layout.strided_padding]}"
    )
