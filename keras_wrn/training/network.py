"""The network of a recipe: built, started from trained weights, and made ready for use."""

import dataclasses

import keras

from keras_wrn.catalog.names import build, split_tag
from keras_wrn.catalog.opening import load_model
from keras_wrn.catalog.transfer import reset_classifier
from keras_wrn.models.normalization import LAYER
from keras_wrn.models.stages import copied, copy_trunk, freeze_stages
from keras_wrn.models.whitening import WhitenedConv2D, whiten_stem
from keras_wrn.models.wide_resnet import wide_resnet
from keras_wrn.recipe import DistillConfig, ModelConfig, Recipe

NOT_BUILDING = "name", "weights", "frozen_stages", "whitened_stem", "stochastic_depth"


def build_model(
    recipe: Recipe, *, classes: int, size: int | None = 32, classifier_activation="softmax"
):
    """Build the network of a recipe, untrained; `size` is None for images of any size."""
    settings = {
        "classes": classes,
        "input_shape": (size, size, 3),
        "classifier_activation": classifier_activation,
    }
    if recipe.model.name:
        if recipe.model.stochastic_depth:
            settings["stochastic_depth"] = recipe.model.stochastic_depth
        return build(recipe.model.network, **settings)
    fields = dataclasses.asdict(recipe.model)
    for field in NOT_BUILDING:
        fields.pop(field)
    return wide_resnet(**fields, **settings)


def start_model(config: ModelConfig):
    """The trained model that a recipe starts from, or None.

    Raises:
        ValueError: there is no such model.
    """
    source = config.name if split_tag(config.name)[1] else config.weights
    return load_model(source) if source else None


def training_model(recipe, start, data):
    """The network to train on `Inputs`: it ends in logits, with the trunk of `start` if any.

    Raises:
        ValueError: the network cannot be built, or `start` is another one.
    """
    several = recipe.data.small_size or recipe.data.train_size  # sizes of images
    size = None if several else data.preprocessing.size
    model = build_model(recipe, classes=data.classes, size=size, classifier_activation=None)
    if recipe.model.whitened_stem:
        model = whiten_stem(model, data.preprocessing, data.train[0])
    if start is not None:
        copy_trunk(start, model)
    if recipe.model.frozen_stages:
        freeze_stages(model, recipe.model.frozen_stages)
    return model


def load_teacher(config: DistillConfig, preprocessing, classes):
    """The teacher of a recipe, which ends in logits, or None.

    Raises:
        ValueError: there is no such model, or it is for other images or classes.
    """
    if not config.teacher:
        return None
    try:
        model = load_model(config.teacher)
    except ValueError as error:
        raise ValueError(
            f"The teacher cannot be opened: {error} Train it first, or name another with "
            "--distill.teacher"
        ) from error
    own = getattr(model, "preprocessing", None)
    for field in ("size", "mean", "std", "zca", "class_names"):
        theirs, ours = getattr(own, field, None), getattr(preprocessing, field)
        if field == "zca":
            theirs, ours = (getattr(zca, "digest", None) for zca in (theirs, ours))
        if theirs != ours:
            raise ValueError(
                f"The teacher {config.teacher!r} should take the student's images and classes. "
                f"Expected preprocessing with {field}={ours!r}. Received: {field}={theirs!r}"
            )
    if getattr(own, "in_model", False):
        # The student's images are normalised: the teacher's own normalisation is left out.
        model = copied(keras.Model(model.get_layer(LAYER).output, model.output, name=model.name))
    name = f"{model.name}_teacher"
    teacher = reset_classifier(
        model, classes, classifier_activation=None, name=name, share_layers=True
    )
    teacher.layers[-1].set_weights(model.layers[-1].get_weights())
    return teacher


def final_model(recipe, model, preprocessing):
    """The trained network as users get it: float32, softmax, on one device."""
    size = preprocessing.size
    final = build_model(recipe, classes=model.output_shape[-1], size=size)
    copy_weights(model, final)
    final.preprocessing = preprocessing
    return final


def copy_weights(model, other):
    """Copy all weights of a network into an equal one, whatever is frozen in either."""
    for variable, trained in zip(_weights(other), _weights(model), strict=True):
        variable.assign(keras.ops.convert_to_numpy(trained))


def _weights(model):
    """The weights in layer order, which freezing does not change."""
    return [weight for layer in model.layers for weight in _plain(layer)]


def _plain(layer):
    return [layer.kernel] if isinstance(layer, WhitenedConv2D) else layer.variables
