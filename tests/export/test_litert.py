import dataclasses
import json
import os
import sys
import zipfile

import keras
import numpy as np
import pytest
from tiny import calibration

import keras_wrn
from keras_wrn.errors import ExportError
from keras_wrn.export import export_litert, litert

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="artifacts are written on TensorFlow"
)


def run(path, images):
    runner = litert.open_interpreter(path).get_signature_runner("serving_default")
    return runner(image=images.astype("float32"))


def answer(model, images):
    """The Keras model's own probabilities, float32."""
    x = model.preprocessing.normalize(images)
    return np.asarray(keras.ops.cast(model(x, training=False), "float32"))


@pytest.fixture(scope="module")
def artifact(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("litert") / "nested" / "network.tflite"
    export_litert(network, path)
    return path


def test_the_file_answers_as_the_model_on_real_images(network, artifact, images):
    expected = answer(network, images)
    outputs = run(artifact, images)
    assert {name: value.dtype.name for name, value in outputs.items()} == {
        "probabilities": "float32",
        "logits": "float32",
    }
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-4)
    logits = outputs["logits"]
    np.testing.assert_allclose(
        logits - logits.mean(axis=-1, keepdims=True),
        np.log(expected) - np.log(expected).mean(axis=-1, keepdims=True),
        atol=1e-4,
    )


def test_any_batch_size_and_no_dropout(network, artifact):
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype="uint8")
    expected = answer(network, images)
    for count in (1, 5, 2):
        outputs = run(artifact, images[:count])
        np.testing.assert_allclose(outputs["probabilities"], expected[:count], atol=1e-4)


def test_batch_norm_is_folded_and_no_variable_stays_outside(artifact):
    names = [op["op_name"] for op in litert.open_interpreter(artifact)._get_ops_details()]
    assert not {"READ_VARIABLE", "VAR_HANDLE", "RSQRT"} & set(names)


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter:UserWarning")
def test_tensorflow_has_an_interpreter_where_the_package_is_absent(network, artifact, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    interpreter = litert.open_interpreter(artifact)
    assert type(interpreter).__module__.startswith("tensorflow")
    images = np.zeros((1, 32, 32, 3), "uint8")
    probabilities = run(artifact, images)["probabilities"]
    np.testing.assert_allclose(probabilities, answer(network, images), atol=1e-4)


def test_zca_is_inside(build, zca, tmp_path):
    whitening, images = zca
    model = build(input_shape=(8, 8, 3))
    model.preprocessing = keras_wrn.Preprocessing(size=8, zca=whitening)
    export_litert(model, tmp_path / "m.tflite")
    probabilities = run(tmp_path / "m.tflite", images)["probabilities"]
    np.testing.assert_allclose(probabilities, answer(model, images), atol=1e-4)


def test_a_model_in_mixed_precision_becomes_float32(build, network, tmp_path):
    model = build("mixed_bfloat16")
    for variable, value in zip(model.variables, network.variables, strict=True):
        variable.assign(value)
    export_litert(model, tmp_path / "m.tflite")
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype="uint8")
    probabilities = run(tmp_path / "m.tflite", images)["probabilities"]
    np.testing.assert_allclose(probabilities, answer(network, images), atol=1e-4)


