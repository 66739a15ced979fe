"""Files that are there whole or not at all."""

import contextlib
import json
import os
from pathlib import Path

TEMPORARY = ".*.tmp.*"  # matches what a killed process leaves


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
