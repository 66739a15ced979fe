"""ONNX and OpenVINO: the same promises for both, so one test asks both."""

import copy
import json
import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from formats import Onnx, OpenVino
from tiny import calibration

import keras_wrn
from keras_wrn.errors import ExportError
from keras_wrn.export import export_version
from keras_wrn.export.head import require_extra

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="artifacts are written on TensorFlow"
)


def answer(model, images):
    x = model.preprocessing.normalize(images)
    return np.asarray(keras.ops.cast(model(x, training=False), "float32"))


def write(runtime, model, folder, **arguments):
    path = folder / runtime.files[-1]
    runtime.export(model, path, **arguments)
    return path


def test_the_file_answers_as_the_model_on_real_images(runtime, network, images, tmp_path):
    path = write(runtime, network, tmp_path)
    assert sorted(os.listdir(tmp_path)) == runtime.files
    for batch in (images, images[:1], images[:0]):
        outputs = runtime.run(path, batch)
        assert sorted(outputs) == ["logits", "probabilities"]
        assert {value.dtype.name for value in outputs.values()} == {"float32"}
        assert outputs["logits"].shape == (len(batch), 10)
        if len(batch):
            np.testing.assert_allclose(outputs["probabilities"], answer(network, batch), atol=1e-4)


CONVERT = """
import sys

from tiny import calibration

import keras_wrn

model = keras_wrn.WideResNet(10, 1)
model.preprocessing = keras_wrn.Preprocessing(size=32, mean=(0.5,) * 3, std=(0.25,) * 3)
settings = {"precision": "int8", "calibration": calibration(4)}
keras_wrn.export.export_openvino(model, sys.argv[1], **settings)
print("loaded:", *sorted({"nncf", "openvino", "openvino_telemetry"}.intersection(sys.modules)))
"""


@pytest.mark.slow
@OpenVino.needed
def test_a_conversion_is_nobody_s_business(run_python, tmp_path):
    """OpenVINO and NNCF report to their makers, OpenVINO as soon as it is imported."""
    home = tmp_path / "home"
    home.mkdir()
    said = run_python(CONVERT, tmp_path / "m.xml", HOME=str(home))
    assert said == "loaded: nncf openvino\n"  # no progress of theirs either
    assert not (home / "intel").exists()  # where the number lies by which they know a user


def test_metadata_lies_inside(runtime, network, tmp_path):
    metadata = json.loads(runtime.metadata(write(runtime, network, tmp_path)))
    assert metadata["class_names"] == list("abcdefghij")
    preprocessing = keras_wrn.Preprocessing.from_config(metadata["preprocessing"])
    assert preprocessing == network.preprocessing
    renamed = write(runtime, network, tmp_path, class_names=list("ABCDEFGHIJ"), overwrite=True)
    assert json.loads(runtime.metadata(renamed))["class_names"] == list("ABCDEFGHIJ")


def test_no_path_of_this_machine_is_inside(runtime, network, tmp_path):
    path = write(runtime, network, tmp_path)
    for place in (tempfile.gettempdir(), str(Path.cwd())):
        assert all(place.encode() not in p.read_bytes() for p in path.parent.iterdir())


def test_zca_is_inside(runtime, build, zca, tmp_path):
    whitening, images = zca
    model = build(input_shape=(8, 8, 3))
    model.preprocessing = keras_wrn.Preprocessing(size=8, zca=whitening)
    probabilities = runtime.run(write(runtime, model, tmp_path), images)["probabilities"]
    np.testing.assert_allclose(probabilities, answer(model, images), atol=1e-4)


@pytest.mark.extra("tf2onnx", "onnx")
def test_batch_norms_are_folded_by_the_converter(build, tmp_path):
    operations = Onnx.operations(write(Onnx, build(width=2), tmp_path))
    # Of 7, those that do not follow a convolution that nothing else reads.
    assert operations.count("BatchNormalization") == 3


@pytest.mark.extra("tf2onnx", "onnx")
@pytest.mark.parametrize("before", [None, "TRUE"])
def test_tf2onnx_does_not_copy_the_weights_in_each_pass(build, before, monkeypatch, tmp_path):
    from tf2onnx import optimizer

    name, copied = "TF2ONNX_CATCH_ERRORS", []
    monkeypatch.delenv(name, raising=False)
    if before:
        monkeypatch.setenv(name, before)

    def spy(something):
        copied.append(type(something).__name__)
        return copy.deepcopy(something)

    monkeypatch.setattr(optimizer, "copy", SimpleNamespace(deepcopy=spy))
    write(Onnx, build(), tmp_path)
    assert copied and "Graph" not in copied
    assert os.environ.get(name) == before


def test_a_model_in_mixed_precision_becomes_float32(runtime, build, network, tmp_path):
    model = build("mixed_bfloat16")
    for variable, value in zip(model.variables, network.variables, strict=True):
        variable.assign(value)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype="uint8")
    probabilities = runtime.run(write(runtime, model, tmp_path), images)["probabilities"]
    np.testing.assert_allclose(probabilities, answer(network, images), atol=1e-4)


