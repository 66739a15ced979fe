"""Checks of flags that several verbs share."""

from pathlib import Path


def refuse(given, kind):
    """Raise a ValueError if flags are given that are not for a kind of model: a dict by name."""
    names = ", ".join(name for name, value in given.items() if value)
    if names:
        raise ValueError(f"The model is {kind}, and these are for classifiers: {names}")


def check_folder(flag, path):
    """Raise a ValueError if what should become a folder is a file."""
    if path is not None and Path(path).exists() and not Path(path).is_dir():
        raise ValueError(f"{flag} should be a folder, new or there. Received: {path}, a file")
