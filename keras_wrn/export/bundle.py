"""Numbered versions of a model's artifacts below one directory, as TF Serving reads them."""

import contextlib
from pathlib import Path

from keras_wrn.export.decode import CLASSIFIED_PIXELS
from keras_wrn.export.formats import FORMATS, PRECISIONS
from keras_wrn.export.head import EXTRAS, require_extra
from keras_wrn.export.saved_model import export_saved_model
from keras_wrn.files import written_aside

SAVED_MODEL = "saved_model"  # the version's directory itself


def export_version(
    model, directory, formats=(SAVED_MODEL, "litert"), *, precisions=("float32",), calibration=None,
    integer_io=False, top_k=5, fold_batch_norm=True, max_pixels=CLASSIFIED_PIXELS, card=None,
):  # fmt: skip
    """Write a model's artifacts into `directory`/N, where N is the next free integer.

    The version appears whole: everything is first written to a hidden sibling, which is then
    renamed.

    Args:
        model: `keras.Model` with a `preprocessing`.
        directory: path of the directory of versions, made when needed.
        formats: some of "saved_model" (the version directory itself is the SavedModel), "litert"
            (one file for each of `precisions`: model.tflite for float32, else
            model_<precision>.tflite), "onnx" and "openvino" (the same, for the precisions they
            have: model.onnx; model.xml with model.bin). The Keras file, model.keras, is always
            written.
        precisions: for LiteRT files, those of `export_litert`; for ONNX and OpenVINO files,
            "float32" and "int8". A format that has none of those given is written in "float32".
        calibration: for "int8"; see `export_litert`.
        integer_io: for the LiteRT file in int8.
        top_k, fold_batch_norm, max_pixels: for the SavedModel; see `export_saved_model`. The other
            formats are folded by their converter or runtime.
        card: str, the contents of the version's README.md, such as `model_card` returns; or None.

    Returns:
        The path of the version.

    Raises:
        ValueError: an unknown format, or none; a precision that none of the formats has; "int8"
            without calibration; a directory that is a SavedModel; a model that cannot be exported.
        ExportError: an extra is missing, or an artifact does not compute what the model does.

    Example:

    ```python
    keras_wrn.export.export_version(model, "saved_models/mine")   # saved_models/mine/1
    ```
    """
    known = SAVED_MODEL, *FORMATS
    if not formats or set(formats) - set(known):
        raise ValueError(f"`formats` should be some of {known}. Received: {tuple(formats)}")
    check_writable(formats, precisions)
    with new_version(directory, card) as (version, new):
        if SAVED_MODEL in formats:
            export_saved_model(
                model, new, top_k=top_k, fold_batch_norm=fold_batch_norm, max_pixels=max_pixels
            )
        new.mkdir(exist_ok=True)
        for row in [row for row in FORMATS.values() if row.name in formats]:
            has = [precision for precision in precisions if precision in row.precisions]
            for precision in has or ["float32"]:
                stem = "model" if precision == "float32" else f"model_{precision}"
                settings = {"calibration": calibration} if precision == "int8" else {}
                if row.integers:
                    settings["integer_io"] = integer_io and precision == "int8"
                row.write(model, new / f"{stem}{row.ending}", precision=precision, **settings)
        model.save(new / "model.keras")
    return version


@contextlib.contextmanager
def new_version(directory, card=None):
    """The path of the next version below a directory, and where to write it meanwhile.

    Args:
        directory: path of the directory of versions.
        card: str, the contents of the version's README.md, or None.

    Raises:
        ValueError: the directory is a SavedModel.
    """
    if Path(directory, "saved_model.pb").exists():
        raise ValueError(
            "Expected a directory of versions, such as saved_models/mine. Received: "
            f"{directory}, which is a SavedModel itself"
        )
    version = Path(directory) / str(next_version(directory))
    with written_aside(version, overwrite=False, is_ours=Path.is_dir, kind="a version") as new:
        yield version, new
        if card is not None:
            (new / "README.md").write_text(card)


def check_writable(formats, precisions):
    """Check, before anything is loaded, that files of these formats can be written.

    Raises:
        ValueError: a precision is neither float32 nor one that any of the formats has.
        ExportError: an extra is missing.
    """
    for precision in precisions:
        having = [row.name for row in FORMATS.values() if precision in row.precisions]
        if not having:
            raise ValueError(
                f"`precisions` should be some of {PRECISIONS}. Received: {precision!r}"
            )
        if precision != "float32" and not set(having).intersection(formats):
            raise ValueError(
                f"A file in {precision} should be of the format {' or '.join(having)}. Received: "
                f"the formats {', '.join(formats)}"
            )
    for name in formats:
        if name in FORMATS:
            FORMATS[name].require(precisions)
        elif name in EXTRAS:
            require_extra(name)


def versions(directory):
    """The numbers of the versions below a directory, ascending."""
    return sorted(int(path.name) for path in Path(directory).glob("*") if path.name.isdecimal())


def next_version(directory):
    """The number of the next version below a directory, int."""
    return max(versions(directory), default=0) + 1