def test_a_model_in_a_model_becomes_float32_too(runtime, build, network, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        trunk = build("mixed_bfloat16", include_top=False, pooling="avg")
        outputs = keras.layers.Dense(10, "softmax", dtype="float32")(trunk.output)
        image = keras.Input((32, 32, 3))
        inner = keras.Model(trunk.input, outputs)
        logits = keras.layers.Dense(5, "softmax", dtype="float32")(inner(image))
        model = keras_wrn.models.ImageModel(image, logits)
    finally:
        keras.config.set_dtype_policy("float32")
    model.preprocessing = keras_wrn.Preprocessing(size=32, mean=(0.5,) * 3, std=(0.2,) * 3)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype="uint8")
    probabilities = runtime.run(write(runtime, model, tmp_path), images)["probabilities"]
    np.testing.assert_allclose(probabilities, answer(model, images), atol=3e-2)


@OpenVino.needed
def test_the_old_model_goes_before_its_weights_do(network, tmp_path, monkeypatch):
    path = write(OpenVino, network, tmp_path)
    seen = []
    right = os.replace

    def replace(old, new):
        if str(new) == str(path.with_suffix(".bin")):
            seen.append(path.exists())
        right(old, new)

    monkeypatch.setattr(os, "replace", replace)
    write(OpenVino, network, tmp_path, overwrite=True)
    assert seen == [False] and path.exists()


def test_what_is_there_is_kept_unless_overwrite(runtime, network, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(runtime.module, runtime.converter, lambda *_: pytest.fail("converted"))
        for name in runtime.files:
            (tmp_path / name).write_text("old")
            with pytest.raises(FileExistsError, match="overwrite=True"):
                write(runtime, network, tmp_path)
            assert (tmp_path / name).read_text() == "old"
            assert os.listdir(tmp_path) == [name]
            (tmp_path / name).unlink()
    for name in runtime.files:
        (tmp_path / name).write_text("old")
    path = write(runtime, network, tmp_path, overwrite=True)
    assert runtime.run(path, np.zeros((1, 32, 32, 3)))["logits"].shape == (1, 10)
    assert sorted(os.listdir(tmp_path)) == runtime.files


def test_a_file_that_differs_is_not_left_behind(runtime, network, build, tmp_path, monkeypatch):
    other = build(dropout=0.1)
    other.layers[-1].kernel.assign(-other.layers[-1].kernel.numpy())
    right = getattr(runtime.module, runtime.converter)
    monkeypatch.setattr(
        runtime.module, runtime.converter, lambda model, *arguments: right(other, *arguments)
    )
    with pytest.raises(ExportError, match="does not compute what the model does"):
        write(runtime, network, tmp_path)
    assert os.listdir(tmp_path) == []


def test_what_cannot_be_exported_is_said(runtime, network, build, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=f"end in '.{runtime.files[-1].split('.')[1]}'.*m.tflite"):
        runtime.export(network, tmp_path / "m.tflite")
    with pytest.raises(ValueError, match=r"10 classes.*3 class names"):
        write(runtime, network, tmp_path, class_names=["a", "b", "c"])
    with pytest.raises(ValueError, match="Expected a classifier"):
        write(runtime, build(include_top=False), tmp_path)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ExportError, match="KERAS_BACKEND=jax"):
        write(runtime, network, tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("runtime", "package"),
    [
        pytest.param(runtime, name, marks=pytest.mark.extra(*runtime.packages[:place]))
        for runtime in (Onnx, OpenVino)
        for place, name in enumerate(runtime.packages)
    ],
)
def test_a_missing_extra_is_said_before_anything_is_written(
    runtime, package, network, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ExportError, match=rf"pip install 'keras-wide-resnet\[{runtime.form}\]'"):
        write(runtime, network, tmp_path, precision="int8", calibration=calibration(2))
    with pytest.raises(ExportError, match=rf"pip install 'keras-wide-resnet\[{runtime.form}\]'"):
        export_version(
            network, tmp_path / "versions", ["saved_model", runtime.form],
            precisions=["int8"], calibration=calibration(2),
        )  # fmt: skip
    assert os.listdir(tmp_path) == []


@pytest.mark.extra("openvino")
def test_in_float32_openvino_needs_no_nncf(network, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    export_version(network, tmp_path / "versions", ["openvino"])


@pytest.mark.extra("openvino")
def test_what_openvino_reports_with_is_there_again(monkeypatch):
    telemetry = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "openvino_telemetry", telemetry)
    require_extra("openvino")
    assert sys.modules["openvino_telemetry"] is telemetry


@pytest.mark.extra(*Onnx.packages, "openvino")
def test_a_version_holds_every_format(network, tmp_path):
    version = export_version(network, tmp_path, ["onnx", "openvino"])
    assert sorted(os.listdir(version)) == ["model.bin", "model.keras", "model.onnx", "model.xml"]
