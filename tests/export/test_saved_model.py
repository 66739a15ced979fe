import dataclasses
import os

import keras
import numpy as np
import pytest
from encoded import ENCODED

import keras_wrn
from keras_wrn.errors import ExportError
from keras_wrn.export import export_saved_model, saved_model

on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="artifacts are written on TensorFlow"
)


def load(path):
    import tensorflow as tf

    return tf.saved_model.load(str(path)).signatures


def answer(model, images, preprocessing=None):
    """The Keras model's own probabilities, float32."""
    x = (preprocessing or model.preprocessing).normalize(images)
    outputs = np.asarray(keras.ops.cast(model(x, training=False), "float32"))
    if model.layers[-1].activation is keras.activations.softmax:
        return outputs
    return np.asarray(keras.ops.softmax(outputs))


@pytest.fixture(scope="module")
def artifact(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved_model") / "nested" / "network"
    export_saved_model(network, path)
    return path


@on_tensorflow
def test_both_signatures_answer_as_the_model_on_real_images(network, artifact, images):
    expected = answer(network, images)
    assert np.ptp(expected, axis=0).max() > 0.05  # the images are told apart
    for name, batch in (("serving_default", images.astype("float32")), ("serve_uint8", images)):
        outputs = load(artifact)[name](image=batch)
        np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-4)
        logits = outputs["logits"].numpy()
        np.testing.assert_allclose(
            logits - logits.mean(axis=-1, keepdims=True),
            np.log(expected) - np.log(expected).mean(axis=-1, keepdims=True),
            atol=1e-4,
        )


@on_tensorflow
def test_signatures_have_the_names_and_types_of_the_contract(artifact):
    signatures = load(artifact)
    assert sorted(signatures) == ["classify", "serve_uint8", "serving_default"]
    for name, dtype in (("serving_default", "float32"), ("serve_uint8", "uint8")):
        (image,) = signatures[name].structured_input_signature[1].values()
        assert (image.name, image.dtype.name) == ("image", dtype)
        assert image.shape.as_list() == [None, 32, 32, 3]
        outputs = signatures[name].structured_outputs
        assert {k: (v.dtype.name, v.shape.as_list()) for k, v in outputs.items()} == {
            "probabilities": ("float32", [None, 10]),
            "logits": ("float32", [None, 10]),
        }
    (data,) = signatures["classify"].structured_input_signature[1].values()
    assert (data.name, data.dtype.name, data.shape.as_list()) == ("image_bytes", "string", [None])
    outputs = signatures["classify"].structured_outputs
    assert {k: (v.dtype.name, v.shape.as_list()) for k, v in outputs.items()} == {
        "classes": ("string", [None, 5]),
        "scores": ("float32", [None, 5]),
        "indices": ("int32", [None, 5]),
        "valid": ("bool", [None]),
    }


@on_tensorflow
def test_classify_says_what_the_package_itself_says(network, artifact):
    names = ["jpeg", "png_alpha", "large", "webp"]
    batch = [ENCODED[name] for name in names] + [b"no image"]
    outputs = load(artifact)["classify"](image_bytes=np.array(batch, object))
    outputs = {name: value.numpy() for name, value in outputs.items()}
    assert outputs["valid"].tolist() == [True] * 4 + [False]
    for row, result in enumerate(keras_wrn.inference_model(network, batch[:4])):
        top = result["top_k"]
        assert [name.decode() for name in outputs["classes"][row]] == [t["class"] for t in top]
        assert outputs["indices"][row].tolist() == [t["label"] for t in top]
        scores = [t["score"] for t in top]
        np.testing.assert_allclose(outputs["scores"][row], scores, atol=2e-3)
    assert outputs["classes"][4].tolist() == [b""] * 5
    assert outputs["indices"][4].tolist() == [-1] * 5
    assert outputs["scores"][4].tolist() == [0.0] * 5
    empty = load(artifact)["classify"](image_bytes=np.array([], object))
    assert {k: v.shape.as_list() for k, v in empty.items()} == {
        "classes": [0, 5], "scores": [0, 5], "indices": [0, 5], "valid": [0],
    }  # fmt: skip


@on_tensorflow
@pytest.mark.usefixtures("unverified")
def test_classes_without_names_are_numbers_and_top_k_is_at_most_all(build, tmp_path):
    model = build()
    model.preprocessing = dataclasses.replace(model.preprocessing, class_names=(), crop=0.8)
    export_saved_model(model, tmp_path / "m", top_k=20)
    outputs = load(tmp_path / "m")["classify"](image_bytes=np.array([ENCODED["png"]], object))
    assert sorted(map(int, outputs["classes"][0].numpy())) == list(range(10))
    export_saved_model(model, tmp_path / "named", class_names=list("klmnopqrst"), top_k=1)
    outputs = load(tmp_path / "named")["classify"](image_bytes=np.array([ENCODED["png"]], object))
    assert outputs["classes"].shape == (1, 1)
    assert (tmp_path / "named/assets.extra/labels.txt").read_text().split() == list("klmnopqrst")


