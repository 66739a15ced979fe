"""ONNX files in int8."""

import gc
import json
import logging
import os
import tempfile

import keras
import numpy as np
import pytest
from tiny import calibration

import keras_wrn
from benchmarks import runtimes
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
    for count in (1, 0):
        assert run_onnx(path, images[:count])["probabilities"].shape == (count, 10)


def test_it_agrees_in_openvino(trained, path):
    openvino = pytest.importorskip("openvino")
    images = keras_wrn.data.load_arrays("digits", "test")[0][:200]
    compiled = openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    agrees(compiled(images.astype("float32"))["logits"], trained, images)


def test_convolutions_have_seven_bits_and_the_metadata_says_int8(path):
    graph = onnx.load(path)
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    assert json.loads(metadata["keras_wrn"])["precision"] == "int8"
    assert tempfile.gettempdir().encode() not in path.read_bytes()
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
    (classifier,) = (node for node in graph.graph.node if node.op_type == "Gemm")
    assert values[classifier.input[1]].dtype.name == "float32"
    assert {node.op_type for node in graph.graph.node} >= {"Add", "BatchNormalization"}


def test_all_images_are_calibrated_with_and_nothing_is_said(trained, tmp_path, monkeypatch, caplog):
    import tf2onnx
    from onnxruntime import quantization

    seen, right = [], quantization.quantize_static

    def spy(before, after, reader, **settings):
        assert not [each for each in gc.get_objects() if type(each) is tf2onnx.graph.Graph]
        batches = []
        while (batch := reader.get_next()) is not None:
            batches.append(batch["image"])
        assert max(map(len, batches)) == 5  # a batch of 50 takes ten times the memory
        seen.append(np.concatenate(batches))
        again = iter([{"image": batch} for batch in batches])
        reader.get_next = lambda: next(again, None)
        right(before, after, reader, **settings)

    monkeypatch.setattr(quantization, "quantize_static", spy)
    export_onnx(trained, tmp_path / "m.onnx", precision="int8", calibration=calibration(520))
    np.testing.assert_array_equal(seen[0], calibration(500))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_whitening_is_not_rounded(build, zca, tmp_path):
    whitening, images = zca
    model = build(input_shape=(8, 8, 3))
    model.preprocessing = keras_wrn.Preprocessing(size=8, zca=whitening)
    export_onnx(model, tmp_path / "m.onnx", precision="int8", calibration=images)
    graph = onnx.load(tmp_path / "m.onnx").graph
    values = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    (product,) = (node for node in graph.node if node.op_type == "MatMul")
    matrix = values[product.input[1]]
    assert matrix.shape == (192, 192) and matrix.dtype.name == "float32"


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
        (("int8",), ["model.keras", "model_int8.onnx"]),
    ],
)
def test_a_version_has_a_file_of_each_precision(trained, tmp_path, precisions, files):
    version = export_version(
        trained, tmp_path, ["onnx"], precisions=precisions, calibration=calibration()
    )
    assert sorted(os.listdir(version)) == files
    for name in files[1:]:
        (entry,) = onnx.load(version / name).metadata_props
        precision = "int8" if "int8" in name else "float32"
        assert json.loads(entry.value)["precision"] == precision


def test_a_version_in_float16_has_the_onnx_file_in_float32(trained, tmp_path):
    version = export_version(trained, tmp_path, ["litert", "onnx"], precisions=["float16"])
    names = ["model.keras", "model.onnx", "model_float16.json", "model_float16.tflite"]
    assert sorted(os.listdir(version)) == names


@pytest.mark.parametrize(
    ("formats", "precision", "message"),
    [
        (["onnx"], "float16", "float16 should be of the format litert. Received: the formats onnx"),
        (["saved_model"], "int8", "int8 should be of the format litert or onnx"),
        (["onnx"], "int4", "`precisions` should be some of"),
    ],
)
def test_a_precision_that_no_format_has_is_said(network, tmp_path, formats, precision, message):
    with pytest.raises(ValueError, match=message):
        export_version(network, tmp_path / "m", formats, precisions=[precision])
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", ["onnx int8", "onnx int8 by openvino", "litert int8", "onnx"])
def test_the_benchmark_opens_what_it_writes(trained, tmp_path, kind):
    pytest.importorskip("openvino")
    pytest.importorskip("ai_edge_litert")
    generator = np.random.default_rng(0)
    images = generator.random((2, 32, 32, 3), "float32")
    runtimes.write(kind, trained, images, tmp_path)
    logits = runtimes.opened(kind, tmp_path, 1)(images)
    assert logits.shape == (2, 10)
