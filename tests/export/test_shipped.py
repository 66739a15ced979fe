"""The artifacts that ship answer as `inference_model` does, on files of odd sizes and formats."""

from pathlib import Path

import keras
import numpy as np
import pytest
from encoded import BROKEN, ENCODED, encode, photo

import keras_wrn
from keras_wrn.catalog import load_model

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="artifacts are written on TensorFlow"
)
ROOT = Path(__file__).resolve().parents[2] / "saved_models"
VERSIONS = sorted(path.parent for path in ROOT.glob("*/*/model.keras"))


RUNTIMES = {".tflite": "tensorflow", ".onnx": "onnxruntime", ".xml": "openvino"}
FILES = [
    pytest.param(path, marks=pytest.mark.extra(package) if package != "tensorflow" else ())
    for version in VERSIONS
    for path in sorted(version.iterdir())
    if (package := RUNTIMES.get(path.suffix))
]


def named(path):
    return str(path.relative_to(ROOT))


def odd_images():
    """Encoded images by name, of random sizes, none of them square."""
    draw = np.random.default_rng(0)
    found = dict(ENCODED)
    kinds = ["JPEG", "PNG", "GIF", "BMP", "WEBP"]
    for number in range(40):
        width, height = (int(side) for side in draw.integers(20, 300, 2))
        kind = kinds[number % len(kinds)]
        found[f"{kind} {width} x {height}"] = encode(photo((width, height)), kind)
    return found


IMAGES = odd_images()


@pytest.fixture(scope="module", params=VERSIONS, ids=named)
def version(request):
    return request.param


def test_something_ships():
    assert VERSIONS and FILES


def test_the_saved_model_answers_as_inference_model(version):
    import tensorflow as tf

    network = load_model(version / "model.keras")
    classify = tf.saved_model.load(str(version)).signatures["classify"]
    broken = [data for name, data in BROKEN.items() if name != "thin"]  # not so thin for 32 pixels
    batch = [*IMAGES.values(), *broken]
    found = {k: v.numpy() for k, v in classify(image_bytes=tf.constant(batch)).items()}
    assert found["valid"].tolist() == [True] * len(IMAGES) + [False] * len(broken)
    results = keras_wrn.inference_model(network, list(IMAGES.values()))
    for row, (name, result) in enumerate(zip(IMAGES, results, strict=True)):
        expected = result["pred_scores"][found["indices"][row]]
        np.testing.assert_allclose(found["scores"][row], expected, atol=0.03, err_msg=name)
        if result["top_k"][0]["score"] - result["top_k"][1]["score"] > 0.03:
            assert found["classes"][row, 0].decode() == result["pred_class"], name


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_file_answers_as_inference_model(path):
    found, results = (
        np.stack([r["pred_scores"] for r in keras_wrn.inference_model(m, list(IMAGES.values()))])
        for m in (path, path.parent / "model.keras")
    )
    difference = np.abs(found - results)
    if "int8" in path.stem:  # meant to differ a little
        assert np.median(difference.max(axis=1)) < 0.1
    else:
        assert difference.max() < (0.01 if "float16" in path.stem else 1e-3)