@on_tensorflow
@pytest.mark.usefixtures("unverified")
def test_two_channels_have_no_classify(build, tmp_path):
    model = build(input_shape=(32, 32, 2))
    model.preprocessing = keras_wrn.Preprocessing(32, mean=(0.5,) * 2, std=(1.0,) * 2)
    export_saved_model(model, tmp_path / "m")
    assert sorted(load(tmp_path / "m")) == ["serve_uint8", "serving_default"]


@on_tensorflow
@pytest.mark.usefixtures("unverified")
def test_nothing_random_survives(tmp_path):
    image = keras.Input((32, 32, 3), name="image")
    x = keras.layers.RandomFlip()(image)
    x = keras.layers.RandomTranslation(0.2, 0.2)(x)
    x = keras.layers.GaussianNoise(0.5)(x)
    x = keras.layers.SpatialDropout2D(0.5)(keras_wrn.data.ReflectPadCrop(4)(x))
    trunk = keras_wrn.WideResNet(10, 1, dropout=0.5, include_top=False, pooling="avg")
    x = keras.layers.AlphaDropout(0.5)(trunk(x))
    model = keras.Model(image, keras.layers.Dense(10)(x))
    export_saved_model(model, tmp_path / "m", preprocessing=keras_wrn.Preprocessing(32))
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype="uint8")
    serve = load(tmp_path / "m")["serve_uint8"]
    first, second = (serve(image=images)["logits"].numpy() for _ in range(2))
    np.testing.assert_array_equal(first, second)
    still = keras.Model(image, model.layers[-1](trunk(image)))
    expected = still(keras_wrn.Preprocessing(32).normalize(images), training=False)
    np.testing.assert_allclose(first, expected, atol=1e-4)


@on_tensorflow
def test_dropout_is_off(artifact):
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype="uint8")
    serve = load(artifact)["serve_uint8"]
    first, second = (serve(image=images)["logits"].numpy() for _ in range(2))
    np.testing.assert_array_equal(first, second)


@on_tensorflow
@pytest.mark.parametrize("signature", ["serving_default", "serve_uint8"])
def test_an_empty_batch_gets_an_empty_answer(artifact, signature):
    dtype = "uint8" if signature == "serve_uint8" else "float32"
    outputs = load(artifact)[signature](image=np.zeros((0, 32, 32, 3), dtype))
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "probabilities": (0, 10),
        "logits": (0, 10),
    }


@on_tensorflow
def test_preprocessing_and_labels_lie_beside_the_graph(network, artifact):
    extras = artifact / "assets.extra"
    assert keras_wrn.Preprocessing.load(extras) == network.preprocessing
    assert (extras / "labels.txt").read_text().split() == list("abcdefghij")


@on_tensorflow
@pytest.mark.usefixtures("unverified")
def test_a_model_of_logits_and_given_preprocessing(build, tmp_path):
    model = build(classifier_activation=None, dropout=0.0)
    given = keras_wrn.Preprocessing(size=32)
    export_saved_model(model, tmp_path / "m", preprocessing=given)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype="uint8")
    outputs = load(tmp_path / "m")["serve_uint8"](image=images)
    logits = model(given.normalize(images), training=False)
    np.testing.assert_allclose(outputs["logits"], logits, atol=1e-4)
    expected = answer(model, images, given)
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-4)
    assert not (tmp_path / "m/assets.extra/labels.txt").exists()


@on_tensorflow
@pytest.mark.usefixtures("unverified")
def test_zca_is_inside(build, zca, tmp_path):
    whitening, images = zca
    model = build(input_shape=(8, 8, 3))
    model.preprocessing = keras_wrn.Preprocessing(size=8, zca=whitening)
    export_saved_model(model, tmp_path / "m")
    outputs = load(tmp_path / "m")["serve_uint8"](image=images)
    np.testing.assert_allclose(outputs["probabilities"], answer(model, images), atol=1e-4)
    stored = keras_wrn.Preprocessing.load(tmp_path / "m/assets.extra")
    assert stored.zca.digest == whitening.digest


