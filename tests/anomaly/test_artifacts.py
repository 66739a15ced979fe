"""Artifacts of PatchCore and PaDiM answer as they do: every format; odd images; serving."""

import io
import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from anomaly.small import good, network, photo
from PIL import Image

import keras_wrn
from keras_wrn.anomaly import (
    PaDiM,
    PatchCore,
    export_anomaly,
    export_anomaly_serving,
    export_anomaly_version,
    open_inspector,
)
from keras_wrn.anomaly import export as exporting
from keras_wrn.errors import ExportError

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="artifacts are written on TensorFlow"
)
SIZE = 32
SIZES = (60, 40), (32, 32), (15, 100)
ONNX = pytest.mark.extra("onnx", "onnxruntime", "tf2onnx")
OPENVINO = pytest.mark.extra("openvino", "nncf")


def png(pixels):
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


@pytest.fixture(scope="module")
def models():
    return {
        "patchcore": PatchCore(network(), image_size=SIZE, coreset=0.03).fit(good(6)),
        "weighted": PatchCore(network(), image_size=SIZE, coreset=0.03, top_share=0).fit(good(6)),
        "padim": PaDiM(network(), image_size=SIZE, features=30).fit(good(6)),
    }


@pytest.fixture(scope="module")
def photos():
    random = np.random.default_rng(1)
    return [photo(random, *size, odd=True)[0] for size in SIZES]


