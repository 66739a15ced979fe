"""Class names: in one Unicode form, each a line that can be shown."""

import unicodedata

from keras_wrn.files import UNPRINTABLE


def one_form(name):
    """A name in NFC, the form used to compare names; file systems may return another."""
    return unicodedata.normalize("NFC", name)


def first_word(name):
    """The first of a class's names: "tench" for "tench, Tinca tinca"."""
    return name.partition(", ")[0]


def checked_names(names):
    """Return class names as a tuple of str in one form, after checking them.

    Raises:
        ValueError: they are not a list of names, or one is blank or contains a line break, a
            control character or invalid Unicode. (Label files hold one name per line.)
    """
    names = names if isinstance(names, str) else tuple(names)
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"`class_names` should be a list of names. Received: class_names={names!r}"
        )
    wrong = [name for name in names if UNPRINTABLE.search(name) or not name.strip()]
    if wrong:
        raise ValueError(
            "`class_names` should each be a line of text, without line breaks and control "
            f"characters. Received: {', '.join(map(repr, wrong[:5]))}"
        )
    return tuple(map(one_form, names))
