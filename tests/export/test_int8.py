"""ONNX and OpenVINO files in int8."""

import gc
import json
import logging
import os
import tempfile

import keras
import numpy as np
import pytest
from formats import Onnx, OpenVino
from tiny import calibration

import keras_wrn
from benchmarks import runtimes
from keras_wrn.errors import ExportError
from keras_wrn.export import export_version
from keras_wrn.export.head import require_extra

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="artifacts are written on TensorFlow"
)


@pytest.fixture(scope="module")
def path(runtime, trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / runtime.files[-1]
    runtime.export(trained, path, precision="int8", calibration=calibration())
    return path


def agrees(logits, model, images):
    expected = model.predict(model.preprocessing.normalize(images), verbose=0)
    assert (logits.argmax(-1) == expected.argmax(-1)).mean() > 0.97
    assert np.sqrt(np.mean((logits - expected) ** 2) / np.mean(expected**2)) < 0.1


def test_it_is_smaller_and_agrees(runtime, trained, path, tmp_path):
    runtime.export(trained, tmp_path / runtime.files[-1])
    whole = (tmp_path / runtime.weights).stat().st_size
    assert path.with_name(runtime.weights).stat().st_size < 0.4 * whole
    images = keras_wrn.data.load_arrays("digits", "test")[0][:200]
    agrees(runtime.run(path, images)["logits"], trained, images)
    for count in (1, 0):
        assert runtime.run(path, images[:count])["probabilities"].shape == (count, 10)


@pytest.mark.extra(*Onnx.packages, "openvino")
def test_openvino_runs_the_onnx_file_too(trained, tmp_path):
    require_extra("openvino")
    import openvino

    path = tmp_path / "m.onnx"
    Onnx.export(trained, path, precision="int8", calibration=calibration())
    images = keras_wrn.data.load_arrays("digits", "test")[0][:200]
    compiled = openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    agrees(compiled(images.astype("float32"))["logits"], trained, images)


def test_convolutions_have_seven_bits_and_the_metadata_says_int8(runtime, path):
    assert json.loads(runtime.metadata(path))["precision"] == "int8"
    for file in path.parent.iterdir():
        assert tempfile.gettempdir().encode() not in file.read_bytes()
    kernels = list(runtime.kernels(path))
    assert len(kernels) == 9
    for integers, scales in kernels:
        assert scales == len(integers)  # one for each channel
        assert integers.dtype.name == "int8"
        # 64 steps to one side: in 8 bits there were 127.
        assert 62 <= abs(integers.astype(int)).max() <= 64
    (classifier,) = runtime.matrices(path)
    assert classifier.dtype.name == "float32"


@pytest.mark.extra("tf2onnx", "onnxruntime")
def test_all_images_are_calibrated_with_in_onnx(trained, tmp_path, monkeypatch, caplog):
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
    Onnx.export(trained, tmp_path / "m.onnx", precision="int8", calibration=calibration(520))
    np.testing.assert_array_equal(seen[0], calibration(500))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@OpenVino.needed
def test_all_images_are_calibrated_with_in_openvino(trained, tmp_path, monkeypatch):
    require_extra("openvino", "nncf")
    import nncf
    import rich

    seen, right = [], nncf.quantize

    def spy(model, dataset, **settings):
        assert rich.get_console().quiet  # where progress goes
        assert logging.getLogger("nncf").getEffectiveLevel() == logging.WARNING
        seen.append(np.concatenate(list(dataset.get_inference_data())))
        assert settings["subset_size"] == len(seen[0])
        return right(model, dataset, **settings)

    monkeypatch.setattr(nncf, "quantize", spy)
    level = logging.getLogger("nncf").level
    OpenVino.export(trained, tmp_path / "m.xml", precision="int8", calibration=calibration(520))
    np.testing.assert_array_equal(seen[0], calibration(500))
    assert not rich.get_console().quiet
    assert logging.getLogger("nncf").level == level


def test_whitening_is_not_rounded(runtime, build, zca, tmp_path):
    whitening, images = zca
    model = build(input_shape=(8, 8, 3))
    model.preprocessing = keras_wrn.Preprocessing(size=8, zca=whitening)
    path = tmp_path / runtime.files[-1]
    runtime.export(model, path, precision="int8", calibration=images)
    matrix, _ = sorted(runtime.matrices(path), key=np.size, reverse=True)
    assert matrix.shape == (192, 192) and matrix.dtype.name == "float32"
    if runtime is OpenVino:  # nothing is rounded before what the first convolution reads
        operations = runtime.operations(path)
        assert operations[: operations.index("Convolution")].count("FakeQuantize") == 1


@OpenVino.needed
def test_without_convolutions_there_is_nothing_to_make_int8(tmp_path):
    image = keras.Input((8, 8, 3))
    hidden = keras.layers.Dense(4, "relu")(keras.layers.Flatten()(image))
    model = keras.Model(image, keras.layers.Dense(3, "softmax")(hidden))
    settings = {
        "preprocessing": keras_wrn.Preprocessing(size=8),
        "precision": "int8",
        "calibration": np.zeros((2, 8, 8, 3), "uint8"),
    }
    with pytest.raises(ValueError, match="models with convolutions"):
        OpenVino.export(model, tmp_path / "m.xml", **settings)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": "float16"}, r"one of \('float32', 'int8'\)"),
        ({"precision": "int8"}, "needs `calibration`"),
        ({"calibration": calibration(2)}, "is for precision='int8'"),
        ({"precision": "int8", "calibration": calibration(2)[:, :16]}, r"shape \(32, 32, 3\)"),
    ],
)
def test_wrong_settings_are_said_before_anything_is_written(
    runtime, network, tmp_path, arguments, message
):
    with pytest.raises(ValueError, match=message):
        runtime.export(network, tmp_path / runtime.files[-1], **arguments)
    assert os.listdir(tmp_path) == []