def test_an_existing_path_is_kept_unless_overwrite(network, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_text("old")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        export_litert(network, path)
    assert path.read_text() == "old"
    export_litert(network, path, overwrite=True)
    assert run(path, np.zeros((1, 32, 32, 3)))["logits"].shape == (1, 10)
    directory = tmp_path / "d.tflite"
    directory.mkdir()
    with pytest.raises(FileExistsError, match="something else"):
        export_litert(network, directory, overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ["d.tflite", "m.json", "m.tflite"]


def test_a_json_file_of_the_same_name_is_kept(network, tmp_path, monkeypatch):
    theirs = tmp_path / "m.json"
    theirs.write_text('{"of": "the user"}')
    monkeypatch.setattr(litert, "convert", lambda *_: pytest.fail("converted all the same"))
    for overwrite, match in ((False, "overwrite=True"), (True, "something else")):
        with pytest.raises(FileExistsError, match=match):
            export_litert(network, tmp_path / "m.tflite", overwrite=overwrite)
    assert theirs.read_text() == '{"of": "the user"}'
    assert os.listdir(tmp_path) == ["m.json"]


def test_a_file_that_differs_is_not_left_behind(network, build, tmp_path, monkeypatch):
    right = litert.convert
    monkeypatch.setattr(litert, "convert", lambda model, *args: right(build(dropout=0.1), *args))
    network = keras.models.clone_model(network)  # with other weights
    network.preprocessing = build().preprocessing
    path = tmp_path / "m.tflite"
    with pytest.raises(ExportError, match="does not compute what the model does"):
        export_litert(network, path)
    assert os.listdir(tmp_path) == []
    path.write_text("old")
    with pytest.raises(ExportError):
        export_litert(network, path, overwrite=True)
    assert os.listdir(tmp_path) == ["m.tflite"]
    assert path.read_text() == "old"


def test_what_cannot_be_exported_is_said(network, build, tmp_path):
    with pytest.raises(ValueError, match=r"end in '\.tflite'"):
        export_litert(network, tmp_path / "m.lite")
    with pytest.raises(ValueError, match="has no preprocessing"):
        export_litert(keras_wrn.WideResNet(10, 1), tmp_path / "m.tflite")
    with pytest.raises(ValueError, match="Expected a classifier"):
        export_litert(build(include_top=False, pooling="avg"), tmp_path / "m.tflite")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("precision", "size", "error"),
    [("float16", 0.6, 5e-3), ("dynamic_int8", 0.4, 0.1), ("int8", 0.4, 0.1)],
)
def test_lower_precisions_are_smaller_and_agree(trained, tmp_path, precision, size, error):
    export_litert(trained, tmp_path / "float32.tflite")
    path = tmp_path / "low.tflite"
    export_litert(
        trained, path, precision=precision,
        calibration=calibration() if precision == "int8" else None,
    )  # fmt: skip
    assert path.stat().st_size < size * (tmp_path / "float32.tflite").stat().st_size
    images = keras_wrn.data.load_arrays("digits", "test")[0][:200]
    expected = trained.predict(trained.preprocessing.normalize(images), verbose=0)
    found = run(path, images)["logits"]
    assert (found.argmax(-1) == expected.argmax(-1)).mean() > 0.97
    assert np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2)) < error


def test_integers_in_and_out(trained, tmp_path):
    path = tmp_path / "m.tflite"
    export_litert(trained, path, precision="int8", calibration=calibration(), integer_io=True)
    runner = litert.open_interpreter(path).get_signature_runner("serving_default")
    inputs, outputs = runner.get_input_details(), runner.get_output_details()
    assert inputs["image"]["dtype"] == np.uint8
    assert {name: o["dtype"] for name, o in outputs.items()} == {
        "probabilities": np.uint8, "logits": np.uint8,
    }  # fmt: skip
    scale, zero = inputs["image"]["quantization"]
    assert abs(scale - 1) < 0.01 and zero == 0  # pixels as they are
    images = keras_wrn.data.load_arrays("digits", "test")[0][:200]
    found = runner(image=images)
    expected = trained.predict(trained.preprocessing.normalize(images), verbose=0)
    assert (found["logits"].argmax(-1) == expected.argmax(-1)).mean() > 0.95
    probabilities = litert.dequantize(found["probabilities"], outputs["probabilities"])
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=0.05)


def test_labels_and_preprocessing_travel_inside_and_beside(network, tmp_path):
    path = tmp_path / "m.tflite"
    export_litert(network, path, precision="float16", class_names=list("klmnopqrst"))
    with zipfile.ZipFile(path) as archive:
        assert archive.read("labels.txt").decode().split() == list("klmnopqrst")
        inside = archive.read("metadata.json").decode()
    assert (tmp_path / "m.json").read_text() == inside
    metadata = json.loads(inside)
    assert metadata["precision"] == "float16" and not metadata["integer_io"]
    stored = keras_wrn.Preprocessing.from_config(metadata["preprocessing"])
    assert stored == dataclasses.replace(network.preprocessing, class_names=tuple("klmnopqrst"))
    assert run(path, np.zeros((1, 32, 32, 3)))["logits"].shape == (1, 10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": "int4"}, "`precision` should be one of"),
        ({"precision": "int8"}, "needs `calibration`"),
        ({"precision": "float16", "calibration": calibration(2)}, "is for precision='int8'"),
        ({"precision": "int8", "calibration": calibration(0)}, "calibration images"),
        ({"precision": "int8", "calibration": calibration(2)[:, :16]}, r"shape \(32, 32, 3\)"),
        ({"precision": "int8", "calibration": calibration(2)[0]}, r"\(n, height, width"),
        ({"integer_io": True}, "`integer_io` needs precision='int8'"),
        ({"class_names": ["a"]}, "10 classes"),
    ],
)
def test_wrong_settings_are_said_before_anything_is_written(network, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        export_litert(network, tmp_path / "m.tflite", **arguments)
    assert os.listdir(tmp_path) == []


def test_a_low_precision_that_differs_is_not_left_behind(trained, network, tmp_path, monkeypatch):
    right = litert.convert
    monkeypatch.setattr(litert, "convert", lambda model, *args: right(network, *args))
    for precision in ("float16", "dynamic_int8"):
        with pytest.raises(ExportError, match="logits should differ by"):
            export_litert(trained, tmp_path / "m.tflite", precision=precision)
    assert os.listdir(tmp_path) == []
