"""Files that are there whole or not at all."""

import contextlib
import json
import os
import re
import tempfile
from pathlib import Path

TEMPORARY = ".*.tmp.*"  # matches what a killed process leaves
# Control characters, line breaks, and the bytes of a file's name that are not UTF-8.
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def printable(text):
    """A text for a line of a terminal or of a file in UTF-8: what breaks either is escaped."""

    def escape(match):
        code = ord(match[0])
        return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else repr(match[0])[1:-1]

    return UNPRINTABLE.sub(escape, text)


@contextlib.contextmanager
def replacing(path):
    """Give a path beside `path` to write a file to, which takes its place at the end.

    When the body raises, nothing is left behind and `path` is as it was.
    """
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}.tmp.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path, value):
    """Write a value as indented JSON."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n")


@contextlib.contextmanager
def written_aside(path, *, overwrite, is_ours, kind):
    """Give a path for an artifact, in a hidden sibling directory, that replaces `path` at the end.

    When the body raises, nothing is left behind and `path` is as it was.

    Args:
        path: the file or directory to make.
        overwrite: bool, whether what is there may be replaced.
        is_ours: function of a `Path`, whether what is there is of the kind being written;
            nothing else is ever replaced.
        kind: str, what is written, for the messages.

    Raises:
        FileExistsError: there is something at `path` that may not be replaced, or it appeared
            meanwhile.
    """
    path = Path(os.path.abspath(path))
    _check(path, overwrite, is_ours, kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as hidden:
        # One level down, so that the artifact has the permissions of any new file.
        new, old = Path(hidden, "new", path.name), Path(hidden, "old")
        new.parent.mkdir()
        yield new
        _check(path, overwrite, is_ours, kind)
        if path.is_dir():
            os.replace(path, old)
        try:
            os.replace(new, path)
        except OSError:
            if old.exists():
                os.replace(old, path)
            raise


def _check(path, overwrite, is_ours, kind):
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise FileExistsError(
            f"Expected a path where nothing is, or `overwrite=True`. Received: {path}"
        )
    if not is_ours(path):
        raise FileExistsError(
            f"`overwrite=True` replaces {kind} only, and {path} is something else."
        )
