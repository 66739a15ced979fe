"""A finished model in OpenVINO's format, for Intel and other x86 CPUs."""

import os
import tempfile
from pathlib import Path

from keras_wrn.export.head import (
    Verification,
    exportable,
    full_float32,
    in_float32,
    metadata_json,
    require_extra,
    write_plain_saved_model,
)
from keras_wrn.files import written_aside


def export_openvino(model, path, *, preprocessing=None, class_names=None, overwrite=False):
    """Write a model as the pair of files (.xml, .bin) that OpenVINO reads. Needs the extra
    `openvino`.

    The model takes `image`, float32 (batch, height, width, channels) of 0..255, and returns
    `probabilities` and `logits`, float32 (batch, classes), for a batch of any size. The weights
    are float32; on a CPU that has bfloat16 OpenVINO computes in it unless told otherwise
    (`{"INFERENCE_PRECISION_HINT": "f32"}`). Its precision, what preprocessing is inside, and
    the names of the classes, are JSON in its runtime information, under `keras_wrn`. In int8
    OpenVINO runs what `export_onnx` writes.

    The files are written aside, run by OpenVINO in float32, compared with the model, and only then
    renamed.

    Args:
        model: a functional `keras.Model` that ends in a `Dense` layer with softmax or without
            activation, such as `keras_wrn.WideResNet(16, 2)`.
        path: the file to make; it ends in `.xml`. The weights lie beside it, in a file of the same
            name that ends in `.bin`.
        preprocessing: `keras_wrn.Preprocessing`, None for the model's own.
        class_names: list of str in the order of the outputs, None for those of `preprocessing`.
        overwrite: bool, whether files at both paths may be replaced.

    Raises:
        ValueError: the path ends otherwise, the model is no classifier, has no preprocessing or
            another number of classes.
        FileExistsError: there is something at either path, and not both a file and `overwrite`.
        ExportError: Keras is not on TensorFlow, the extra is not installed, or the files do not
            compute what the model does.

    Source: https://docs.openvino.ai.

    Example:

    ```python
    import openvino

    model = keras_wrn.WideResNet(16, 2)
    model.preprocessing = keras_wrn.Preprocessing(size=32, mean=(0.5,) * 3, std=(0.25,) * 3)
    keras_wrn.export.export_openvino(model, "wrn_16_2.xml")
    compiled = openvino.compile_model("wrn_16_2.xml", "CPU")
    compiled(np.zeros((1, 32, 32, 3), "float32"))["probabilities"]   # (1, 10)
    ```
    """
    if not str(path).endswith(".xml"):
        raise ValueError(f"`path` should end in '.xml'. Received: path={str(path)!r}")
    preprocessing = exportable(model, preprocessing, class_names)
    require_extra("openvino")
    import openvino

    settings = {"overwrite": overwrite, "is_ours": Path.is_file, "kind": "a file"}
    with (
        written_aside(path, **settings) as new,
        written_aside(Path(path).with_suffix(".bin"), **settings) as new_weights,
    ):
        plain = in_float32(model)
        with tempfile.TemporaryDirectory() as directory:
            write_plain_saved_model(plain, preprocessing, directory)
            # Not convert_model, which reports each conversion to its makers.
            converted = openvino.Core().read_model(directory)
        metadata = metadata_json(plain, preprocessing, precision="float32")
        converted.set_rt_info(metadata, ["keras_wrn"])
        openvino.save_model(converted, new, compress_to_fp16=False)
        with full_float32():
            verification = Verification(plain, preprocessing)
        verification.check(run_openvino(new, verification.images), "The OpenVINO model")
        os.replace(new.with_suffix(".bin"), new_weights)
        # From here to the end there is no model to load, rather than one with others' weights.
        Path(path).unlink(missing_ok=True)


def run_openvino(path, images):
    """The outputs of an OpenVINO model by name, computed in float32 on the CPU."""
    import openvino

    compiled = openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    answer = compiled(images.astype("float32"))
    return {output.any_name: value for output, value in answer.items()}
