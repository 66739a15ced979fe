"""What the graph decodes is Pillow's image to the last bit, or is refused."""

import random
import struct
import zlib

import keras
import numpy as np
import pytest
from encoded import ENCODED, JPEG, PNG, RGB, encode
from hostile import chunk, gif_of, png
from mutations import GREY, RGBA, images, mutated

from keras_wrn.data.images import open_image

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="artifacts are written on TensorFlow"
)
IMAGES = images()
CMYK = {name for name in IMAGES if "CMYK" in name or "cmyk" in name}
# What Pillow reads, and the graph does not.
LEFT_OUT = {name for name in IMAGES if name.startswith(("DIB", "BMP 1"))}
LEFT_OUT |= {"PNG of three", "WEBP of three"}


@pytest.fixture(scope="module")
def ours():
    """A function that decodes an image in a graph: uint8 (height, width, 3), or None."""
    import tensorflow as tf

    from keras_wrn.export import codecs

    @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
    def both(data):
        return codecs.decode(data), codecs.image_size(data)

    def decode(data):
        try:
            image, size = both(tf.constant(data))
        except (tf.errors.OpError, UnicodeDecodeError):  # a message that quotes the file
            return None
        assert tuple(size.numpy()) == image.shape[:2]
        return image.numpy()

    return decode


def pillows(data):
    """What Pillow decodes, or None, whatever it raises."""
    try:
        return np.asarray(open_image(data, "the image").convert("RGB"))
    except Exception:
        return None


def difference(name, found, expected):
    """What is wrong with an image that was found, or None."""
    if found is None:
        return None
    if expected is None:
        return f"{name}: Pillow refuses it"
    if found.shape != expected.shape:
        return f"{name}: {found.shape} for {expected.shape}"
    most = np.abs(found.astype(int) - expected).max()
    # TensorFlow itself makes RGB of four inks, and rounds down.
    return f"{name}: {most} levels" if most > (name in CMYK) else None


@pytest.mark.filterwarnings("ignore")
def test_every_mode_and_format_is_the_same_image_or_refused(ours):
    wrong, refused = [], set()
    for name, data in IMAGES.items():
        found = ours(data)
        if found is None:
            refused.add(name)
        wrong.append(difference(name, found, pillows(data)))
    assert len(IMAGES) > 200 and [each for each in wrong if each] == []
    assert refused == LEFT_OUT


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(4))
def test_a_mutated_file_is_the_same_image_or_refused(ours, seed):
    draw = random.Random(seed)
    names = sorted(name for name in IMAGES if len(IMAGES[name]) < 20_000)
    wrong, equal = [], 0
    for _ in range(500):
        name = draw.choice(names)
        data = mutated(draw, IMAGES[name])
        found = ours(data)
        wrong.append(difference(name, found, pillows(data)))
        equal += found is not None
    assert [each for each in wrong if each] == []
    assert equal > 100


def test_what_is_transparent_has_its_colour(ours):
    image = RGB.quantize(16)
    for kind in ("GIF", "PNG"):
        data = encode(image, kind, transparency=0)
        np.testing.assert_array_equal(ours(data), np.asarray(image.convert("RGB")))


def replaced(data, at, new):
    return data[:at] + new + data[at + len(new) :]


def two_readings():
    """Files of which decoders see one image or another, by name."""
    gif, bmp = encode(RGB, "GIF"), encode(RGBA, "BMP")
    progressive = encode(RGB, "JPEG", progressive=True)
    scans = [i for i in range(len(progressive)) if progressive.startswith(b"\xff\xda", i)]
    cmyk = ENCODED["jpeg_cmyk"]
    ends = cmyk.index(b"Adobe") - 4
    palette = png(8, 8, chunk(b"PLTE", bytes(30)), color=3, bits=8).replace(
        chunk(b"IDAT", zlib.compress(bytes(72), 9)),
        chunk(b"IDAT", zlib.compress(b"\0\xc8" + bytes(70), 9)),
    )
    start = gif.index(frame := b"\x2c" + bytes(4) + struct.pack("<HH", *RGB.size))

    def extended(extension):
        return gif[:start] + extension + gif[start:]

    wrong_sum = bytearray(png(8, 8, chunk(b"gAMA", b"\0\0\xb1\x8f")))
    wrong_sum[33 + 8] ^= 1
    return {
        "a frame smaller than the screen": replaced(gif, 6, struct.pack("<HH", 120, 90)),
        "a frame beyond the screen": gif.replace(frame, b"\x2c\5\0\5\0" + frame[5:]),
        "codes that stand for nothing": gif_of(b"\x04\xff\xff\xff", 2),
        "a frame that ends early": gif_of(b"\x44\x01", 2),
        "masks": replaced(bmp, 30, b"\3\0\0\0"),
        "sixteen bits": replaced(bmp, 28, b"\x10\0"),
        "an animation": replaced(encode(RGB, "WEBP", exif=b"Exif\0\0"), 20, b"\x02"),
        "not all scans": progressive[: scans[3]] + b"\xff\xd9",
        "CMYK of nobody": cmyk[:ends] + cmyk[ends + 16 :],
        "a colour beyond the palette": palette,
        "a wrong check sum": bytes(wrong_sum),
        "texts of 70 MB": png(
            8, 8, *[chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**20), 9))] * 70
        ),
        "an extension without a block": extended(b"\x21\x79\0"),
        "a loop without a block": extended(b"\x21\xff\x0bNETSCAPE2.0\0"),
        "a short JFIF segment": JPEG[:2] + b"\xff\xe0\0\x08JFIF\0\1" + JPEG[2:],
        "a short Adobe segment": JPEG[:2] + b"\xff\xee\0\x08Adobe\0" + JPEG[2:],
        "a short profile": JPEG[:2] + b"\xff\xe2\0\x0fICC_PROFILE\0\1" + JPEG[2:],
        "a chunk before the header": PNG[:8] + chunk(b"abcd", b"") + PNG[8:],
        "two headers": PNG[:33] + PNG[8:],
        "no end": PNG[:-12],
        "a JPEG without end": JPEG[:-2],
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", two_readings())
def test_what_can_be_read_in_two_ways_is_refused(ours, name):
    assert ours(two_readings()[name]) is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP"])
def test_what_follows_an_image_is_not_looked_at(ours, kind):
    data = encode(RGB, kind)
    more = data + b"\xff\xda" * 1000 + encode(GREY, kind)
    np.testing.assert_array_equal(ours(more), pillows(data))
