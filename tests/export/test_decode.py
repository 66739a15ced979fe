"""The graph's decoding against Pillow's, on every kind of image that people send."""

import os
from pathlib import Path

import keras
import numpy as np
import pytest
from encoded import BROKEN, ENCODED, JPEG, PNG, encode
from PIL import Image

import keras_wrn
from keras_wrn.data.images import image_pixels

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="artifacts are written on TensorFlow"
)

PREPROCESSINGS = {
    "bicubic": keras_wrn.Preprocessing(64, crop=0.875, interpolation="bicubic"),
    "bilinear": keras_wrn.Preprocessing(32),
    "nearest": keras_wrn.Preprocessing(32, interpolation="nearest"),
    "grey": keras_wrn.Preprocessing(32, mean=(0.5,), std=(1.0,)),
}


@pytest.fixture(scope="module", params=PREPROCESSINGS)
def decoder(request):
    import tensorflow as tf

    from keras_wrn.export.decode import decode_images

    preprocessing = PREPROCESSINGS[request.param]
    signature = [tf.TensorSpec((None,), tf.string)]
    function = tf.function(lambda data: decode_images(data, preprocessing), signature)
    return preprocessing, lambda data: [t.numpy() for t in function(tf.constant(data, tf.string))]


def test_every_kind_of_image_in_one_batch_as_pillow_has_it(decoder):
    preprocessing, decode = decoder
    pixels, valid = decode(list(ENCODED.values()))
    assert valid.all(), [name for name, ok in zip(ENCODED, valid, strict=True) if not ok]
    assert pixels.dtype == "float32" and pixels.shape[1:] == (
        preprocessing.size, preprocessing.size, preprocessing.channels,
    )  # fmt: skip
    for name, data, found in zip(ENCODED, ENCODED.values(), pixels, strict=True):
        expected = image_pixels(data, preprocessing).astype("float32")
        assert np.abs(found - expected).mean() < 0.1, name
        assert np.abs(found - expected).max() <= 2, name


def test_a_broken_image_spoils_only_its_row(decoder):
    preprocessing, decode = decoder
    broken = dict(BROKEN)
    if preprocessing.size * preprocessing.size * 65535 <= 2**26:
        del broken["thin"]
    batch = [data for bad in broken.values() for data in (bad, PNG, JPEG)]
    pixels, valid = decode(batch)
    assert valid.reshape(-1, 3).tolist() == [[False, True, True]] * len(broken)
    alone, _ = decode([PNG, JPEG])
    for index in range(len(broken)):
        assert (pixels[3 * index] == 0).all()
        np.testing.assert_array_equal(pixels[3 * index + 1 : 3 * index + 3], alone)
    pixels, valid = decode(list(broken.values()))
    assert not valid.any() and not pixels.any()


def test_an_empty_batch(decoder):
    preprocessing, decode = decoder
    pixels, valid = decode([])
    size = preprocessing.size
    assert (pixels.shape, valid.shape) == ((0, size, size, preprocessing.channels), (0,))


@pytest.mark.parametrize("name", ["png_bomb", "jpeg_bomb", "thin"])
def test_pillow_refuses_the_same_bombs(name):
    with pytest.raises(ValueError, match="pixels"):
        image_pixels(BROKEN[name], PREPROCESSINGS["bicubic"])


def test_sixteen_bits_are_scaled_to_eight():
    data = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype("uint16")
    image = encode(Image.fromarray(data), "PNG")
    pixels = image_pixels(image, keras_wrn.Preprocessing(64, mean=(0.5,), std=(1.0,)))
    assert np.abs(pixels[..., 0] - data / 257).max() <= 0.5


@pytest.mark.extra
def test_real_photos(decoder):
    folder = os.path.join(os.environ.get("TFDS_DATA_DIR", ""), "../images")
    files = [os.path.join(at, f) for at, _, names in os.walk(folder) for f in sorted(names)]
    files = [f for f in files if f.lower().endswith((".jpg", ".jpeg", ".png"))]
    if not files:
        pytest.skip("no photos beside TFDS_DATA_DIR")
    files = [file for i, file in enumerate(files) if i % 7 == 0 or "samples" in file]
    preprocessing, decode = decoder
    pixels, valid = decode([Path(f).read_bytes() for f in files])
    assert valid.all()
    for file, found in zip(files, pixels, strict=True):
        assert np.abs(found - image_pixels(file, preprocessing)).mean() < 0.1, file
