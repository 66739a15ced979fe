"""Networks that normalise by themselves: pixels of 0..255 in, and nothing is done twice."""

import dataclasses
import os
from pathlib import Path

import keras
import numpy as np
import pytest
from tiny import TINY

import keras_wrn
from keras_wrn.classifier import resolve_preprocessing
from keras_wrn.data.datasets import CIFAR_MEAN
from keras_wrn.models.normalization import Normalization, normalizes
from keras_wrn.training.inputs import load_inputs
from keras_wrn.training.network import load_teacher

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), "uint8")
NAME = "wrn_16_2.cifar10"


@pytest.fixture(scope="module")
def plain():
    return keras_wrn.create_model(NAME)


@pytest.fixture(scope="module")
def inside():
    return keras_wrn.create_model(NAME, include_preprocessing=True)


@pytest.fixture(scope="module")
def expected(plain):
    return plain.predict(plain.preprocessing.normalize(PIXELS), verbose=0)


def test_it_takes_pixels_of_any_dtype(inside, expected):
    for images in (PIXELS, PIXELS.astype("float32")):
        np.testing.assert_allclose(inside.predict(images, verbose=0), expected, atol=1e-5)


@pytest.mark.extra
def test_images_of_cifar_are_recognised_as_they_are(inside):
    if not (Path(os.environ.get("TFDS_DATA_DIR", ".")) / "cifar10").is_dir():
        pytest.skip("TFDS_DATA_DIR does not say where CIFAR-10 is")
    images, labels = keras_wrn.data.load_arrays("cifar10", "test")
    answers = inside.predict(images[:1000], verbose=0).argmax(axis=-1)
    assert (answers == labels[:1000]).mean() > 0.91


def test_its_preprocessing_has_all_but_the_normalisation(plain, inside):
    assert dataclasses.replace(inside.preprocessing, in_model=False) == plain.preprocessing
    assert inside.preprocessing.in_model and not plain.preprocessing.in_model
    np.testing.assert_array_equal(inside.preprocessing.normalize(PIXELS), PIXELS)
    assert inside.preprocessing.normalize(PIXELS).dtype == "float32"


def test_nothing_is_normalised_twice_whatever_preprocessing_is_given(plain, inside):
    wanted = keras_wrn.inference_model(plain, list(PIXELS))
    for preprocessing in (None, inside.preprocessing, plain.preprocessing):
        found = keras_wrn.inference_model(inside, list(PIXELS), preprocessing=preprocessing)
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a["pred_scores"], b["pred_scores"], atol=1e-5)
    # And a plain network that is given what belongs to one that takes pixels.
    found = keras_wrn.inference_model(plain, PIXELS[0], preprocessing=inside.preprocessing)
    np.testing.assert_allclose(found["pred_scores"], wanted[0]["pred_scores"], atol=1e-6)


def test_preprocessing_that_is_set_later_is_that_of_the_network(plain):
    model = keras_wrn.WideResNet(10, 1, include_preprocessing=True)
    model.preprocessing = plain.preprocessing
    assert model.preprocessing.in_model
    whitening = dataclasses.replace(
        plain.preprocessing, zca=keras_wrn.data.ZCA(np.zeros(3072), np.zeros((1, 1)))
    )
    with pytest.raises(ValueError, match="whiten"):
        model.preprocessing = whitening


def test_evaluate_is_the_same(plain, inside):
    labels = np.arange(6)
    a, b = (keras_wrn.evaluate(model, (PIXELS, labels)) for model in (plain, inside))
    assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)
    assert a["confusion"] == b["confusion"]


def test_it_survives_its_file(inside, expected, tmp_path):
    inside.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert normalizes(loaded) and loaded.preprocessing == inside.preprocessing
    np.testing.assert_allclose(loaded.predict(PIXELS, verbose=0), expected, atol=1e-5)
    found = keras_wrn.inference_model(tmp_path / "model.keras", PIXELS[0])["pred_scores"]
    np.testing.assert_allclose(found, expected[0], atol=1e-5)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("built", [False, True])
