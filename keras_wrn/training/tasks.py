"""What differs between the training of a classifier and of a detector. All else is `Trainer`'s."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np

from keras_wrn.detection.recipe import DetectionRecipe
from keras_wrn.optim.muon import Muon
from keras_wrn.optim.sgd import SGD
from keras_wrn.training import detection
from keras_wrn.training.averaging import averaging
from keras_wrn.training.inputs import (
    check_inputs,
    eval_batches,
    load_inputs,
    phases,
    recipe_batches,
)
from keras_wrn.training.network import final_model, training_model
from keras_wrn.training.outcome import classifier_result, export_artifacts, summarize


@dataclasses.dataclass(frozen=True)
class Task:
    """What a recipe trains.

    Args:
        check: function of (recipe, data_dir, made_up) that raises what can be known to fail before
            anything is loaded. What it returns goes to `load`.
        load: function of (recipe, start, data_dir, made_up, found) to the inputs, such as `Inputs`.
        phases: function of (recipe, inputs) to a list of (epochs, batches).
        network: function of (recipe, start, inputs) to the network to train.
        objective: function of a recipe to `loss` and `weighted_metrics` for `compile`.
        optimizer: function of (recipe, schedule) to the Keras optimizer.
        example: function of a network to (targets, answers) for one image, of no meaning.
        eval_batches: function of (recipe, inputs, placement) to what `fit` validates on.
        final: function of (recipe, network, preprocessing) to the network as users get it.
        summarize: function of (trainer, final network, images used to renew statistics) to the
            contents of summary.json; it may write pictures into the run directory.
        result: function of a summary to a few words.
        export: function of (recipe, final network, directory) that writes the artifacts.
    """

    check: Callable
    load: Callable
    phases: Callable
    network: Callable
    objective: Callable
    optimizer: Callable
    example: Callable
    eval_batches: Callable
    final: Callable
    summarize: Callable
    result: Callable
    export: Callable


def task_of(recipe) -> Task:
    """What a recipe trains."""
    return DETECTION if isinstance(recipe, DetectionRecipe) else CLASSIFICATION


def _classifier_phases(recipe, inputs):
    return [
        (epochs, recipe_batches(recipe, inputs, size))
        for epochs, size in phases(recipe, inputs.preprocessing.size)
    ]


def _cross_entropy(recipe):
    loss = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=recipe.label_smoothing
    )
    return {
        "loss": loss, "weighted_metrics": [keras.metrics.CategoricalAccuracy(name="accuracy")]
    }  # fmt: skip


def _sgd(recipe, schedule):
    settings = dataclasses.asdict(recipe.optimizer)
    del settings["learning_rate"]
    settings.update(averaging(settings.pop("average")))
    muon = {name: settings.pop(name) for name in ("kernel_rate", "kernel_momentum")}
    return Muon(schedule, **muon, **settings) if muon["kernel_rate"] else SGD(schedule, **settings)


def _scores(network):
    scores = np.ones((1, network.output_shape[-1]), "float32")
    return scores, scores


CLASSIFICATION = Task(
    check=check_inputs,
    load=load_inputs,
    phases=_classifier_phases,
    network=training_model,
    objective=_cross_entropy,
    optimizer=_sgd,
    example=_scores,
    eval_batches=eval_batches,
    final=final_model,
    summarize=summarize,
    result=classifier_result,
    export=export_artifacts,
)
DETECTION = Task(
    check=detection.check,
    load=detection.load_boxes,
    phases=detection.phases,
    network=detection.network,
    objective=detection.objective,
    optimizer=detection.optimizer,
    example=detection.example,
    eval_batches=detection.eval_batches,
    final=detection.final,
    summarize=detection.summarize,
    result=detection.result,
    export=detection.export,
)
