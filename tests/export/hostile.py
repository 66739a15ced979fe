"""Small files that would cost a server much, and the largest that it takes."""

import io
import struct
import zlib

from encoded import PNG, encode, photo
from PIL import Image

SIDE = 4096  # of the largest images that are taken
ALL_GREEN = bytes.fromhex("071011fd0f4444ff03")  # the pixels of a lossless WebP, in no bits each


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, *before, bits=1, color=0, first=()):
    """A PNG of zeros."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    rows = bytes((1 + (width * bits * channels + 7) // 8) * height)
    parts = [*first, header, *before, chunk(b"IDAT", zlib.compress(rows, 9)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def webp(width, height):
    """A lossless WebP of one colour, 34 bytes."""
    sides = (width - 1 | height - 1 << 14).to_bytes(4, "little")
    return b"RIFF\x1a\0\0\0WEBPVP8L\x0e\0\0\0\x2f" + sides + ALL_GREEN


def extended_webp(width, height, chunks):
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X\n\0\0\0" + bytes(4) + canvas + chunks
    return b"RIFF" + struct.pack("<I", len(body)) + body


def with_scans(data, count):
    """A progressive JPEG whose last scan comes so many times."""
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * count + b"\xff\xd9"


def gif_of(codes, bits, size=(64, 64), before=b""):
    """A GIF with these bytes of codes."""
    blocks = b"".join(
        bytes([len(codes[i : i + 255])]) + codes[i : i + 255] for i in range(0, len(codes), 255)
    )
    sides = struct.pack("<HH", *size)
    colors = b"\x80\0\0" + bytes(6)
    frame = b"\x2c" + bytes(4) + sides + b"\0" + bytes([bits]) + blocks + b"\0"
    return b"GIF89a" + sides + colors + before + frame + b";"


def progressive(side):
    return encode(Image.new("RGB", (side, side), (200, 30, 90)), "JPEG", progressive=True)


def refused():
    """Files by name that have to be refused, each in a moment."""
    bomb = zlib.compress(bytes(2**26), 9)
    small = encode(photo(), "JPEG")
    comments = b"\x21\xfe" + b"\x01x" * 500_000 + b"\0"
    irregular = b"\x21\xfe" + b"\x01x\x02xx" * 200_000 + b"\0"
    return {
        "webp": webp(16383, 4096),
        "webp extended": extended_webp(16383, 16383, webp(16383, 16383)[12:]),
        "webp larger than its canvas": extended_webp(8, 8, webp(16383, 16383)[12:]),
        "png": png(8192, 8192),
        "png not its header first": png(13000, 13000, first=[chunk(b"abcd", PNG[8:29])]),
        "png texts": png(8, 8, *[chunk(b"zTXt", b"a\0\0" + bomb[:24000])] * 50),
        "png short texts": png(
            8, 8, *[chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**20)))] * 1000
        ),
        "png chunks": png(8, 8, *[chunk(b"abcd", b"")] * 100_000),
        "jpeg scans": with_scans(progressive(SIDE), 500),
        "jpeg segments": small[:2] + b"\xff\xfe\0\x02" * 500_000 + small[2:],
        "gif comments": gif_of(b"\x44\x01", 2, (1, 1), comments),
        "gif irregular comments": gif_of(b"\x44\x01", 2, (1, 1), irregular),
        "gif extensions": gif_of(b"\x44\x01", 2, (1, 1), b"\x21\xf0\0" * 500_000),
        "gif clears": gif_of(b"\x24\x49\x92" * 700_000, 2),
        "webp chunks": extended_webp(8, 8, b"EXIF\0\0\0\0" * 100_000),
    }


def largest(side=SIDE):
    """Files by name with as many pixels as are taken."""
    flat = Image.new("RGB", (side, side), (200, 30, 90))
    return {
        "webp": webp(side, side),
        "webp lossy": encode(flat, "WEBP", method=0),
        "webp alpha": encode(flat.convert("RGBA"), "WEBP", method=0, lossless=True, exact=True),
        "png": png(side, side),
        "png 16 bits": png(side, side, bits=16),
        "png palette": png(side, side, chunk(b"PLTE", bytes(6)), color=3, bits=8),
        "png alpha": png(side, side, color=6, bits=16),
        "jpeg": encode(flat, "JPEG"),
        "jpeg progressive": progressive(side),
        "jpeg scans": with_scans(progressive(side), 8),
        "gif": encode(flat.quantize(2), "GIF"),
        "bmp": bmp(side),
    }


def bmp(side):
    data = io.BytesIO()
    Image.new("L", (side, side), 90).save(data, "BMP")
    return data.getvalue()