@on_tensorflow
@pytest.mark.parametrize(
    "policy",
    ["mixed_bfloat16", pytest.param("float64", marks=pytest.mark.slow)],
)
@pytest.mark.usefixtures("unverified")
def test_outputs_are_float32_in_any_precision(build, tmp_path, policy):
    model = build(policy)
    export_saved_model(model, tmp_path / "m")
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype="uint8")
    outputs = load(tmp_path / "m")["serve_uint8"](image=images)
    assert {value.dtype.name for value in outputs.values()} == {"float32"}
    tolerance = 1e-4 if policy == "float64" else 1e-2
    np.testing.assert_allclose(outputs["probabilities"], answer(model, images), atol=tolerance)


@on_tensorflow
@pytest.mark.usefixtures("unverified")
def test_a_model_of_any_image_size(build, tmp_path):
    model = build(input_shape=(None, None, 3))
    export_saved_model(model, tmp_path / "m")
    images = np.random.default_rng(0).integers(0, 256, (2, 24, 40, 3), dtype="uint8")
    outputs = load(tmp_path / "m")["serve_uint8"](image=images)
    np.testing.assert_allclose(outputs["probabilities"], answer(model, images), atol=1e-4)


@on_tensorflow
@pytest.mark.usefixtures("unverified")
def test_an_existing_path_is_kept_unless_overwrite(network, tmp_path, monkeypatch):
    path = tmp_path / "m"
    path.mkdir()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        export_saved_model(network, path)
    # A SavedModel, of whose files only the names matter here.
    (path / "saved_model.pb").write_text("old")
    (path / "assets.extra").mkdir()
    (path / "assets.extra" / "stale").write_text("")
    export_saved_model(network, path, overwrite=True)
    assert not (path / "assets.extra" / "stale").exists()
    assert "serving_default" in load(path)
    (path / "model.keras").write_text("precious")
    with pytest.raises(FileExistsError, match="something else"):
        export_saved_model(network, path, overwrite=True)
    assert (path / "model.keras").read_text() == "precious"
    assert os.listdir(tmp_path) == ["m"]


@on_tensorflow
@pytest.mark.parametrize("wrong", ["logits", pytest.param("probabilities", marks=pytest.mark.slow)])
def test_an_artifact_that_differs_is_not_left_behind(network, tmp_path, monkeypatch, wrong):
    right = saved_model.classifier_outputs

    def shifted(model, preprocessing):
        outputs = right(model, preprocessing)
        return lambda image: {
            name: value + 1e-2 * (name == wrong) for name, value in outputs(image).items()
        }

    monkeypatch.setattr(saved_model, "classifier_outputs", shifted)
    with pytest.raises(ExportError, match=f"{wrong} should differ by"):
        export_saved_model(network, tmp_path / "new")
    assert os.listdir(tmp_path) == []
    old = tmp_path / "old"
    old.mkdir()
    (old / "saved_model.pb").write_text("old")
    with pytest.raises(ExportError):
        export_saved_model(network, old, overwrite=True)
    assert os.listdir(tmp_path) == ["old"]
    assert (old / "saved_model.pb").read_text() == "old"


def test_what_cannot_be_exported_is_said(network, build, tmp_path, monkeypatch):
    if keras.backend.backend() != "tensorflow":
        monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")

    def fails(model, match, **arguments):
        with pytest.raises(ValueError, match=match):
            export_saved_model(model, tmp_path / "m", **arguments)

    own = network.preprocessing
    bare = keras_wrn.WideResNet(10, 1)
    fails(bare, r"has no preprocessing\. Give `preprocessing=")
    fails(network, "should be a `keras_wrn.Preprocessing`", preprocessing={"size": 32})
    fails(network, "3 channels", preprocessing=keras_wrn.Preprocessing(32, mean=(0,), std=(1,)))
    fails(network, "32 x 32.*size=64", preprocessing=dataclasses.replace(own, size=64))
    fails(network, "10 classes", preprocessing=dataclasses.replace(own, class_names=("a", "b")))
    zca = keras_wrn.data.ZCA(np.zeros(12, "float32"), np.eye(12, dtype="float32"))
    fails(network, "3072 values", preprocessing=dataclasses.replace(own, zca=zca))
    fails(build(include_top=False), "Expected a classifier.*Activation layer 'act_final'")
    fails(build(classifier_activation="sigmoid"), "Expected a classifier.*'sigmoid'")
    fails(network, "10 classes", class_names=["a", "b"])
    fails(network, "`top_k` should be a positive", top_k=0)
    fails("model.keras", "Expected a classifier")
    flat = keras.Sequential([keras.Input((5,)), keras.layers.Dense(10)])
    fails(flat, r"one input, images .*\(None, 5\)", preprocessing=own)
    assert os.listdir(tmp_path) == []


def test_another_backend_is_said(network, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ExportError, match="KERAS_BACKEND=jax"):
        export_saved_model(network, tmp_path / "m")
