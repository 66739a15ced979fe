"""What `keras-wrn` does besides training: each verb a function of its flags."""

import ast
import fnmatch
import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from keras_wrn.training.recipe import Recipe
from keras_wrn.training.scripts import recipe_paths

Format = Literal["saved_model", "litert", "onnx", "openvino", "serving"]


def evaluate(
    model: Annotated[Path, tyro.conf.Positional],
    dataset: str | None = None,
    split: Literal["test", "train"] = "test",
    data_dir: Path | None = None,
    out: Path | None = None,
):
    """Evaluate a run or a .keras file on a dataset.

    Args:
        model: A run directory or a .keras file.
        dataset: cifar10, cifar100, svhn_cropped or digits; by default the run's own.
        split: The split to evaluate on.
        data_dir: Where TFDS keeps its data.
        out: A directory to write results.json into.
    """
    from keras_wrn import predict as predicting
    from keras_wrn.data import load_arrays

    network = predicting.load_model(model)
    name = dataset or _dataset_of(model)
    _note_other_classes(network, name)
    data = load_arrays(name, split, data_dir=data_dir)
    results = predicting.evaluate(network, data, directory=out)
    print(f"images    {results['images']}\naccuracy  {results['accuracy']:.2f} %")
    print(f"error     {results['error']:.2f} %\nloss      {results['loss']:.4f}")


def predict(
    images: Annotated[tuple[Path, ...], tyro.conf.Positional] = (),
    *,
    model: Path,
    dataset: str | None = None,
    count: int = 16,
    data_dir: Path | None = None,
    top_k: int = 1,
    show_dir: Path | None = None,
):
    """Classify image files, or held-out images of a dataset.

    Args:
        images: Image files.
        model: A run directory or a .keras file.
        dataset: Classify the first test images of this dataset instead of files.
        count: How many of them.
        data_dir: Where TFDS keeps its data.
        top_k: How many classes to print for each image.
        show_dir: A directory to write a picture of the images and their classes into.
    """
    from keras_wrn import predict as predicting
    from keras_wrn.data import dataset_info, load_arrays

    if bool(images) == bool(dataset):
        raise ValueError("Give either image files or --dataset")
    if count < 1:
        raise ValueError(f"--count should be 1 or more. Received: {count}")
    truth = None
    if dataset:
        inputs, labels = load_arrays(dataset, "test", data_dir=data_dir)
        inputs = list(inputs[:count])
        truth = [dataset_info(dataset).class_names[label] for label in labels[:count]]
        names = [f"{dataset} test {i}" for i in range(len(inputs))]
    else:
        inputs, names = list(images), [str(path) for path in images]
    network = predicting.load_model(model)
    if dataset:
        _note_other_classes(network, dataset)
    results = predicting.inference_model(network, inputs, top_k=top_k)
    width = max(map(len, names))
    for i, (name, result) in enumerate(zip(names, results, strict=True)):
        tops = "  ".join(f"{top['class']} {top['score']:.3f}" for top in result["top_k"])
        print(f"{name:{width}}  {tops}" + (f"  (true: {truth[i]})" if truth else ""))
    if show_dir is not None:
        path = Path(show_dir) / "predictions.png"
        predicting.prediction_figure(inputs, results, path, true_labels=truth)
        print(f"Picture: {path}")


def export(
    model: Annotated[Path, tyro.conf.Positional],
    format: tuple[Format, ...] = ("saved_model", "litert"),
    out: Path | None = None,
    *,
    precision: tuple[Literal["float32", "float16", "dynamic_int8", "int8"], ...] = ("float32",),
    integer_io: bool = False,
    dataset: str | None = None,
    data_dir: Path | None = None,
    top_k: int = 5,
    fold_batch_norm: bool = True,
    name: str | None = None,
    max_batch_size: int | None = None,
):
    """Export a run or a .keras file as the next version below a directory.

    Args:
        model: A run directory or a .keras file.
        format: The artifacts to write. Of serving, a directory for TensorFlow Serving.
        out: The directory of the versions, by default saved_models/<recipe>. Of serving alone the
            directory itself, by default serving; beside others it lies in that of the versions.
        precision: The precisions of the LiteRT files, one file each.
        integer_io: Whether the int8 file takes and gives integers.
        dataset: Whose training images calibrate int8; by default the run's own.
        data_dir: Where TFDS keeps its data.
        top_k: How many classes the SavedModel's classify lists.
        fold_batch_norm: Fold batch norms into convolutions in the SavedModel.
        name: The model's name on the server, for serving; by default the recipe's.
        max_batch_size: The most images the server computes at once, for serving; by default what
            suits the model.
    """
    from keras_wrn import predict as predicting
    from keras_wrn.export import export_serving, export_version, model_card

    if integer_io and not ("int8" in precision and "litert" in format):
        raise ValueError("--integer-io is for --format litert --precision int8")
    if precision != ("float32",) and "litert" not in format:
        raise ValueError("--precision is for --format litert")
    directory = out or Path("saved_models") / _name_of(model)
    versioned = [kind for kind in format if kind != "serving"]
    network = predicting.load_model(model)
    calibration = None
    if "int8" in precision and "litert" in format:
        calibration = _calibration_images(model, dataset, data_dir)
    if versioned:
        finished = (model / "summary.json").is_file()
        version = export_version(
            network,
            directory,
            versioned,
            precisions=precision,
            calibration=calibration,
            integer_io=integer_io,
            top_k=top_k,
            fold_batch_norm=fold_batch_norm,
            card=model_card(model, network.preprocessing) if finished else None,
        )
        print(f"Exported {', '.join(versioned)} to {version}")
    if "serving" in format:
        version = export_serving(
            network,
            directory / "serving" if versioned else out or Path("serving"),
            name=name or _name_of(model),
            top_k=top_k,
            fold_batch_norm=fold_batch_norm,
            max_batch_size=max_batch_size,
        )
        print(f"Exported serving to {version}")


