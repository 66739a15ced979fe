"""What ships is what is measured: exported files answer where Keras models do."""

import dataclasses
import importlib.util
import shutil
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tiny
from PIL import Image

import keras_wrn
from keras_wrn.trained import open_classifier

SHIPPED = Path(__file__).parents[1] / "saved_models" / "cifar10_wrn16_2" / "1"
RUNTIMES = {".onnx": "onnxruntime", ".xml": "openvino"}
FILES = sorted(
    path.name for path in SHIPPED.iterdir() if path.suffix in (".tflite", *RUNTIMES)
)  # fmt: skip

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports need the TensorFlow backend"
)


def with_mark(name):
    package = RUNTIMES.get(Path(name).suffix)
    return pytest.param(name, marks=pytest.mark.extra(package)) if package else name


NAMES = [with_mark(name) for name in ("", *FILES)]


@pytest.fixture(scope="module")
def photos():
    generator = np.random.default_rng(0)
    small = generator.integers(0, 256, (40, 5, 5, 3), dtype="uint8")
    return [Image.fromarray(x).resize((48, 40), Image.Resampling.BICUBIC) for x in small]


@pytest.fixture(scope="module")
def expected(photos):
    results = keras_wrn.inference_model(SHIPPED / "model.keras", photos)
    return np.stack([result["pred_scores"] for result in results])


@pytest.mark.parametrize("name", NAMES)
def test_an_exported_file_predicts_and_is_evaluated(photos, expected, name):
    path = SHIPPED / name
    classifier = open_classifier(str(path))
    assert classifier.name.endswith(str(path)) and classifier.class_names[0] == "airplane"
    results = keras_wrn.inference_model(classifier, photos)
    scores = np.stack([result["pred_scores"] for result in results])
    exact = "int8" not in name
    assert np.abs(scores - expected).max() < (0.01 if "float16" in name else 1e-4) or not exact
    assert np.corrcoef(scores.ravel(), expected.ravel())[0, 1] > 0.95
    labels = expected.argmax(-1)
    images = np.stack([classifier.preprocessing.prepare(photo) for photo in photos])
    found = keras_wrn.evaluate(path, (images, labels), batch_size=7)
    assert found["images"] == 40
    assert found["accuracy"] == pytest.approx(100 * (scores.argmax(-1) == labels).mean(), abs=1e-3)
    assert found["accuracy"] == 100 or not exact
    assert found["per_class"][0]["class"] == "airplane"


def test_the_saved_model_is_asked_and_not_the_keras_file_beside_it(tmp_path, photos):
    shutil.copytree(SHIPPED, tmp_path / "1")
    (tmp_path / "1" / "model.keras").write_text("no archive")
    assert keras_wrn.inference_model(tmp_path / "1", photos[0])["pred_class"]


def test_a_file_that_takes_and_gives_integers(tmp_path):
    images, _ = keras_wrn.data.load_arrays("digits", "test")
    keras.utils.set_random_seed(0)
    model = tiny.randomize(keras_wrn.WideResNet(10, 1))
    model.preprocessing = keras_wrn.Preprocessing(32)
    path = tmp_path / "m.tflite"
    keras_wrn.export_litert(
        model, path, precision="int8", calibration=tiny.calibration(), integer_io=True
    )
    found, expected = (
        np.stack([row["pred_scores"] for row in keras_wrn.inference_model(x, list(images[:50]))])
        for x in (path, model)
    )
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.95
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_what_is_no_file_of_ours_is_said(tmp_path, photos):
    for name in FILES:
        path = tmp_path / name
        path.write_bytes(b"no artifact")
        if importlib.util.find_spec(RUNTIMES.get(path.suffix, "keras")) is not None:
            with pytest.raises(ValueError, match=rf"{name} cannot be read as the") as raised:
                keras_wrn.inference_model(path, photos[0])
            assert path.suffix != ".xml" or "it is no XML" in str(raised.value)
    (tmp_path / "saved_model.pb").write_bytes(b"no artifact")
    with pytest.raises((ValueError, OSError), match=str(tmp_path)):
        keras_wrn.inference_model(tmp_path, photos[0])
    with pytest.raises(FileNotFoundError, match=r"absent\.tflite"):
        keras_wrn.evaluate(tmp_path / "absent.tflite", "digits")


def test_a_file_without_a_preprocessing_is_given_one(tmp_path, photos, expected):
    shutil.copytree(SHIPPED, tmp_path / "1")
    shutil.rmtree(tmp_path / "1" / "assets.extra")
    with pytest.raises(ValueError, match="carries none"):
        keras_wrn.inference_model(tmp_path / "1", photos[0])
    own = open_classifier(SHIPPED).preprocessing
    found = keras_wrn.inference_model(tmp_path / "1", photos[0], preprocessing=own)
    np.testing.assert_allclose(found["pred_scores"], expected[0], atol=1e-4)
    with pytest.raises(ValueError, match=r"to take images \(1, 16, 16, 3\)"):
        open_classifier(tmp_path / "1", dataclasses.replace(own, size=16))
    with pytest.raises(ValueError, match=r"name the model's 10 classes.* 1 class names"):
        open_classifier(tmp_path / "1", dataclasses.replace(own, class_names=("cat",)))


def test_a_missing_runtime_is_said(monkeypatch, photos):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(keras_wrn.export.ExportError, match="which comes with the extra `onnx`"):
        keras_wrn.inference_model(SHIPPED / "model.onnx", photos[0])


def test_an_open_classifier_keeps_its_preprocessing(photos):
    classifier = open_classifier(SHIPPED / "model.keras")
    assert open_classifier(classifier) is classifier
    with pytest.raises(ValueError, match="Expected no other"):
        keras_wrn.inference_model(classifier, photos[0], preprocessing=keras_wrn.Preprocessing(32))
