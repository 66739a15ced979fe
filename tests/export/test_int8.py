"""ONNX files in int8."""

import json
import logging
import os

import keras
import numpy as np
import pytest
from tiny import calibration

import keras_wrn
from keras_wrn.export import ExportError, export_onnx, export_version
from keras_wrn.export import onnx as onnx_export
from keras_wrn.export.onnx import run_onnx

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("tf2onnx")

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="artifacts are written on TensorFlow"
)


@pytest.fixture(scope="module")
def path(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / "m.onnx"
    export_onnx(trained, path, precision="int8", calibration=calibration())
    return path


def agrees(logits, model, images):
    expected = model.predict(model.preprocessing.normalize(images), verbose=0)
    assert (logits.argmax(-1) == expected.argmax(-1)).mean() > 0.97
    assert np.sqrt(np.mean((logits - expected) ** 2) / np.mean(expected**2)) < 0.1


def test_it_is_smaller_and_agrees_in_onnx_runtime(trained, path, tmp_path):
    export_onnx(trained, tmp_path / "float32.onnx")
    assert path.stat().st_size < 0.4 * (tmp_path / "float32.onnx").stat().st_size
    images = keras_wrn.data.load_arrays("digits", "test")[0][:200]
    agrees(run_onnx(path, images)["logits"], trained, images)
    assert run_onnx(path, images[:1])["probabilities"].shape == (1, 10)


def test_it_agrees_in_openvino(trained, path):
    openvino = pytest.importorskip("openvino")
    images = keras_wrn.data.load_arrays("digits", "test")[0][:200]
    compiled = openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    agrees(compiled(images.astype("float32"))["logits"], trained, images)


def test_convolutions_have_seven_bits_and_the_metadata_says_int8(path):
    graph = onnx.load(path)
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    assert json.loads(metadata["keras_wrn"])["precision"] == "int8"
    values = {each.name: onnx.numpy_helper.to_array(each) for each in graph.graph.initializer}
    made_by = {name: node for node in graph.graph.node for name in node.output}
    kernels = []
    for node in graph.graph.node:
        if node.op_type == "Conv":
            image, kernel = (made_by[name] for name in node.input[:2])
            assert image.op_type == kernel.op_type == "DequantizeLinear"
            values_of, scales = (values[name] for name in kernel.input[:2])
            assert len(scales) == len(values_of)  # one for each channel
            kernels.append(values_of)
    assert len(kernels) == 9
    assert {kernel.dtype.name for kernel in kernels} == {"int8"}
    assert {int(abs(kernel.astype(int)).max()) for kernel in kernels} == {64}
    assert {node.op_type for node in graph.graph.node} >= {"MatMul", "Add", "BatchNormalization"}


def test_all_images_are_calibrated_with_and_nothing_is_said(trained, tmp_path, monkeypatch, capfd):
    from onnxruntime import quantization

    seen, right = [], quantization.quantize_static

    def spy(before, after, reader, **settings):
        batches = []
        while (batch := reader.get_next()) is not None:
            batches.append(batch["image"])
        seen.append(np.concatenate(batches))
        again = iter([{"image": batch} for batch in batches])
        reader.get_next = lambda: next(again, None)
        right(before, after, reader, **settings)

    monkeypatch.setattr(quantization, "quantize_static", spy)
    handlers = [*logging.getLogger().handlers]
    export_onnx(trained, tmp_path / "m.onnx", precision="int8", calibration=calibration(520))
    np.testing.assert_array_equal(seen[0], calibration(500))
    assert logging.getLogger().handlers == handlers
    assert "pre-process" not in capfd.readouterr().err


def test_whitening_is_not_rounded(build, zca, tmp_path):
    whitening, images = zca
    model = build(input_shape=(8, 8, 3))
    model.preprocessing = keras_wrn.Preprocessing(size=8, zca=whitening)
    export_onnx(model, tmp_path / "m.onnx", precision="int8", calibration=images)
    products = [n for n in onnx.load(tmp_path / "m.onnx").graph.node if n.op_type == "MatMul"]
    assert products and not any("Dequantize" in name for n in products for name in n.input)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": "float16"}, r"one of \('float32', 'int8'\)"),
        ({"precision": "int8"}, "needs `calibration`"),
        ({"calibration": calibration(2)}, "is for precision='int8'"),
        ({"precision": "int8", "calibration": calibration(2)[:, :16]}, r"shape \(32, 32, 3\)"),
    ],
)
def test_wrong_settings_are_said_before_anything_is_written(network, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        export_onnx(network, tmp_path / "m.onnx", **arguments)
    assert os.listdir(tmp_path) == []


def test_a_file_that_differs_is_not_left_behind(trained, network, tmp_path, monkeypatch):
    right = onnx_export.pixel_function
    monkeypatch.setattr(onnx_export, "pixel_function", lambda model, *args: right(network, *args))
    with pytest.raises(ExportError, match=r"logits should differ by 0\.25 of their size at most"):
        export_onnx(trained, tmp_path / "m.onnx", precision="int8", calibration=calibration())
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("precisions", "files"),
    [
        (("float32", "int8"), ["model.keras", "model.onnx", "model_int8.onnx"]),
        (("float16",), ["model.keras", "model.onnx"]),
    ],
)
def test_a_version_has_a_file_of_each_precision(trained, tmp_path, precisions, files):
    settings = {"precisions": precisions}
    if "int8" in precisions:
        settings["calibration"] = calibration()
    version = export_version(trained, tmp_path, ["onnx"], **settings)
    assert sorted(os.listdir(version)) == files
