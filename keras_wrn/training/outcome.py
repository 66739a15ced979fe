"""What a finished run leaves: its summary and its artifacts."""

import numpy as np

from keras_wrn.evaluation import evaluate
from keras_wrn.export import export_litert, export_saved_model
from keras_wrn.models.complexity import count_macs
from keras_wrn.runs import report
from keras_wrn.runs.directory import noted_changes
from keras_wrn.runs.files import read_log, read_texts
from keras_wrn.training.inputs import eval_batch, phases
from keras_wrn.training.network import build_model


def size_of(weights):
    """The number of values in the weights."""
    return sum(int(np.prod(weight.shape)) for weight in weights)


def summarize(trainer, final, renewed):
    """The contents of a classifier's summary.json. Plots its curves.

    Args:
        trainer: `Trainer` that has finished training.
        final: the network as users get it.
        renewed: int, how many images were used to renew its batch norm statistics.
    """
    recipe, data = trainer.recipe, trainer.data
    results = evaluate(final, data.test, batch_size=eval_batch(recipe, data))
    several = {}
    if recipe.views > 1:
        several = evaluate(
            final, data.test, batch_size=eval_batch(recipe, data), views=recipe.views
        )
        several = {"views": recipe.views, "views_test_accuracy": several["accuracy"]}
    teaching = 0 if trainer.teacher is None else count_macs(trainer.teacher)
    an_image = 0
    for epochs, size in phases(recipe, data.preprocessing.size):
        model = build_model(recipe, classes=trainer.student.output_shape[-1], size=size)
        an_image += epochs * (training_flops(model, trainer.student) + 2 * teaching)
    summary = common_summary(trainer, final, an_image, results["images"])
    summary["flops"] += 2 * summary["macs"] * renewed
    if pixels := data.pixels(recipe.data.dataset):
        summary["data"]["pixels"] = pixels
    report.plot_curves(trainer.run_dir, results["error"])
    return {
        **summary,
        "test_error": results["error"],
        "test_accuracy": results["accuracy"],
        "nll": results["loss"],
        "ece": results["ece"],
        "brier": results["brier"],
        **several,
    }


def common_summary(trainer, final, flops, evaluated):
    """The part of a summary.json that all runs have.

    Args:
        trainer, final: as for `summarize`.
        flops: int, those of the whole training for one of its images.
        evaluated: int, how many images the network was evaluated on.
    """
    recipe, run_dir = trainer.recipe, trainer.run_dir
    lines = read_log(run_dir / "log.jsonl")
    images, _ = trainer.data.counts
    return {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "epochs": recipe.epochs,
        "last_epoch": lines[-1],
        **({"changes": changes} if (changes := noted_changes(run_dir)) else {}),
        "params": size_of(final.trainable_weights),
        "trained_params": size_of(trainer.student.trainable_weights),
        "macs": count_macs(final),
        "flops": images // recipe.batch_size * recipe.batch_size * flops,
        "seconds": round(sum(line["seconds"] for line in lines), 1),
        "precision": trainer.placement.precision,
        "devices": trainer.placement.device_names(),
        "versions": read_texts(run_dir / "versions.json"),
        "data": {
            "dataset": recipe.data.dataset,
            "train_images": images,
            "test_images": evaluated,
            "split": "validation" if recipe.data.validation else "test",
        },
    }


def classifier_result(summary):
    """The result in a few words."""
    split = summary["data"]["split"]
    return f"{summary['test_error']:.2f} % {split} error"


def training_flops(model, student):
    """For one image: forward, and twice as much backward; frozen layers count forward alone.

    Args:
        model: the network for images of a fixed size. Its layers are frozen as the student's.
        student: the network that was trained.
    """
    for layer, trained in zip(model.layers, student.layers, strict=False):
        layer.trainable = trained.trainable
    return 2 * count_macs(model) + 4 * count_macs(model, trained_only=True)


def export_artifacts(recipe, final, directory):
    """Write what the recipe's `export` asks for into the directory."""
    if recipe.export.saved_model:
        export_saved_model(final, directory / "saved_model", overwrite=True)
    if recipe.export.litert:
        export_litert(final, directory / "model.tflite", overwrite=True)
