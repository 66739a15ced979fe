"""Images in every mode and format that Pillow writes, and files that are these, damaged."""

import struct
import zlib

import numpy as np
from encoded import ENCODED, encode, photo
from hostile import chunk
from PIL import Image, PngImagePlugin

RGB = photo((41, 29))
GREY = RGB.convert("L")
RGBA = Image.merge("RGBA", (*RGB.split(), GREY))
DEEP = np.asarray(GREY).astype("uint16") * 257 - np.arange(41, dtype="uint16")
MODES = {
    **{mode: RGB.convert(mode) for mode in ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV")},
    **{mode: RGB.convert(mode) for mode in ("I", "F")},
    **{mode: RGBA.convert(mode) for mode in ("LA", "PA", "RGBA", "RGBa")},
    "I;16": Image.fromarray(DEEP),
}
PROFILE = {"icc_profile": bytes(range(200))}
OPTIONS: dict[str, list[dict]] = {
    "JPEG": [
        {}, {"quality": 100}, {"subsampling": 0}, {"subsampling": 1}, {"progressive": True},
        {"restart_marker_blocks": 2}, {"keep_rgb": True}, {"comment": b"words"}, PROFILE,
        {"progressive": True, "subsampling": 0, "restart_marker_rows": 1},
    ],
    "PNG": [
        {}, {"compress_level": 0}, {"transparency": 0}, {"bits": 1}, {"bits": 2}, {"bits": 4},
        {"dpi": (72, 72)}, PROFILE,
    ],
    "GIF": [{}, {"transparency": 0}, {"interlace": 0}, {"comment": b"c" * 300}, {"background": 3}],
    "BMP": [{}, {"dpi": (10, 10)}],
    "DIB": [{}],
    "WEBP": [{}, {"lossless": True}, {"quality": 10}, {"lossless": True, "exact": True}, PROFILE],
    "MPO": [{}],
}  # fmt: skip


def images():
    """Encoded images by name."""
    found = dict(ENCODED)
    for mode, image in MODES.items():
        for kind, settings in OPTIONS.items():
            for number, options in enumerate(settings):
                try:
                    found[f"{kind} {mode} {number}"] = encode(image, kind, **options)
                except (OSError, TypeError, ValueError):
                    continue  # a mode or an option that the format has not
    others = [GREY.convert("RGB"), RGB.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    for kind in ("GIF", "WEBP", "PNG", "MPO"):
        found[f"{kind} of three"] = encode(RGB, kind, save_all=True, append_images=others)
    for colors in (2, 5, 17, 100, 256):
        found[f"GIF of {colors} colours"] = encode(RGB.quantize(colors), "GIF")
        found[f"PNG of {colors} colours"] = encode(RGB.quantize(colors), "PNG")
    text = PngImagePlugin.PngInfo()
    text.add_text("packed", "b" * 500, zip=True)
    text.add_itxt("unicode", "d" * 50)
    text.add_text("long", "f" * 70_000)
    found["PNG with texts"] = encode(RGB, "PNG", pnginfo=text)
    turned = Image.Exif()
    turned[0x0112] = 6
    for kind in ("JPEG", "PNG", "WEBP"):
        found[f"{kind} turned"] = encode(RGB, kind, exif=turned)
    generator = np.random.default_rng(0)
    for color, channels in ((0, 1), (2, 3), (4, 2), (6, 4)):
        for name, channel in (("8", "u1"), ("16", ">u2")):
            pixels = generator.integers(0, 2**16, (29, 41, channels)).astype(channel)
            found[f"PNG {color} interlaced {name}"] = interlaced(pixels, color)
    return found


def interlaced(pixels, color):
    """An interlaced PNG, which Pillow does not write."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    rows = b""
    for y, x, down, right in [*passes, (1, 0, 2, 1)]:
        part = pixels[y::down, x::right]
        rows += b"".join(b"\0" + row.tobytes() for row in part if part.size)
    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, color, 0, 0, 1)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def mutated(draw, data):
    """A file with some octets, parts or, with right check sums, chunks changed."""
    parts = chunks(data) if data.startswith(b"\x89PNG") and draw.random() < 0.5 else []
    if parts:
        place = draw.randrange(len(parts))
        kind, contents = parts[place]
        change = draw.randrange(5)
        if change < 2:
            parts[place] = kind, flipped(draw, contents)
        elif change == 2:
            parts[place] = kind, rearranged(draw, contents)
        elif change == 3:
            del parts[place]
        else:
            names = b"tRNS PLTE acTL fcTL iCCP zTXt iTXt gAMA bKGD eXIf pHYs abcd ABCD IEND IDAT"
            new = draw.choice(names.split()), draw.randbytes(draw.choice((0, 1, 3, 6, 26)))
            parts.insert(draw.randrange(len(parts) + 1), new)
        return data[:8] + b"".join(chunk(*part) for part in parts)
    places = joints(data)
    if places and draw.random() < 0.2:
        place = draw.choice(places)
        return data[:place] + inserted(draw, data) + data[place:]
    change = draw.random()
    if change < 0.6:
        return flipped(draw, data, draw.choice((None, 30, 60, 200, 650)))
    changed = rearranged(draw, data)
    return changed if change < 0.95 else flipped(draw, changed)


def chunks(data):
    """The chunks of a PNG, (kind, contents)."""
    found, at = [], 8
    while at + 8 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def joints(data):
    """Where another segment of a JPEG, or another block of a GIF, may stand."""
    found = []
    if data.startswith(b"\xff\xd8"):
        at = 2
        while data[at : at + 1] == b"\xff" and at + 4 <= len(data):
            found.append(at)
            if data[at + 1] == 0xDA:  # after which there is no telling
                break
            at += 2 + int.from_bytes(data[at + 2 : at + 4])
    elif data.startswith(b"GIF8") and len(data) > 13:
        at = 13 + (3 << 1 + data[10] % 8) * (data[10] >> 7)
        while data[at : at + 1] in (b"\x21", b"\x2c") and at + 11 <= len(data):
            found.append(at)
            if data[at] == 0x21:
                at += 2
            else:
                at += 11 + (3 << 1 + data[at + 9] % 8) * (data[at + 9] >> 7)
            while at < len(data) and data[at]:
                at += 1 + data[at]
            at += 1
        found.append(min(at, len(data)))
    return found


def inserted(draw, data):
    """A segment of a JPEG, or an extension of a GIF, of any contents."""
    body = draw.choice((b"", b"JFIF\0\1\1\0\0\1\0\1\0\0", b"Adobe\0\x64\0\0\0\0\0", b"\0\0\0\0"))
    body = draw.choice((body, draw.randbytes(draw.choice((1, 2, 4, 5, 12, 65, 300)))))
    if data.startswith(b"GIF8"):
        size = len(body) + draw.choice((0, 0, 0, 1, -1)) if body else 0
        label = draw.choice((0xF9, 0xF9, 0xFE, 0xFF, 0x01, draw.randrange(256)))
        return bytes((0x21, label, size % 256)) + body[:255] + b"\0"
    kinds = [
        0xE0,
        0xE1,
        0xE2,
        0xEE,
        0xFE,
        0xDD,
        0xDB,
        0xC4,
        0xC0,
        0xC2,
        0xC8,
        0xCC,
        0xD0,
        0xD8,
        0xDC,
    ]
    size = len(body) + 2 + draw.choice((0, 0, 0, 0, 1, -1))
    return (
        bytes((0xFF, draw.choice((*kinds, draw.randrange(256))))) + struct.pack(">H", size) + body
    )


def flipped(draw, data, within=None):
    """Some octets among the first of a file are others."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 6)) if data else 0):
        place = draw.randrange(min(len(data), within or len(data)))
        bit = changed[place] ^ 1 << draw.randrange(8)
        changed[place] = draw.choice((bit, bit, draw.randrange(256), 0, 255, 128))
    return bytes(changed)


def rearranged(draw, data):
    """A part of a file is cut off, left out, doubled, or put in."""
    start = draw.randrange(len(data) + 1)
    end = min(len(data), start + draw.choice((1, 2, 4, 16, 100)))
    return draw.choice(
        (
            data[:start],
            data[:start] + draw.randbytes(draw.choice((1, 2, 4, 20))) + data[start:],
            data[:start] + data[end:],
            data[:end] + data[start:],
            data + draw.randbytes(draw.choice((1, 10, 300))),
            data[: max(0, len(data) - draw.choice((1, 2, 3, 4, 8, 12, 20)))],
        )
    )
