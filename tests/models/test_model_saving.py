"""The `.keras` file: weights, preprocessing, compiled state."""

import dataclasses

import keras
import numpy as np
import pytest

from keras_wrn.catalog import WideResNet
from keras_wrn.data import ZCA, Preprocessing
from keras_wrn.models import BatchNormalization, ImageModel
from keras_wrn.training import SGD

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3)).astype("uint8")
PLAIN = Preprocessing(
    size=8,
    crop=0.875,
    interpolation="bicubic",
    mean=(0.1, 0.2, 0.3),
    std=(0.4, 0.5, 0.6),
    class_names=tuple("abcdefghij"),
)


def build(**kwargs):
    keras.utils.set_random_seed(0)
    model = WideResNet(10, 2, 0.3, input_shape=(8, 8, 3), **kwargs)
    for layer in model.layers:
        if isinstance(layer, BatchNormalization):
            layer.moving_mean.assign(np.random.default_rng(1).normal(size=layer.gamma.shape))
    return model


def save_and_load(model, tmp_path):
    model.save(tmp_path / "model.keras")
    return keras.models.load_model(tmp_path / "model.keras")


def assert_same_outputs(model, loaded, images=IMAGES):
    images = images.astype("float32") / 255
    np.testing.assert_array_equal(
        model.predict(images, verbose=0), loaded.predict(images, verbose=0)
    )


def test_a_network_survives_its_file(tmp_path):
    model = build(block="B131")
    loaded = save_and_load(model, tmp_path)
    assert type(loaded) is ImageModel
    assert loaded.preprocessing is None
    assert loaded.name == "wrn_10_2"
    assert [x.name for x in loaded.layers] == [x.name for x in model.layers]
    assert {type(x) for x in loaded.layers} == {type(x) for x in model.layers}
    assert_same_outputs(model, loaded)


def test_preprocessing_is_part_of_the_file(tmp_path):
    model = build()
    model.preprocessing = PLAIN
    loaded = save_and_load(model, tmp_path)
    assert loaded.preprocessing == PLAIN
    assert type(loaded.preprocessing.mean) is tuple
    np.testing.assert_array_equal(loaded.preprocessing.normalize(IMAGES), PLAIN.normalize(IMAGES))
    assert_same_outputs(model, loaded)
    # And of the file of the file.
    assert save_and_load(loaded, tmp_path).preprocessing == PLAIN


def test_whitening_matrices_are_part_of_the_file(tmp_path):
    model = build()
    model.preprocessing = dataclasses.replace(PLAIN, zca=ZCA.fit(IMAGES, cache_dir=False))
    loaded = save_and_load(model, tmp_path)
    zca = loaded.preprocessing.zca
    assert zca.digest == model.preprocessing.zca.digest
    np.testing.assert_array_equal(zca.matrix, model.preprocessing.zca.matrix)
    np.testing.assert_array_equal(
        loaded.preprocessing.normalize(IMAGES), model.preprocessing.normalize(IMAGES)
    )
    assert dataclasses.replace(loaded.preprocessing, zca=None) == PLAIN
    # A configuration alone has no matrices: that is said, and nothing else is computed instead.
    bare = type(model).from_config(model.get_config()).preprocessing
    for use in (lambda: bare.normalize(IMAGES), lambda: bare.save(tmp_path)):
        with pytest.raises(ValueError, match=r"matrices are not part of a\s+configuration"):
            use()
    assert_same_outputs(model, loaded)


def test_a_submodel_is_plain_and_works(tmp_path):
    model = build()
    features = keras.Model(model.input, model.get_layer("group2_block1_add").output)
    loaded = save_and_load(features, tmp_path)
    assert loaded.output_shape == (None, 4, 4, 64)
    assert_same_outputs(features, loaded)


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_weights_come_from_a_file(suffix, tmp_path):
    model = build()
    path = tmp_path / f"model{suffix}"
    (model.save_weights if suffix == ".weights.h5" else model.save)(path)
    # Dropout has no weights: a network without it is the same network.
    loaded = WideResNet(10, 2, input_shape=(8, 8, 3), weights=path)
    assert_same_outputs(model, loaded)
    with pytest.raises(ValueError):
        WideResNet(10, 2, 0.3, input_shape=(8, 8, 3), classes=7, weights=path)


def test_a_compiled_network_goes_on_as_if_never_saved(tmp_path):
    model = build()
    model.compile(
        SGD(0.1, weight_decay=0.01, decay_norm_and_bias=False, reset_momentum_on_drop=True),
        "sparse_categorical_crossentropy",
        jit_compile=False,
    )
    images, labels = IMAGES.astype("float32") / 255, np.arange(6)
    model.fit(images, labels, batch_size=3, verbose=0, shuffle=False)
    loaded = save_and_load(model, tmp_path)
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    for a, b in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert np.abs(loaded.optimizer.momentums[0].numpy()).max() > 0


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy, set_policy, tmp_path):
    exact = build()
    set_policy(policy)
    model = build()
    low = policy.removeprefix("mixed_")
    model.set_weights(exact.get_weights())
    assert {variable.dtype for variable in model.weights} == {"float32"}
    assert model.get_layer("group1_block1_conv1").compute_dtype == low
    assert model.get_layer("group1_block1_add").output.dtype == low
    assert model.get_layer("predictions").compute_dtype == "float32"

    images, labels = IMAGES.astype("float32") / 255, np.arange(6)
    outputs = model.predict(images, verbose=0)
    assert outputs.dtype == "float32"
    np.testing.assert_allclose(outputs, exact.predict(images, verbose=0), atol=0.02)
    assert_same_outputs(model, save_and_load(model, tmp_path))

    before = model.get_weights()
    model.compile(SGD(0.01), "sparse_categorical_crossentropy", jit_compile=False)
    history = model.fit(images, labels, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    for variable, old in zip(model.weights, before, strict=True):
        assert np.isfinite(variable.numpy()).all()
        assert np.any(variable.numpy() != old), variable.path
