"""Artifacts of a detector answer as it does: SavedModel, ONNX, LiteRT; odd images; serving."""

import io
import json

import keras
import numpy as np
import pytest
from finders import NAMES, finder, photo
from PIL import Image

from keras_wrn.detection import (
    Anchors,
    Selection,
    detect,
    export_detector,
    open_detector,
    select,
)
from keras_wrn.detection import export as exporting
from keras_wrn.detection.export import export_detector_serving, export_detector_version
from keras_wrn.errors import ExportError

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="artifacts are written on TensorFlow"
)
SELECTION = Selection(0.2, 0.5, 20)
SIZES = (120, 90), (64, 64), (50, 200), (33, 31)


def png(pixels):
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


@pytest.fixture(scope="module")
def model():
    return finder()


@pytest.fixture(scope="module")
def photos():
    random = np.random.default_rng(1)
    return [photo(random, *size)[0] for size in SIZES]


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "detector"
    export_detector(model, path, selection=SELECTION)
    return path


def test_detect_says_what_the_library_says(model, saved, photos):
    import tensorflow as tf

    signatures = tf.saved_model.load(str(saved)).signatures
    found = signatures["detect"](image_bytes=tf.constant([png(x) for x in photos]))
    found = {name: value.numpy() for name, value in found.items()}
    expected = detect(model, photos, selection=SELECTION)
    assert found["valid"].all() and sum(len(x["scores"]) for x in expected) > 20
    for i, one in enumerate(expected):
        count = found["count"][i]
        assert count == len(one["scores"]) > 0
        np.testing.assert_allclose(found["boxes"][i, :count], one["boxes"], atol=0.02)
        np.testing.assert_allclose(found["scores"][i, :count], one["scores"], atol=1e-4)
        np.testing.assert_array_equal(found["labels"][i, :count], one["labels"])
        assert [x.decode() for x in found["classes"][i, :count]] == one["classes"]
        assert (found["labels"][i, count:] == -1).all() and (
            found["classes"][i, count:] == b""
        ).all()
        height, width = photos[i].shape[:2]
        assert (one["boxes"] >= 0).all()
        ends = one["boxes"][:, :2] + one["boxes"][:, 2:]
        assert (ends <= np.array([width, height]) + 1e-3).all() and (one["boxes"][:, 2:] > 0).all()


def test_a_broken_image_spoils_only_its_row(saved, photos):
    import tensorflow as tf

    detect_bytes = tf.saved_model.load(str(saved)).signatures["detect"]
    whole = png(photos[0])
    thin = png(np.zeros((1, 300, 3), "uint8"))  # nothing of it is left in the square
    bad = [b"", b"no image", whole[:100], thin]
    mixed = detect_bytes(image_bytes=tf.constant([bad[0], whole, *bad[1:], whole]))
    alone = detect_bytes(image_bytes=tf.constant([whole]))
    assert mixed["valid"].numpy().tolist() == [False, True, False, False, False, True]
    for name, value in mixed.items():
        for row in (1, 5):
            if name in ("boxes", "scores"):
                np.testing.assert_allclose(value[row], alone[name][0], atol=1e-3)
            else:
                np.testing.assert_array_equal(value[row], alone[name][0])
    for row in (0, 2, 3, 4):
        assert not mixed["count"][row] and not np.any(mixed["boxes"][row])
        assert (mixed["labels"][row].numpy() == -1).all() and not np.any(mixed["scores"][row])
        assert (mixed["classes"][row].numpy() == b"").all()
    empty = detect_bytes(image_bytes=tf.constant([], tf.string))
    assert empty["boxes"].shape == (0, 20, 4) and empty["valid"].shape == (0,)


@pytest.mark.parametrize(
    "ending",
    [
        "",
        pytest.param(".onnx", marks=[pytest.mark.extra("onnx", "onnxruntime", "tf2onnx")]),
        ".tflite",
    ],
)
def test_every_artifact_finds_the_same(model, photos, tmp_path, ending):
    path = tmp_path / f"detector{ending}"
    export_detector(model, path, selection=SELECTION)
    expected = detect(model, photos, selection=SELECTION)
    found = detect(path, photos)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours["labels"], theirs["labels"])
        np.testing.assert_allclose(ours["scores"], theirs["scores"], atol=1e-4)
        np.testing.assert_allclose(ours["boxes"], theirs["boxes"], atol=0.02)
        assert ours["classes"] == theirs["classes"]
    with pytest.raises(FileExistsError):
        export_detector(model, path)
    export_detector(model, path, overwrite=True)