def convert(
    checkpoint: Annotated[Path, tyro.conf.Positional],
    *,
    out: Path,
    model: str | None = None,
    layout: str = "auto",
    to: Literal["keras", "torch"] = "keras",
):
    """Convert a PyTorch checkpoint to a Keras file, or back.

    Args:
        checkpoint: A .pth, .pt or .safetensors file; or a .keras file or run directory.
        out: The file to make: .keras, or .safetensors for torch.
        model: The network's name, such as wide_resnet50_2; to torch it is not needed.
        layout: How the tensors are named; auto tells it by the names, and is none to torch.
        to: What to convert to.
    """
    from keras_wrn.predict import load_model
    from keras_wrn.weights import convert as converting

    if to == "torch":
        network = load_model(checkpoint)
        converting.save_torch_weights(network, out, layout)
        print(f"Wrote {network.name} with the names of {layout} to {out}")
        return
    if model is None:
        raise ValueError("Give --model, the network's name: keras-wrn list has them")
    if out.suffix != ".keras" or out.exists():
        raise ValueError(f"--out should be a new file that ends in .keras. Received: {out}")
    network, found = converting.from_checkpoint(checkpoint, model, layout)
    out.parent.mkdir(parents=True, exist_ok=True)
    network.save(out)
    print(f"Wrote {network.name}, {network.output_shape[-1]} classes, from {found} to {out}")


def list_all(pattern: Annotated[str, tyro.conf.Positional] = "*"):
    """List networks and recipes.

    Args:
        pattern: A shell pattern of names, such as "wrn_28_*".
    """
    from keras_wrn.models import list_models, model_info

    recipes = [name for name in recipe_paths() if fnmatch.fnmatch(name, pattern)]
    if not recipes and not list_models(pattern):
        raise ValueError(
            f"Expected a pattern of names, such as 'wrn_28_*'; nothing matches {pattern!r}"
        )
    print(f"{'network':18}{'parameters':>14}  error of the paper (%)")
    for name in list_models(pattern):
        info = model_info(name)
        errors = ", ".join(f"{data} {error:.2f}" for data, error in info.paper_error.items())
        print(f"{name:18}{info.params:14,}  {errors}{f'  ({info.note})' if info.note else ''}")
    print("\nrecipe")
    for name in recipes:
        doc = ast.get_docstring(ast.parse(recipe_paths()[name].read_text())) or ""
        print(f"{name:24}{doc.partition(chr(10))[0]}")


def report(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = (Path("results"),),
    readme: Path | None = None,
):
    """Write the results table from the logs of runs.

    Args:
        runs: Run directories, or folders of them.
        readme: A Markdown file to write the table into, between its results markers; by default
            the table is printed.
    """
    from keras_wrn.training import report as reporting

    table = reporting.results_table(runs, readme.parent if readme else Path())
    if readme is None:
        print(table)
    else:
        reporting.write_between_markers(readme, table)


def _note_other_classes(network, dataset):
    """Say so where a model's classes have other names than a dataset's."""
    from keras_wrn.data import dataset_info

    known = getattr(getattr(network, "preprocessing", None), "class_names", ())
    names = dataset_info(dataset).class_names
    if known and tuple(known) != names:
        print(
            f"keras-wrn: note: the model's classes are {', '.join(known[:3])}, ..., and those of "
            f"{dataset} are {', '.join(names[:3])}, ...",
            file=sys.stderr,
        )


def _calibration_images(model, dataset, data_dir):
    """Training images drawn by a fixed seed, without those that the run held out."""
    import numpy as np

    from keras_wrn.data import load_arrays
    from keras_wrn.export.litert import CALIBRATION_IMAGES

    recipe = _recipe_of(model)
    name = dataset or _dataset_of(model)
    own = recipe is not None and name == recipe.data.dataset
    images, _ = load_arrays(
        name,
        "train",
        data_dir=data_dir,
        extra=False,
        validation=recipe.data.validation if own else 0,
    )
    count = min(CALIBRATION_IMAGES, len(images))
    return images[np.sort(np.random.default_rng(0).choice(len(images), count, replace=False))]


def _recipe_of(model):
    """The recipe of a run directory or of the model file in one, None elsewhere."""
    path = Path(model)
    path = (path if path.is_dir() else path.parent) / "recipe.json"
    return Recipe.from_json(path.read_text()) if path.is_file() else None


def _dataset_of(model):
    recipe = _recipe_of(model)
    if recipe is None:
        raise ValueError(f"{model} is no run directory: give --dataset")
    return recipe.data.dataset


def _name_of(model):
    recipe = _recipe_of(model)
    if recipe is not None:
        return recipe.name
    path = Path(model).resolve()
    path = path.parent if path.name == "model.keras" else path
    return path.parent.name if path.name.isdecimal() else path.stem  # saved_models/NAME/1