def test_weights_of_a_file_bring_their_mean_and_deviation(stored, built, tmp_path):
    """Either kind of network starts from a file of either kind, with the file's own constants."""
    preprocessing = keras_wrn.Preprocessing(32, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    source = keras_wrn.WideResNet(10, 1)
    source.preprocessing = preprocessing
    source.save(tmp_path / "source.keras")
    if stored:
        source = keras_wrn.WideResNet(
            10, 1, weights=tmp_path / "source.keras", include_preprocessing=True
        )
        source.save(tmp_path / "source.keras")
    wanted = keras_wrn.inference_model(source, PIXELS[0])["pred_scores"]
    model = keras_wrn.WideResNet(
        10, 1, weights=tmp_path / "source.keras", include_preprocessing=built
    )
    assert normalizes(model) == model.preprocessing.in_model == built
    assert model.preprocessing.mean == preprocessing.mean
    found = keras_wrn.inference_model(model, PIXELS[0])["pred_scores"]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("build", "size", "mean"),
    [
        (lambda **more: keras_wrn.WideResNet(10, 1, **more), 32, (125.3, 123.0, 113.9)),
        (
            lambda **more: keras_wrn.WideResNet18(0.25, input_shape=(64, 64, 3), **more),
            64,
            (123.675, 116.28, 103.53),
        ),
        (lambda **more: keras_wrn.create_model("wrn_10_1", **more), 32, (125.3, 123.0, 113.9)),
    ],
)
def test_a_random_network_has_the_constants_of_its_family(build, size, mean):
    model = build(include_preprocessing=True)
    assert model.preprocessing.size == size
    np.testing.assert_allclose(np.multiply(model.preprocessing.mean, 255), mean, rtol=1e-6)
    assert model.preprocessing.in_model and not model.preprocessing.class_names
    twin = build()
    assert twin.preprocessing is None
    twin.set_weights(model.get_weights())
    images = PIXELS.repeat(size // 32, 1).repeat(size // 32, 2)
    real = dataclasses.replace(model.preprocessing, in_model=False)
    np.testing.assert_allclose(
        model.predict(images, verbose=0),
        twin.predict(real.normalize(images), verbose=0),
        atol=1e-5,
    )


def test_images_of_any_size_have_the_preprocessing_of_the_default_size():
    model = keras_wrn.WideResNet(10, 1, input_shape=(None, None, 3), include_preprocessing=True)
    assert model.preprocessing.size == 32


def test_images_without_three_channels_are_refused():
    with pytest.raises(ValueError, match=r"`include_preprocessing`.*3 channels.*\(32, 32, 1\)"):
        keras_wrn.WideResNet(10, 1, input_shape=(32, 32, 1), include_preprocessing=True)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_pixels_are_normalised_in_float32(policy, set_policy):
    set_policy(policy)
    model = keras_wrn.WideResNet(10, 1, include_preprocessing=True)
    layer = model.get_layer("normalize")
    real = dataclasses.replace(model.preprocessing, in_model=False)
    np.testing.assert_allclose(layer(PIXELS), real.normalize(PIXELS), atol=1e-5)


def test_channels_first_as_the_default_changes_nothing():
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        layer = Normalization((0.0,) * 3, (0.1, 0.2, 0.5))
        found = np.array(layer(np.full((1, 2, 2, 3), 255.0)))
        np.testing.assert_allclose(found[0, 0, 0], [10, 5, 2], rtol=1e-6)
    finally:
        keras.config.set_image_data_format(before)


def test_extractors_and_new_classifiers_take_pixels_too(plain, inside):
    a = keras_wrn.feature_extractor(inside, 2)
    b = keras_wrn.feature_extractor(plain, 2)
    assert a.preprocessing.in_model
    np.testing.assert_allclose(
        a(PIXELS.astype("float32"))["stage2"],
        b(plain.preprocessing.normalize(PIXELS))["stage2"],
        atol=1e-4,
    )
    assert keras_wrn.reset_classifier(inside, 3).preprocessing.in_model


def test_exports_take_the_same_pixels(inside, expected, tmp_path):
    import tensorflow as tf

    keras_wrn.export_saved_model(inside, tmp_path / "saved", preprocessing=inside.preprocessing)
    serve = tf.saved_model.load(tmp_path / "saved").signatures["serve_uint8"]
    np.testing.assert_allclose(serve(image=PIXELS)["probabilities"], expected, atol=1e-4)


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "bad.keras"
    keras_wrn.WideResNet(10, 1).save(path)
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"bad\.keras"):
        keras_wrn.WideResNet(10, 1, weights=path, include_preprocessing=True)


@pytest.mark.extra("safetensors")
def test_torch_files_hold_the_network_without_it(inside, plain, tmp_path):
    keras_wrn.save_torch_weights(inside, tmp_path / "net.safetensors")
    twin = keras_wrn.WideResNet(16, 2)
    keras_wrn.load_torch_weights(twin, tmp_path / "net.safetensors")
    for a, b in zip(twin.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_training_that_starts_from_one_normalises_once(inside):
    """A recipe's own network takes normalised images, with the constants of its start."""
    recipe = dataclasses.replace(TINY, data=dataclasses.replace(TINY.data, preprocessing="meanstd"))
    inputs = load_inputs(recipe, inside, made_up=True)
    assert not inputs.preprocessing.in_model
    assert inputs.preprocessing.mean == inside.preprocessing.mean
    assert inputs.preprocessing.normalize(PIXELS).min() < -1


def test_a_teacher_that_takes_pixels_gets_normalised_images(inside, plain, tmp_path):
    inside.save(tmp_path / "teacher.keras")
    config = keras_wrn.training.DistillConfig(teacher=str(tmp_path / "teacher.keras"))
    teacher = load_teacher(config, plain.preprocessing, 10)
    assert not normalizes(teacher)
    images = plain.preprocessing.normalize(PIXELS)
    logits = keras_wrn.reset_classifier(plain, 10, classifier_activation=None)
    logits.layers[-1].set_weights(plain.layers[-1].get_weights())
    np.testing.assert_allclose(teacher(images), logits(images), atol=1e-4)


def test_a_network_inside_a_model_counts():
    outer_input = keras.Input((32, 32, 3))
    settings = {"include_top": False, "pooling": "avg", "include_preprocessing": True}
    trunk = keras_wrn.WideResNet(10, 1, **settings)
    model = keras.Model(outer_input, keras.layers.Dense(2)(trunk(outer_input)))
    assert resolve_preprocessing(model, keras_wrn.Preprocessing(32)).in_model


def test_a_file_without_preprocessing_leaves_the_networks_own(tmp_path):
    keras_wrn.WideResNet(10, 1).save(tmp_path / "bare.keras")
    weights = tmp_path / "bare.keras"
    model = keras_wrn.WideResNet(10, 1, weights=weights, include_preprocessing=True)
    assert model.preprocessing.in_model and model.preprocessing.mean == CIFAR_MEAN
    with pytest.raises(ValueError, match="`depth` should be"):  # before the file is looked for
        keras_wrn.WideResNet(17, 2, weights="/absent.keras", include_preprocessing=True)


def test_old_names_are_there_by_star():
    names: dict = {}
    exec("from keras_wrn.models import *; from keras_wrn.weights import *", names)
    assert names["WideResNet"] is keras_wrn.WideResNet
    assert names["load_model"] is keras_wrn.load_model