def test_answers_of_a_litert_file_need_numpy_alone(model, photos, tmp_path):
    from keras_wrn.detection.geometry import fit
    from keras_wrn.export.litert import open_interpreter

    export_detector(model, tmp_path / "model.tflite", selection=SELECTION)
    run = open_interpreter(tmp_path / "model.tflite").get_signature_runner()
    raw = run(image=np.asarray(fit(photos[1], 64))[None])
    answers = raw["box"][0], raw["classification"][0]
    found = select(Anchors(64, 16).boxes, *answers, SELECTION, within=(64, 64))
    expected = detect(model, photos[1], selection=SELECTION)
    np.testing.assert_allclose(found["boxes"], expected["boxes"], atol=0.02)


def test_an_artifact_that_computes_something_else_is_not_written(model, tmp_path, monkeypatch):
    original = exporting.fold_batch_norm

    def wrong(given):
        twin = keras.models.clone_model(given)
        return original(twin)

    monkeypatch.setattr(exporting, "fold_batch_norm", wrong)
    with pytest.raises(ExportError, match="does not compute what the model does"):
        export_detector(model, tmp_path / "detector")
    assert not (tmp_path / "detector").exists()


def test_what_is_no_detector_is_refused(tmp_path, saved):
    import keras_wrn

    classifier = keras_wrn.WideResNet(10, 1)
    with pytest.raises(ValueError, match="Expected a detector"):
        export_detector(classifier, tmp_path / "detector")
    with pytest.raises(ValueError, match="Expected a detector"):
        open_detector(classifier)
    nameless = finder()
    nameless.preprocessing = None
    with pytest.raises(ValueError, match="no preprocessing"):
        export_detector(nameless, tmp_path / "detector")
    with pytest.raises(ValueError, match="no other format"):
        export_detector(finder(), tmp_path / "detector.xml")
    assert open_detector(saved).selection == SELECTION
    assert open_detector(saved, Selection(0.9)).selection == Selection(0.9)
    with pytest.raises(ValueError, match="Expected a classifier"):
        keras_wrn.inference_model(finder(), np.zeros((64, 64, 3), "uint8"))


@pytest.mark.extra("onnx", "onnxruntime", "tf2onnx")
def test_a_version_holds_all_of_them(model, tmp_path):
    version = export_detector_version(
        model, tmp_path / "versions", ("saved_model", "litert", "onnx"), card="# Card\n"
    )
    assert version.name == "1"
    names = {path.name for path in version.iterdir()}
    assert {"saved_model.pb", "model.tflite", "model.onnx", "model.keras", "README.md"} <= names
    read = keras.models.load_model(version / "model.keras")
    assert read.preprocessing.class_names == NAMES
    with pytest.raises(ValueError, match="some of"):
        export_detector_version(model, tmp_path / "versions", ("openvino",))


@pytest.mark.extra("grpc", "tensorflow_serving")
@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_a_served_detector_answers_the_client(model, photos, tmp_path, protocol):
    import sys
    from pathlib import Path

    sys.path.append(str(Path(__file__).parents[1] / "client"))
    from double import Double

    from keras_wrn import ServingClient

    directory = tmp_path / "serving"
    version = export_detector_serving(
        model, directory, name="things", selection=SELECTION, max_batch_size=2
    )
    assert (version / "assets.extra" / "tf_serving_warmup_requests").is_file()
    request = json.loads((directory / "requests" / "things.json").read_text())
    assert request["signature_name"] == "detect"
    assert '.detect("photo.jpg")' in (directory / "README.md").read_text()
    expected = detect(model, photos, selection=SELECTION)
    with Double(directory) as server:
        url = server.rest_url if protocol == "rest" else server.grpc_url
        with ServingClient(url, "things", protocol=protocol) as client:
            found = client.detect([*photos, b"no image"])
            one = client.detect(photos[0])
    assert [x["valid"] for x in found] == [True] * 4 + [False]
    assert found[4]["classes"] == [] and found[4]["boxes"].shape == (0, 4)
    for ours, theirs in zip([*found[:4], one], [*expected, expected[0]], strict=True):
        assert ours["classes"] == theirs["classes"]
        np.testing.assert_allclose(ours["boxes"], theirs["boxes"], atol=0.02)
        np.testing.assert_allclose(ours["scores"], theirs["scores"], atol=1e-4)
