"""What a finished run leaves: its summary and its artifacts."""

import keras
import numpy as np

from keras_wrn.evaluation import evaluate
from keras_wrn.export import export_litert, export_saved_model
from keras_wrn.models.complexity import count_macs
from keras_wrn.runs.directory import noted_changes
from keras_wrn.runs.files import read_log, read_texts
from keras_wrn.training.inputs import eval_batch, phases
from keras_wrn.training.network import build_model


def size_of(weights):
    """The number of values in the weights."""
    return sum(int(np.prod(weight.shape)) for weight in weights)


def summarize(trainer, final, renewed):
    """The contents of a run's summary.json.

    Args:
        trainer: `Trainer` that has finished training.
        final: the network as users get it.
        renewed: int, how many images were used to renew its batch norm statistics.
    """
    recipe, run_dir, data = trainer.recipe, trainer.run_dir, trainer.data
    lines = read_log(run_dir / "log.jsonl")
    results = evaluate(final, data.test, batch_size=eval_batch(recipe, data))
    several = {}
    if recipe.views > 1:
        several = evaluate(
            final, data.test, batch_size=eval_batch(recipe, data), views=recipe.views
        )
        several = {"views": recipe.views, "views_test_accuracy": several["accuracy"]}
    macs = count_macs(final)
    teaching = 0 if trainer.teacher is None else count_macs(trainer.teacher)
    seen = len(data.train[0]) // recipe.batch_size * recipe.batch_size
    return {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "epochs": recipe.epochs,
        "test_error": results["error"],
        "test_accuracy": results["accuracy"],
        "nll": results["loss"],
        "ece": results["ece"],
        "brier": results["brier"],
        **several,
        "last_epoch": lines[-1],
        **({"changes": changes} if (changes := noted_changes(run_dir)) else {}),
        "params": size_of(final.trainable_weights),
        "trained_params": size_of(trainer.student.trainable_weights),
        "macs": macs,
        "flops": seen
        * sum(
            epochs * (_training_flops(recipe, trainer.student, size) + 2 * teaching)
            for epochs, size in phases(recipe, data.preprocessing.size)
        )
        + 2 * macs * renewed,
        "seconds": round(sum(line["seconds"] for line in lines), 1),
        "precision": trainer.placement.precision,
        "devices": trainer.placement.device_names(),
        "versions": read_texts(run_dir / "versions.json"),
        "data": {
            "dataset": recipe.data.dataset,
            "train_images": len(data.train[0]),
            "test_images": results["images"],
            "split": "validation" if recipe.data.validation else "test",
            **({"pixels": pixels} if (pixels := data.pixels(recipe.data.dataset)) else {}),
        },
    }


def _training_flops(recipe, student, size):
    """For one image: forward, and twice as much backward; frozen layers count forward alone."""
    model = build_model(recipe, classes=student.output_shape[-1], size=size)
    for layer, trained in zip(model.layers, student.layers, strict=False):
        layer.trainable = trained.trainable
    return 2 * count_macs(model) + 4 * count_macs(model, trained_only=True)


def export_artifacts(recipe, final, directory):
    """Write what the recipe's `export` asks for into the directory."""
    if keras.backend.backend() != "tensorflow":
        print(f"No artifacts are exported on the {keras.backend.backend()} backend.")
        return
    directory.mkdir(exist_ok=True)
    if recipe.export.saved_model:
        export_saved_model(final, directory / "saved_model", overwrite=True)
    if recipe.export.litert:
        export_litert(final, directory / "model.tflite", overwrite=True)
