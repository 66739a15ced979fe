"""The stem that is trained on whitened patches."""

import dataclasses

import keras
import numpy as np
import pytest
from tiny import PLAIN

import keras_wrn
from keras_wrn.data import Preprocessing
from keras_wrn.models import whitening as whitening_module
from keras_wrn.models.whitening import EPSILON, whitening_of
from keras_wrn.training import ModelConfig, WhitenedConv2D
from keras_wrn.training.inputs import Inputs
from keras_wrn.training.network import final_model, training_model

PREPROCESSING = Preprocessing(32, mean=(0.5,) * 3, std=(0.25,) * 3)
RECIPE = dataclasses.replace(PLAIN, model=ModelConfig(depth=10, width=1, whitened_stem=True))


@pytest.fixture(scope="module")
def images():
    """Smooth images, whose patches are far from white."""
    generator = np.random.default_rng(0)
    small = generator.integers(0, 256, (40, 8, 8, 3)).repeat(4, axis=1).repeat(4, axis=2)
    return (0.9 * small + generator.integers(0, 26, small.shape)).astype("uint8")


@pytest.fixture
def network(images):
    labels = np.arange(40, dtype="int32") % 10
    data = Inputs((images, labels), (images, labels), 10, PREPROCESSING)
    return training_model(RECIPE, None, data)


def patches_of(x):
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, 27)


def test_whitened_patches_are_white_up_to_epsilon(images):
    whitening = whitening_of(images, PREPROCESSING, (3, 3))
    np.testing.assert_allclose(whitening, whitening.T, atol=1e-5)
    patches = patches_of(PREPROCESSING.normalize(images))
    values, vectors = np.linalg.eigh(patches.T @ patches / len(patches))
    found = vectors.T @ whitening @ (patches.T @ patches / len(patches)) @ whitening @ vectors
    added = EPSILON * np.square(patches).mean()
    np.testing.assert_allclose(np.diag(found), values / (values + added), rtol=1e-3)
    assert np.abs(found - np.diag(np.diag(found))).max() < 1e-3


def test_of_many_images_every_class_is_looked_at(monkeypatch, images):
    seen = []
    monkeypatch.setattr(whitening_module, "IMAGES", 10)
    original = whitening_module.whitening_of

    def watched(chosen, *args):
        seen.append(chosen)
        return original(chosen, *args)

    monkeypatch.setattr(whitening_module, "whitening_of", watched)
    whitening_module.whiten_stem(keras_wrn.WideResNet(10, 1), PREPROCESSING, images)
    np.testing.assert_array_equal(seen[0], images[::4])  # 10 of 40, from all over the folder


def test_stem_convolves_whitened_patches(images, network):
    stem = network.get_layer("conv1")
    x = PREPROCESSING.normalize(images[:2])
    learned = keras.ops.convert_to_numpy(stem.trainable_variables[0]).reshape(27, 16)
    whitening = keras.ops.convert_to_numpy(stem.whitening)
    expected = (patches_of(x) @ whitening @ learned).reshape(2, 30, 30, 16)
    found = keras.ops.convert_to_numpy(stem(x))[:, 1:-1, 1:-1]
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert [v.name for v in stem.trainable_variables] == ["kernel"]
    assert np.abs(whitening - np.eye(27)).max() > 0.5


def test_the_finished_network_is_the_plain_one_and_answers_the_same(images, network):
    x = PREPROCESSING.normalize(images)
    network.compile(keras_wrn.SGD(0.1), "mse", jit_compile=False)
    before = keras.ops.convert_to_numpy(network.get_layer("conv1").whitening)
    network.fit(x, np.eye(10)[np.arange(40) % 10], batch_size=20, verbose=0)
    np.testing.assert_array_equal(network.get_layer("conv1").whitening, before)
    final = final_model(RECIPE, network, PREPROCESSING)
    assert type(final.get_layer("conv1")) is keras_wrn.models.Conv2D
    assert final.count_params() == keras_wrn.WideResNet(10, 1).count_params()
    logits = network.predict(x, verbose=0)
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
    np.testing.assert_allclose(final.predict(x, verbose=0), expected, atol=1e-5)


def test_whitened_layer_is_saved_with_its_matrix(tmp_path, network, images):
    x = PREPROCESSING.normalize(images[:4])
    network.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.get_layer("conv1"), WhitenedConv2D)
    np.testing.assert_array_equal(loaded.predict_on_batch(x), network.predict_on_batch(x))
