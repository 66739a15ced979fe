"""Checks that an encoder could have written the LZW codes of a GIF.

giflib draws something for codes that are not defined yet; Pillow refuses them. The number of bits
in a code depends on its position alone, so thousands are checked at once.
"""

from keras_wrn.export.codecs.octets import check, integer

WINDOW = 4096  # codes that are checked at once
FULL = 2**12  # the most codes in a table
SOON = 3000  # codes; an encoder clears its table when it is about full
EARLY = 200  # how often a table may be cleared sooner


def check_codes(octets, bits):
    """Fail on codes that no encoder writes, or if the table is cleared early too often.

    Args:
        octets: uint8 (n,), the contents of the blocks.
        bits: int64 (), the bits of a pixel, 2 to 8.
    """
    import tensorflow as tf

    clear = 2**bits
    total = 8 * tf.size(octets, tf.int64)
    padded = tf.concat([octets, tf.zeros(3, tf.uint8)], 0)
    powers = tf.constant([2**i for i in range(12)], tf.int64)

    def look(at, before, early, _, sound):
        place = before + tf.range(WINDOW, dtype=tf.int64)  # since the table was cleared
        free = tf.minimum(clear + 1 + tf.maximum(place, 1), FULL)
        widths = tf.searchsorted(powers, free, side="right", out_type=tf.int64)
        starts = at + tf.cumsum(widths, exclusive=True)
        index = tf.minimum(starts // 8, total // 8)
        parts = [tf.cast(tf.gather(padded, index + i), tf.int64) * 256**i for i in range(3)]
        codes = tf.add_n(parts) // tf.gather(powers, starts % 8) % 2**widths
        ended = starts + widths > total
        special = (codes == clear) | (codes == clear + 1)
        stops = tf.concat([ended | special, [True]], 0)
        kept = tf.argmax(stops)
        known = codes <= tf.where(place == 0, clear - 1, free)
        sound = sound & tf.reduce_all(known[:kept])
        following = tf.concat([starts, starts[-1:] + widths[-1:]], 0)
        cleared = tf.concat([~ended & (codes == clear), [False]], 0)[kept]
        done = (kept < WINDOW) & ~cleared
        length = tf.where(cleared, tf.gather(widths, tf.minimum(kept, WINDOW - 1)), 0)
        early += tf.cast(cleared & (before + kept < SOON), tf.int32)
        before = tf.where(cleared, integer(0), before + WINDOW)
        return following[kept] + length, before, early, done, sound

    _, _, early, _, sound = tf.while_loop(
        lambda at, before, early, done, sound: ~done & sound & (early < EARLY),
        look,
        (integer(0), integer(0), 0, False, (bits >= 2) & (bits <= 8)),
    )
    return check(sound & (early < EARLY), "codes of an encoder")
