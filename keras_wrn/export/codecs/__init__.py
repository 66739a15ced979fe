"""Decodes one encoded image inside a TensorFlow graph: to exactly Pillow's pixels, or an error.

TensorFlow's decoders read much that Pillow refuses or reads differently. So each format is first
checked block by block, and only what both read alike is passed to TensorFlow, without the parts
that the pixels do not need. Every function raises a TensorFlow error for an image it cannot read.
"""

from keras_wrn.export.codecs import bmp, gif, jpeg, png, webp
from keras_wrn.export.codecs.octets import starts


def image_size(data):
    """Height and width that an encoded image, str (), declares: int64 (2,)."""
    return _by_format(data, "size")


def decode(data):
    """Decode one image, str (), to uint8 (height, width, 3)."""
    image = _by_format(data, "decode")
    image.set_shape((None, None, 3))
    return image


def _by_format(data, name):
    """Call the function of this name in the codec that the first bytes belong to."""
    import tensorflow as tf

    cases = [
        (starts(data, 0, b"\xff\xd8\xff"), jpeg),
        (starts(data, 0, png.SIGNATURE + png.IHDR), png),
        (starts(data, 0, b"GIF87a") | starts(data, 0, b"GIF89a"), gif),
        (starts(data, 0, b"BM"), bmp),
    ]
    functions = [(is_it, lambda codec=codec: getattr(codec, name)(data)) for is_it, codec in cases]
    return tf.case(functions, default=lambda: getattr(webp, name)(data))
