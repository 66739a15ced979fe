"""Names of classes: in one Unicode form, each a line that can be shown."""

import unicodedata

from keras_wrn.files import UNPRINTABLE


def one_form(name):
    """A name in the form in which names are compared: NFC, as file systems may give another."""
    return unicodedata.normalize("NFC", name)


def first_word(name):
    """The first of the words that a class goes by: "tench" of "tench, Tinca tinca"."""
    return name.partition(", ")[0]


def checked_names(names):
    """The names of classes, a tuple of str in one form.

    Raises:
        ValueError: they are no list of names, or one is blank or has a line break, a control
            character or what is no Unicode in it: files of labels hold a name a line.
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