@pytest.fixture(scope="module")
def saved(models, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "inspector"
    export_anomaly(models["weighted"], path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["patchcore", "weighted", "padim"])
@pytest.mark.parametrize(("ending", "precision", "share"), [
    ("", "float32", 1e-4), (".tflite", "float32", 1e-4), (".tflite", "float16", 5e-3),
    pytest.param(".onnx", "float32", 1e-4, marks=ONNX),
    pytest.param(".xml", "float32", 1e-4, marks=OPENVINO),
    pytest.param(".xml", "int8", 0.1, marks=OPENVINO),
])  # fmt: skip
def test_every_artifact_says_the_same(models, photos, tmp_path, kind, ending, precision, share):
    model, path = models[kind], tmp_path / f"inspector{ending}"
    calibration = good(6) if precision == "int8" else None
    settings = {"precision": precision, "calibration": calibration}
    if (kind, precision) == ("padim", "int8"):  # its photos hardly differ: 8 bits are too few
        with pytest.raises(ExportError, match=r"its score should differ by 0.1 of its size"):
            export_anomaly(model, path, **settings)
        assert not path.exists()
        return
    export_anomaly(model, path, **settings)
    inspector = open_inspector(path)
    assert inspector.threshold == model.threshold
    for ours, theirs in zip(inspector.score(photos), model.score(photos), strict=True):
        assert ours["score"] == pytest.approx(theirs["score"], rel=share)
        assert np.abs(ours["map"] - theirs["map"]).max() <= share * theirs["map"].max()
        assert ours["is_anomaly"] == theirs["is_anomaly"] and ours["is_anomaly"]
    if (kind, precision) == ("patchcore", "float16"):
        with pytest.raises(FileExistsError):
            export_anomaly(model, path, **settings)
        export_anomaly(model, path, overwrite=True, **settings)


@OPENVINO
def test_int8_is_for_the_trunk_alone(models, tmp_path):
    import openvino

    export_anomaly(models["patchcore"], tmp_path / "m.xml", precision="int8", calibration=good(4))
    graph = openvino.Core().read_model(tmp_path / "m.xml")
    integers = 0
    for op in graph.get_ordered_ops():
        sources = [x.get_source_output().get_node().get_type_name() for x in op.inputs()]
        if op.get_type_name() in ("MatMul", "AvgPool", "ReduceMin", "TopK", "Interpolate"):
            assert "FakeQuantize" not in sources
        if op.get_type_name() == "Convolution":
            blurs = op.input(0).get_partial_shape()[1] == 1
            integers += "FakeQuantize" in sources
            assert not blurs or "FakeQuantize" not in sources
    assert integers >= 6


def test_inspect_says_what_the_library_says(models, saved, photos):
    import tensorflow as tf

    signatures = tf.saved_model.load(str(saved)).signatures
    whole = png(photos[0])
    bad = [b"", b"no image", whole[:100]]
    encoded = [bad[0], *map(png, photos), *bad[1:]]
    found = signatures["inspect"](image_bytes=tf.constant(encoded))
    found = {name: value.numpy() for name, value in found.items()}
    assert found["valid"].tolist() == [False, True, True, True, False, False]
    expected = models["weighted"].inspector()
    squares = np.stack([exporting.read_squares([x], expected.preprocessing)[0] for x in photos])
    answer = expected.answer(squares.astype("float32"))
    np.testing.assert_allclose(found["score"][1:4], answer["score"], rtol=1e-2)
    assert np.abs(found["map"][1:4] - answer["map"]).max() < 0.02 * answer["map"].max()
    assert found["is_anomaly"].tolist() == [False, True, True, True, False, False]
    for row in (0, 4, 5):
        assert not found["score"][row] and not found["map"][row].any()
    bytes_of = signatures["serve_uint8"](image=tf.constant(squares))
    np.testing.assert_allclose(bytes_of["score"], answer["score"], rtol=1e-5)
    empty = signatures["inspect"](image_bytes=tf.constant([], tf.string))
    assert empty["map"].shape == (0, SIZE, SIZE) and empty["valid"].shape == (0,)
    nothing = signatures["serving_default"](image=tf.zeros((0, SIZE, SIZE, 3)))
    assert nothing["score"].shape == (0,)


def test_an_artifact_that_computes_something_else_is_not_written(models, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "fold_batch_norm", lambda trunk: keras.models.clone_model(trunk))
    with pytest.raises(ExportError, match="does not compute what the model does"):
        export_anomaly(models["patchcore"], tmp_path / "inspector")
    assert not (tmp_path / "inspector").exists()


@pytest.mark.parametrize(("path", "settings", "message"), [
    ("m.tflite", {"precision": "int8"}, "`precision` of .*should be one of"),
    ("m.keras", {}, "`path` should be a directory, or end in"),
    ("m", {"precision": "float16"}, "`precision` of"),
    ("m", {"calibration": [1]}, "`calibration`, good photos, is for precision='int8'"),
    ("m", {"max_pixels": 3}, "`max_pixels`"),
])  # fmt: skip
def test_what_cannot_be_written_is_refused(models, tmp_path, path, settings, message):
    with pytest.raises(ValueError, match=message):
        export_anomaly(models["padim"], tmp_path / path, **settings)
    assert not any(tmp_path.iterdir())


def test_a_file_that_cannot_hold_the_weights_is_refused(models, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "LARGEST_FILE", 1000)
    with pytest.raises(ExportError, match=r"A .tflite file holds at most 2 GB"):
        export_anomaly(models["padim"], tmp_path / "m.tflite")


def test_what_was_not_fitted_is_refused(tmp_path, saved):
    for given in (PaDiM(network()), keras_wrn.WideResNet(10, 1)):
        with pytest.raises(ValueError, match="Expected a fitted PatchCore or PaDiM"):
            export_anomaly(given, tmp_path / "inspector")
    with pytest.raises(ValueError, match=r"Expected a fitted `keras_wrn.anomaly.PatchCore`"):
        open_inspector(network())
    assert open_inspector(open_inspector(saved)).threshold
    with pytest.raises(ValueError, match="Expected a detector"):
        keras_wrn.detection.open_detector(saved)
    with pytest.raises(FileNotFoundError):
        open_inspector(tmp_path / "absent.tflite")


def test_a_version_holds_what_was_asked_for(models, tmp_path):
    version = export_anomaly_version(
        models["padim"], tmp_path / "v", ("saved_model", "litert"),
        precisions=("float32", "float16"), card="# Card\n",
    )  # fmt: skip
    names = {path.name for path in version.iterdir()}
    assert {"saved_model.pb", "model.tflite", "model_float16.tflite", "model.keras",
            "README.md"} <= names  # fmt: skip
    sizes = [(version / name).stat().st_size for name in ("model_float16.tflite", "model.tflite")]
    assert sizes[0] < 0.6 * sizes[1]
    with pytest.raises(ValueError, match="some of"):
        export_anomaly_version(models["padim"], tmp_path / "v", ("pb",))
    with pytest.raises(ValueError, match=r"'int8' should end in one of \['.xml'\]"):
        export_anomaly_version(models["padim"], tmp_path / "v", precisions=("int8",))


@pytest.mark.extra("grpc", "tensorflow_serving")
def test_a_served_model_answers_the_client(models, photos, tmp_path):
    sys.path.append(str(Path(__file__).parents[1] / "client"))
    from double import Double

    from keras_wrn import ServingClient

    model, directory = models["patchcore"], tmp_path / "serving"
    export_anomaly_serving(model, directory, name="odd", max_batch_size=2)
    request = json.loads((directory / "requests" / "odd.json").read_text())
    assert request["signature_name"] == "inspect"
    assert '.inspect("photo.jpg")' in (directory / "README.md").read_text()
    answers = []
    with Double(directory) as server:
        for protocol, url in (("rest", server.rest_url), ("grpc", server.grpc_url)):
            with ServingClient(url, "odd", protocol=protocol) as client:
                answers.append(client.inspect([*photos, b"no image"]))
                one = client.inspect(photos[1])
    for found in answers:
        assert [x["valid"] for x in found] == [True] * 3 + [False]
        assert not found[3]["is_anomaly"] and not found[3]["map"].any()
        for ours, theirs in zip(found, model.score(photos), strict=False):
            assert ours["score"] == pytest.approx(theirs["score"], rel=1e-2)
            assert ours["is_anomaly"] == theirs["is_anomaly"]
    exact = model.score(photos[1])  # of the model's size: its pixels are the same
    assert one["score"] == pytest.approx(exact["score"], rel=1e-5)
    assert np.abs(one["map"] - exact["map"]).max() < 1e-4 * exact["map"].max()