def test_a_file_that_differs_is_not_left_behind(runtime, trained, network, tmp_path, monkeypatch):
    right = getattr(runtime.module, runtime.converter)
    monkeypatch.setattr(
        runtime.module, runtime.converter, lambda model, *args: right(network, *args)
    )
    settings = {"precision": "int8", "calibration": calibration()}
    with pytest.raises(ExportError, match=r"logits should differ by 0\.25 of their size at most"):
        runtime.export(trained, tmp_path / runtime.files[-1], **settings)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("precisions", [("float32", "int8"), ("int8",)])
def test_a_version_has_a_file_of_each_precision(runtime, trained, tmp_path, precisions):
    version = export_version(
        trained, tmp_path, [runtime.form], precisions=precisions, calibration=calibration()
    )
    stems = ["model" if precision == "float32" else "model_int8" for precision in precisions]
    files = [file.replace("m.", f"{stem}.") for stem in stems for file in runtime.files]
    assert sorted(os.listdir(version)) == sorted(["model.keras", *files])
    for stem, precision in zip(stems, precisions, strict=True):
        path = version / runtime.files[-1].replace("m.", f"{stem}.")
        assert json.loads(runtime.metadata(path))["precision"] == precision


def test_a_version_in_float16_has_the_other_files_in_float32(runtime, trained, tmp_path):
    version = export_version(trained, tmp_path, ["litert", runtime.form], precisions=["float16"])
    files = [file.replace("m.", "model.") for file in runtime.files]
    litert = ["model_float16.json", "model_float16.tflite"]
    assert sorted(os.listdir(version)) == sorted(["model.keras", *files, *litert])


@pytest.mark.parametrize(
    ("formats", "precision", "message"),
    [
        (["onnx"], "float16", "float16 should be of the format litert. Received: the formats onnx"),
        (["saved_model"], "int8", "int8 should be of the format litert or onnx or openvino"),
        (["onnx"], "int4", "`precisions` should be some of"),
    ],
)
def test_a_precision_that_no_format_has_is_said(network, tmp_path, formats, precision, message):
    with pytest.raises(ValueError, match=message):
        export_version(network, tmp_path / "m", formats, precisions=[precision])
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("kind", "precision"),
    [
        pytest.param("onnx", "float32", marks=Onnx.needed),
        pytest.param("onnx int8", "int8", marks=Onnx.needed),
        pytest.param("openvino", "float32", marks=OpenVino.needed),
        pytest.param("openvino bfloat16", "float32", marks=OpenVino.needed),
        pytest.param("openvino int8", "int8", marks=OpenVino.needed),
        pytest.param("litert int8", "int8", marks=pytest.mark.extra("ai_edge_litert")),
    ],
)
def test_the_benchmark_opens_what_it_writes(trained, tmp_path, kind, precision):
    form = {"onnx": Onnx, "openvino": OpenVino}.get(kind.split()[0])
    images = np.random.default_rng(0).random((2, 32, 32, 3), "float32")
    runtimes.write(kind, trained, images, tmp_path)
    file = tmp_path / runtimes.FILES[kind.split()[0]]
    metadata = form.metadata(file) if form else file.with_suffix(".json").read_text()
    assert json.loads(metadata)["precision"] == precision
    logits = runtimes.opened(kind, tmp_path, 1)(images)
    assert logits.shape == (2, 10)
