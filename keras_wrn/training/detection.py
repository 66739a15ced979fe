"""What is a detector's own in its training; see `keras_wrn.training.tasks.Task`."""

import math

import keras
import numpy as np

from keras_wrn.catalog.names import build
from keras_wrn.detection.batches import BoxBatches, held_out_batches
from keras_wrn.detection.detector import open_detector
from keras_wrn.detection.evaluation import evaluate_detector, require_pycocotools
from keras_wrn.detection.export import export_detector
from keras_wrn.detection.inputs import check_boxes, load_boxes
from keras_wrn.detection.losses import BoxLoss, ClassLoss
from keras_wrn.errors import RunError
from keras_wrn.models.retinanet import Anchors, is_detector, retinanet, trunk_of
from keras_wrn.models.stages import copy_trunk, freeze_stages
from keras_wrn.optim.adam import Adam
from keras_wrn.runs import report
from keras_wrn.training.network import copy_weights
from keras_wrn.training.outcome import common_summary, training_flops

__all__ = [
    "check", "eval_batches", "example", "export", "final", "load_boxes", "network", "objective",
    "optimizer", "phases", "result", "summarize",
]  # fmt: skip


def check(recipe, data_dir=None, made_up=False):
    """Check that the photos and boxes are there, and what the evaluation needs."""
    if keras.backend.backend() != "tensorflow":
        raise RunError(
            "Detectors are trained on TensorFlow: on another backend keras-cv's layers for boxes "
            f"do not run in tf.data. Received: KERAS_BACKEND={keras.backend.backend()}"
        )
    require_pycocotools()
    if made_up:
        return None
    found = check_boxes(recipe.data.dataset, recipe.data.validation, data_dir)
    if found is not None and recipe.batch_size > len(found[0]):
        raise ValueError(
            f"`batch_size` should be at most the {len(found[0])} photos to train on. Received: "
            f"{recipe.batch_size}"
        )
    return found


def phases(recipe, inputs):
    """One phase: all epochs train on photos of one size."""
    batches = BoxBatches(
        inputs.train, _anchors(recipe, inputs), batch_size=recipe.batch_size,
        preprocessing=inputs.preprocessing, scale=recipe.data.scale,
        flips=recipe.data.horizontal_flip, seed=recipe.seed,
    )  # fmt: skip
    return [(recipe.epochs, batches)]


def network(recipe, start, inputs):
    """The detector to train, with the trunk of `start` if any.

    If `start` is a detector, its pyramid and heads are taken over too; the last layer of the
    classes only if there are as many.

    Raises:
        ValueError: `start` is another network.
    """
    trunk = _trunk(recipe, inputs.preprocessing.size)
    detects = start is not None and is_detector(start)
    if start is not None:
        copy_trunk(trunk_of(start) if detects else start, trunk)
    if recipe.model.frozen_stages:
        freeze_stages(trunk, recipe.model.frozen_stages)
    model = retinanet(trunk, inputs.classes, anchor_size=recipe.detector.anchor_size)
    if detects:
        own = {layer.name for layer in trunk.layers}
        for layer in (x for x in model.layers if x.weights and x.name not in own):
            theirs = start.get_layer(layer.name).get_weights()
            if [x.shape for x in theirs] == [tuple(x.shape) for x in layer.weights]:
                layer.set_weights(theirs)
    return model


def objective(recipe):
    """The losses of the two heads, whose sum is trained."""
    return {"loss": {"box": BoxLoss(), "classification": ClassLoss()}}


def optimizer(recipe, schedule):
    """Adam, with gradients of limited length."""
    # With a name of its own: Keras would number it, and a checkpoint has the names.
    return Adam(schedule, global_clipnorm=recipe.optimizer.clip_norm, name="adam")


def example(network):
    """Targets and answers for one image."""
    shapes = {name: output.shape[1:] for name, output in network.output.items()}
    answers = {name: np.zeros((1, *shape), "float32") for name, shape in shapes.items()}
    count = shapes["box"][0]
    targets = {"box": (1, count, 5), "classification": (1, count, 2)}
    return {name: np.zeros(shape, "float32") for name, shape in targets.items()}, answers


def eval_batches(recipe, inputs, placement):
    """The held-out photos in batches, which a strategy splits over its devices."""
    replicas = placement.replicas
    wanted = min(recipe.batch_size, len(inputs.test))
    size = math.ceil(wanted / replicas) * replicas
    return held_out_batches(
        inputs.test, _anchors(recipe, inputs), inputs.held_out_photos, batch_size=size,
        preprocessing=inputs.preprocessing,
    )  # fmt: skip


def final(recipe, network, preprocessing):
    """The trained detector as users get it: float32, on one device."""
    trunk = _trunk(recipe, preprocessing.size)
    classes = network.output["classification"].shape[-1]
    model = retinanet(trunk, classes, anchor_size=recipe.detector.anchor_size)
    copy_weights(network, model)
    model.preprocessing = preprocessing
    return model


def summarize(trainer, final, renewed):
    """The contents of summary.json. Writes pictures of the first held-out photos."""
    directory = trainer.run_dir / "predictions"
    results = evaluate_detector(open_detector(final), trainer.data.test, directory=directory)
    flops = trainer.recipe.epochs * training_flops(trainer.student, trainer.student)
    summary = common_summary(trainer, final, flops, results["images"])
    report.plot_detector_curves(trainer.run_dir)
    return {**summary, **results}


def result(summary):
    """The result in a few words."""
    figures = (summary[name] for name in ("ap", "ap50"))
    ap, ap50 = ("none" if value is None else f"{value:.1f} %" for value in figures)
    return f"AP {ap}, AP50 {ap50}"


def export(recipe, final, directory):
    """Write what the recipe's `export` asks for into the directory."""
    if recipe.export.saved_model:
        export_detector(final, directory / "saved_model", overwrite=True)
    if recipe.export.litert:
        export_detector(final, directory / "model.tflite", overwrite=True)


def _trunk(recipe, size):
    return build(recipe.model.network, include_top=False, input_shape=(size, size, 3))


def _anchors(recipe, inputs):
    return Anchors(inputs.preprocessing.size, recipe.detector.anchor_size)
