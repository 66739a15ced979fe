"""One image, however odd its file: its pixels, or an error with its name."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from keras_wrn.data import Preprocessing
from keras_wrn.data.folder import scan_folder, stream_folder
from keras_wrn.data.images import image_pixels, picture
from keras_wrn.errors import DataError

PREPROCESSING = Preprocessing(8)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def palette_png():
    """A PNG of palette colours, with their transparency, but without the palette."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 3, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(9 * 8)))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"tRNS", b"\0") + pixels + chunk(b"IEND", b"")


def encoded(kind, size=(20, 10), color=(200, 30, 60), **settings):
    data = io.BytesIO()
    Image.new("RGB", size, color).save(data, kind, **settings)
    return data.getvalue()


ODD = {
    "palette.png": palette_png(),
    "texture.png": b"DDS " + struct.pack("<I", 124) + bytes(200),
    "page.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
    "scan.png": encoded("TIFF"),
    "icon.png": encoded("ICO"),
    "map.bmp": encoded("PPM"),
    "thin.png": encoded("PNG", (1, 9_000_000)),
    "empty.gif": b"",
    "cut.webp": encoded("WEBP")[:30],
}


@pytest.mark.parametrize("name", ODD)
def test_whatever_is_wrong_with_a_file_is_said_with_its_name(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(ODD[name])
    with pytest.raises(ValueError, match=rf"image for the file .*{name}; it cannot be decoded"):
        image_pixels(path, PREPROCESSING)
    with pytest.raises(ValueError, match="image for image 3; it cannot be decoded"):
        image_pixels(ODD[name], PREPROCESSING, "image 3")


@pytest.mark.parametrize("error", [AssertionError, NotImplementedError, KeyError, MemoryError])
def test_whatever_a_decoder_raises_is_of_its_image(monkeypatch, error):
    def fail(*_):
        raise error

    data = encoded("PNG")
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fail)
    with pytest.raises(
        ValueError, match=rf"x\.png; it cannot be decoded: its decoder fails with {error.__name__}"
    ):
        image_pixels(data, PREPROCESSING, "x.png")
    # A PIL image reads its file late.
    lazy = Image.open(io.BytesIO(data))
    for use in (lambda: image_pixels(lazy, PREPROCESSING), lambda: picture(lazy)):
        with pytest.raises(ValueError, match="it cannot be decoded"):
            use()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "MPO"])
def test_every_format_of_the_readme_is_read(kind):
    pixels = image_pixels(encoded(kind), PREPROCESSING)
    assert pixels.shape == (8, 8, 3)
    assert np.abs(pixels.astype(int) - (200, 30, 60)).max() < 8


def test_a_folder_with_an_odd_file_names_it(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(encoded("PNG"))
    for name in ("palette.png", "thin.png"):
        (tmp_path / "dog" / name).write_bytes(ODD[name])
    with pytest.raises(DataError, match=r"2 images .*dog/palette\.png.*dog/thin\.png"):
        list(stream_folder(scan_folder(tmp_path), PREPROCESSING, 8))
