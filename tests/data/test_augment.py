"""The crop and the flip: pixel for pixel, and a draw of its own for each image."""

import itertools

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from data.helpers import coordinates, cropped

from keras_wrn.data import ReflectPadCrop
from keras_wrn.data.augment import crop_and_flip, draw_crop
from keras_wrn.data.pipeline import epoch_draws


def draws_of(outputs, size=12, padding=4):
    """Find (top, left, flip) of each crop of `coordinates`; an impossible crop is a KeyError."""
    known = {}
    options = list(itertools.product(range(9), range(9), range(2)))
    image = coordinates(1, size)
    for option in options:
        crop = cropped(image, [option[:2]], [option[2]], padding)[0, ..., :2]
        known[crop.tobytes()] = option
    assert len(known) == len(options)
    return np.array([known[np.ascontiguousarray(out[..., :2]).tobytes()] for out in outputs])


ROADS = {
    "numpy": lambda *parts: crop_and_flip(*parts, 3),
    "eager": lambda *parts: crop_and_flip(*map(tf.constant, parts), 3).numpy(),
    "tf.data": lambda *parts: next(
        iter(
            tf.data.Dataset.from_tensors(parts)
            .map(lambda x, offsets, flips: crop_and_flip(x, offsets, flips, 3))
            .as_numpy_iterator()
        )
    ),
}


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("shape", [(49, 8, 8, 3), (49, 7, 4, 1)])
def test_every_crop_is_that_of_a_padded_image(road, dtype, shape):
    images = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    offsets = np.stack(np.meshgrid(range(7), range(7)), -1).reshape(-1, 2).astype("int32")
    for flips in (np.zeros(49, "int32"), np.ones(49, "int32")):
        result = ROADS[road](images, offsets, flips)
        assert result.dtype == dtype
        np.testing.assert_array_equal(result, cropped(images, offsets, flips, 3))


def in_a_model(layer, images):
    inputs = keras.Input(images.shape[1:])
    return keras.Model(inputs, layer(inputs))(images, training=True).numpy()


def in_tf_data(layer, images):
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(32)
    return np.concatenate([*dataset.map(lambda x: layer(x, training=True)).as_numpy_iterator()])


@pytest.mark.parametrize(
    "call", [in_a_model, in_tf_data, lambda layer, x: layer(x, training=True).numpy()]
)
def test_the_layer_gives_each_image_an_offset_and_a_coin_of_its_own(call):
    images = coordinates(128, 12)
    outputs = call(ReflectPadCrop(4, seed=1), images)
    np.testing.assert_array_equal(outputs[..., 2], images[..., 2])  # no image in another's place
    draws = draws_of(outputs)
    assert len(np.unique(draws[:, :2], axis=0)) > 50
    assert 40 < draws[:, 2].sum() < 88
    np.testing.assert_array_equal(
        outputs, cropped(images, draws[:, :2], draws[:, 2], 4)
    )  # the image's number too


def test_keras_random_crop_has_one_offset_for_the_whole_batch_and_ours_has_not():
    images = coordinates(64, 12)
    padded = np.pad(images, [(0, 0), (4, 4), (4, 4), (0, 0)], mode="reflect")
    theirs = keras.layers.RandomCrop(12, 12, seed=0)(padded, training=True).numpy()
    ours = ReflectPadCrop(4, seed=0)(images, training=True).numpy()
    assert len(np.unique(draws_of(theirs), axis=0)) == 1
    assert len(np.unique(draws_of(ours), axis=0)) > 40


def layer_draws(count):
    outputs = ReflectPadCrop(4, seed=0)(coordinates(count, 12), training=True).numpy()
    return draws_of(outputs)


def run_draws(count):
    offsets, flips = draw_crop(epoch_draws(0, 0, count)[1], 4, True)
    return np.concatenate([offsets, flips[:, None]], axis=1)


@pytest.mark.parametrize("draw", [layer_draws, run_draws])
def test_all_offsets_and_both_coins_are_equally_likely(draw):
    draws = draw(81 * 2 * 50)
    counts = np.bincount(draws @ [18, 2, 1], minlength=162)  # offsets and coin together
    assert scipy.stats.chisquare(counts).pvalue > 0.001
    assert scipy.stats.chisquare(counts.reshape(81, 2).sum(axis=1)).pvalue > 0.001


def test_without_flip_none_is_mirrored():
    outputs = ReflectPadCrop(4, horizontal_flip=False, seed=0)(coordinates(64, 12), training=True)
    assert draws_of(outputs.numpy())[:, 2].sum() == 0


def test_outside_training_images_pass_unchanged_also_from_a_saved_model(tmp_path):
    images = coordinates(8, 12)
    inputs = keras.Input((12, 12, 3))
    model = keras.Model(inputs, ReflectPadCrop(2, horizontal_flip=False, seed=5)(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one in (model, loaded):
        np.testing.assert_array_equal(one(images), images)
        np.testing.assert_array_equal(one.predict(images, verbose=0), images)
    config = loaded.layers[-1].get_config()
    assert (config["padding"], config["horizontal_flip"], config["seed"]) == (2, False, 5)


def test_the_layer_keeps_the_images_type_under_a_mixed_policy():
    for dtype in ("uint8", "float32"):
        layer = ReflectPadCrop(4, seed=1, dtype="mixed_bfloat16")
        outputs = layer(coordinates(64, 12).astype(dtype), training=True)
        assert outputs.dtype == dtype
        draws_of(outputs.numpy().astype("float32"))  # pixels exact


@pytest.mark.parametrize("padding", [-1, 8, 9])
def test_a_padding_that_cannot_be_reflected_is_an_error(padding):
    with pytest.raises(ValueError, match=f"padding={padding}"):
        ReflectPadCrop(padding)(np.zeros((1, 8, 9, 3), "uint8"), training=True)
