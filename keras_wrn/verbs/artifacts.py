"""`keras-wrn export` and `keras-wrn convert`."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from keras_wrn.anomaly.model import AnomalyModel
from keras_wrn.catalog import building, load_model, weights_info
from keras_wrn.data import DATASETS, Preprocessing, default_preprocessing, load_arrays
from keras_wrn.data.datasets import check_dataset
from keras_wrn.data.folder import read_folder
from keras_wrn.data.photo_sets import own_part, photo_set
from keras_wrn.export import export_serving, export_version
from keras_wrn.export.bundle import SAVED_MODEL, check_writable
from keras_wrn.export.formats import FORMATS, PRECISIONS
from keras_wrn.export.head import CALIBRATION_IMAGES
from keras_wrn.files import written_aside
from keras_wrn.models.retinanet import is_detector
from keras_wrn.runs.card import model_card
from keras_wrn.runs.published import published_error
from keras_wrn.verbs import inspecting
from keras_wrn.verbs.detecting import export_files
from keras_wrn.verbs.flags import refuse
from keras_wrn.verbs.runs import dataset_of, name_of, recipe_of
from keras_wrn.verbs.served import serve
from keras_wrn.weights import save_torch_weights

Format = Literal[(SAVED_MODEL, *FORMATS, "serving")]  # type: ignore[valid-type]
Precision = Literal[PRECISIONS]  # type: ignore[valid-type]


def export(
    model: Annotated[str, tyro.conf.Positional],
    format: tuple[Format, ...] = ("saved_model", "litert"),
    out: Path | None = None,
    *,
    precision: tuple[Precision, ...] = ("float32",),
    integer_io: bool = False,
    data: str | None = None,
    data_dir: Path | None = None,
    top_k: int = 5,
    fold_batch_norm: bool = True,
    max_pixels: int = 2**24,
    name: str | None = None,
    max_batch_size: int | None = None,
):
    """Export a trained network as the next version below a directory.

    Args:
        model: A run directory, a .keras file, or a name with published weights.
        format: The artifacts to write; serving is a directory for TensorFlow Serving.
        out: The directory of the versions, by default saved_models/<recipe>. For serving alone,
            the directory itself, by default serving; with other formats it goes into that of the
            versions.
        precision: The precisions of the LiteRT files, one file each; ONNX and OpenVINO files come
            in float32 and int8.
        integer_io: Whether the LiteRT file in int8 takes and returns integers.
        data: The dataset whose training images calibrate int8, by default the run's own; for a
            PatchCore or PaDiM, a folder of good photos.
        data_dir: Where TFDS keeps its data.
        top_k: How many classes the SavedModel's classify lists.
        fold_batch_norm: Fold batch norms into convolutions in the SavedModel.
        max_pixels: The most pixels of an image that the SavedModel's classify decodes; a batch may
            have sixteen times as many.
        name: The model's name on the server, for serving; by default the recipe's.
        max_batch_size: The most images the server computes at once, for serving; by default what
            suits the model.
    """
    if integer_io and not ("int8" in precision and "litert" in format):
        raise ValueError("--integer-io is for --format litert --precision int8")
    check_writable(format, precision)
    network = load_model(model)
    if is_detector(network):
        given = {"--precision": precision != ("float32",), "--data": data, "--top-k": top_k != 5,
                 "--no-fold-batch-norm": not fold_batch_norm}  # fmt: skip
        refuse(given, "a detector")
        return export_files(network, model, format, out, name, max_pixels, max_batch_size)
    if isinstance(network, AnomalyModel):
        given = {"--top-k": top_k != 5, "--no-fold-batch-norm": not fold_batch_norm,
                 "--integer-io": integer_io}  # fmt: skip
        refuse(given, "one that tells odd photos from good ones")
        return inspecting.export_files(
            network, model, format, out, precision, data, name, max_pixels, max_batch_size
        )
    directory = out or Path("saved_models") / name_of(model)
    versioned = [kind for kind in format if kind != "serving"]
    calibration = None
    if "int8" in precision:
        calibration = _calibration_images(model, data, data_dir, network.preprocessing)
    if versioned:
        card = None
        if (Path(model) / "summary.json").is_file():
            published = published_error(recipe_of(model))
            card = model_card(Path(model), network.preprocessing, published)
        version = export_version(
            network,
            directory,
            versioned,
            precisions=precision,
            calibration=calibration,
            integer_io=integer_io,
            top_k=top_k,
            fold_batch_norm=fold_batch_norm,
            max_pixels=max_pixels,
            card=card,
        )
        files = f" ({', '.join(precision)})" if precision != ("float32",) else ""
        print(f"Exported {', '.join(versioned)}{files} to {version}")
    if "serving" in format:
        serve(
            export_serving, network, model, name, out, directory, versioned, top_k=top_k,
            fold_batch_norm=fold_batch_norm, max_pixels=max_pixels, max_batch_size=max_batch_size,
        )  # fmt: skip


def convert(
    checkpoint: Annotated[str, tyro.conf.Positional],
    *,
    out: Path,
    model: str | None = None,
    layout: str = "auto",
    to: Literal["keras", "torch"] = "keras",
    activation: str | None = None,
    preprocessing: str | None = None,
    weights: str | None = None,
):
    """Convert a PyTorch checkpoint to a Keras file, or back.

    Args:
        checkpoint: A .pth, .pt or .safetensors file; or a .keras file or run directory.
        out: The file to write: .keras, or .safetensors for torch.
        model: The network's name, such as wide_resnet50_2; with a tag of published weights it gets
            their preprocessing. Not needed when converting to torch.
        layout: How the tensors are named. auto detects it from the names; when converting to
            torch, auto is torchvision or, for a CIFAR network, xternalz.
        to: What to convert to.
        activation: The activation, such as silu or leaky_relu:0.1; by default silu for deepmind,
            relu for the others.
        preprocessing: How the images were prepared: the tag of published weights with their model,
            a dataset (cifar10, cifar100, svhn_cropped), or a file such as preprocessing.json.
        weights: The key of the weights to take if the checkpoint has several, such as model; by
            default averaged ones come first.
    """
    if to == "torch":
        network = load_model(checkpoint)
        written = save_torch_weights(network, out, layout)
        print(f"Wrote {network.name} with the names of {written} to {out}")
        return
    if model is None:
        raise ValueError("Give --model, the network's name: keras-wrn list has them")
    if out.suffix != ".keras" or out.exists():
        raise ValueError(f"--out should be a new file that ends in .keras. Received: {out}")
    prepared = _preprocessing_of(preprocessing) if preprocessing else None
    converted = building.convert(checkpoint, model, layout, activation, prepared, weights)
    network = converted.model
    with written_aside(out, overwrite=False, is_ours=Path.is_file, kind="a file") as new:
        network.save(new)
    classes = f", {network.output_shape[-1]} classes" if len(network.output_shape) == 2 else ""
    print(f"Wrote {network.name}{classes}, from {converted.layout} to {out}")
    for line in converted.notes():
        print(line)
    if network.preprocessing is None:
        print(
            "keras-wrn: note: the file says nothing of how images are prepared, which predict and "
            "export need: give --preprocessing, or a tag with --model",
            file=sys.stderr,
        )


def _preprocessing_of(text):
    """The preprocessing from a tag, a dataset or a file."""
    if text in DATASETS:
        return default_preprocessing(DATASETS[text])
    if Path(text).suffix == ".json" or Path(text).exists():
        return Preprocessing.load(text)
    return weights_info(text).preprocessing


def _calibration_images(model, data, data_dir, preprocessing):
    """Training images drawn with a fixed seed, without those that the run held out."""
    import numpy as np

    recipe = recipe_of(model)
    name = data or dataset_of(model)
    own = recipe is not None and name == recipe.data.dataset
    validation = recipe.data.validation if own else 0

    def chosen(count):
        kept = np.random.default_rng(0).choice(count, min(CALIBRATION_IMAGES, count), replace=False)
        return np.sort(kept)

    if check_dataset(name):
        train = (
            own_part(recipe.data, "train", data_dir) if own else photo_set(name, "train", data_dir)
        )
        return read_folder(train.take(chosen(len(train))), preprocessing)[0]
    images, _ = load_arrays(name, "train", data_dir=data_dir, extra=False, validation=validation)
    return images[chosen(len(images))]
