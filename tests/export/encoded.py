"""Encoded images of every kind that people send, and broken ones."""

import io
import zlib

import numpy as np
from PIL import Image


def photo(size=(97, 61)):
    """A smooth picture with some noise, different in each channel, RGB."""
    y, x = np.mgrid[: size[1], : size[0]] / 10
    waves = np.stack([np.sin(x), np.cos(y), np.sin(x + y)], axis=-1)
    noise = np.random.default_rng(0).normal(0, 12, waves.shape)
    return Image.fromarray(np.clip(128 + 90 * waves + noise, 0, 255).astype("uint8"))


def encode(image, kind, **settings):
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def gif_with_a_huge_frame(data, which):
    """A GIF of 97 x 61 in which one frame, by its number, says that it has 65,535 x 65,535."""
    sides = (97).to_bytes(2, "little") + (61).to_bytes(2, "little")
    parts = data.split(b"\x2c" + bytes(4) + sides)
    assert len(parts) > which + 1
    joints = [sides] * (len(parts) - 1)
    joints[which] = b"\xff" * 4
    joined = [
        b"\x2c" + bytes(4) + joint + part for joint, part in zip(joints, parts[1:], strict=True)
    ]
    return parts[0] + b"".join(joined)


RGB = photo()
GREY = RGB.convert("L")
RGBA = Image.merge("RGBA", (*RGB.split(), GREY))
SIXTEEN = np.asarray(GREY).astype("uint16") * 257 - np.arange(97, dtype="uint16") % 100

ENCODED = {
    "jpeg": encode(RGB, "JPEG"),
    "jpeg_subsampled": encode(RGB, "JPEG", subsampling=2),
    "jpeg_progressive": encode(RGB, "JPEG", progressive=True),
    "jpeg_grey": encode(GREY, "JPEG"),
    "jpeg_cmyk": encode(RGB.convert("CMYK"), "JPEG"),
    "png": encode(RGB, "PNG"),
    "png_alpha": encode(RGBA, "PNG"),
    "png_grey": encode(GREY, "PNG"),
    "png_grey_alpha": encode(RGB.convert("LA"), "PNG"),
    "png_palette": encode(RGB.convert("P"), "PNG"),
    "png_one_bit": encode(RGB.convert("1"), "PNG"),
    "png_16_bit": encode(Image.fromarray(SIXTEEN), "PNG"),
    "gif": encode(RGB, "GIF"),
    "gif_animated": encode(RGB, "GIF", save_all=True, append_images=[GREY.convert("RGB")]),
    "bmp": encode(RGB, "BMP"),
    "bmp_alpha": encode(RGBA, "BMP"),
    "bmp_grey": encode(GREY, "BMP"),
    "bmp_palette": encode(RGB.convert("P"), "BMP"),
    "webp": encode(RGB, "WEBP"),
    "webp_lossless": encode(RGB, "WEBP", lossless=True),
    "webp_alpha": encode(RGBA, "WEBP"),
    "webp_lossless_alpha": encode(RGBA, "WEBP", lossless=True),
    "tall": encode(photo((20, 300)), "PNG"),
    "tiny": encode(photo((5, 3)), "PNG"),
    "large": encode(photo((800, 601)), "JPEG"),
}
# The second frame, which nobody asks about, is declared huge.
ENCODED["gif_later_frame_bomb"] = gif_with_a_huge_frame(ENCODED["gif_animated"], 1)
PNG, JPEG = ENCODED["png"], ENCODED["jpeg"]
HUGE = 60000
HEADER = b"IHDR" + HUGE.to_bytes(4, "big") * 2 + PNG[24:29]
BROKEN = {
    "empty": b"",
    "garbage": bytes(range(256)),
    "text": b"hello",
    "jpeg_truncated": JPEG[: len(JPEG) // 2],
    "jpeg_header": JPEG[:20],
    "png_truncated": PNG[: len(PNG) // 2],
    "png_header": PNG[:33],
    "png_bomb": PNG[:12] + HEADER + zlib.crc32(HEADER).to_bytes(4, "big") + PNG[33:],
    "jpeg_bomb": JPEG.replace((61).to_bytes(2, "big") + (97).to_bytes(2, "big"), b"\xff" * 4, 1),
    "gif_frame_bomb": gif_with_a_huge_frame(ENCODED["gif"], 0),
    "gif_bomb": b"GIF89a" + b"\xff" * 4 + ENCODED["gif"][10:],
    "bmp_bomb": ENCODED["bmp"][:18] + HUGE.to_bytes(4, "little") * 2 + ENCODED["bmp"][26:],
    "webp_bomb": b"RIFF0000WEBPVP8X" + b"\x0a\x00\x00\x00" + b"\x00" * 4 + b"\xff" * 6,
    "webp_header": ENCODED["webp"][:24],
    "bmp_header": ENCODED["bmp"][:30],
    "gif_header": ENCODED["gif"][:8],
    "thin": encode(Image.new("L", (1, 65535)), "PNG"),  # 4,294,836,225 times 64 once resized
}
