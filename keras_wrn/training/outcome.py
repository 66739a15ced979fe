"""What a finished run leaves: its summary and its artifacts."""

import json

import keras
import numpy as np

from keras_wrn.models.complexity import count_macs
from keras_wrn.training.callbacks import RunLog
from keras_wrn.training.directory import noted_changes
from keras_wrn.training.inputs import eval_batch


def size_of(weights):
    """How many numbers the weights hold."""
    return sum(int(np.prod(weight.shape)) for weight in weights)


def summarize(recipe, run_dir, final, student, teacher, data, place):
    """The contents of summary.json."""
    from keras_wrn.evaluation import evaluate

    lines = RunLog.read(run_dir / "log.jsonl")
    results = evaluate(final, data.test, batch_size=eval_batch(recipe, data))
    macs = count_macs(final)
    frozen = macs - count_macs(student, trained_only=True)
    teaching = 0 if teacher is None else count_macs(teacher)
    seen = recipe.epochs * (len(data.train[0]) // recipe.batch_size) * recipe.batch_size
    return {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "epochs": recipe.epochs,
        "test_error": results["error"],
        "test_accuracy": results["accuracy"],
        "last_epoch": lines[-1],
        **({"changes": changes} if (changes := noted_changes(run_dir)) else {}),
        "params": size_of(final.trainable_weights),
        "trained_params": size_of(student.trainable_weights),
        "macs": macs,
        # Forward and twice as much backward; of what is frozen, and of the teacher, forward alone.
        "flops": (6 * macs - 4 * frozen + 2 * teaching) * seen,
        "seconds": round(sum(line["seconds"] for line in lines), 1),
        "precision": place.precision,
        "devices": place.device_names(),
        "versions": json.loads((run_dir / "versions.json").read_text()),
        "data": {
            "dataset": recipe.data.dataset,
            "train_images": len(data.train[0]),
            "test_images": results["images"],
            "split": "validation" if recipe.data.validation else "test",
        },
    }


def export_artifacts(recipe, final, directory):
    """Write what the recipe's `export` asks for into the directory."""
    if keras.backend.backend() != "tensorflow":
        print(f"No artifacts are exported on the {keras.backend.backend()} backend.")
        return
    from keras_wrn.export import export_litert, export_saved_model

    directory.mkdir(exist_ok=True)
    if recipe.export.saved_model:
        export_saved_model(final, directory / "saved_model", overwrite=True)
    if recipe.export.litert:
        export_litert(final, directory / "model.tflite", overwrite=True)
