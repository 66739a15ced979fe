"""Files that are written whole or not at all."""

import contextlib
import errno
import json
import os
import re
import shutil
import tempfile
import time
from pathlib import Path

import filelock

DAY = 24 * 60 * 60  # seconds
ASIDE = re.compile(r"\.(.+)\.[a-z0-9_]{8}")  # the directories of `written_aside`
TEMPORARY = ".*.tmp.*"  # matches what a killed process leaves
# Control characters, line breaks, and bytes in a file name that are not UTF-8.
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def printable(text):
    """Escape whatever would break a line on a terminal or in a UTF-8 file."""

    def escape(match):
        code = ord(match[0])
        return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else repr(match[0])[1:-1]

    return UNPRINTABLE.sub(escape, text)


@contextlib.contextmanager
def replacing(path):
    """Yield a path beside `path` to write a file to. At the end that file replaces `path`.

    If the body raises, nothing is left behind and `path` is unchanged.
    """
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}.tmp.{path.name}")
    try:
        with _full_disk(path):
            yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _full_disk(path):
    """Name the file that was being written if a full-disk error does not."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT) and error.filename is None:
            error.filename = str(path)
        raise


def write_json(path, value):
    """Write a value as indented JSON."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n")


@contextlib.contextmanager
def written_aside(path, *, overwrite, is_ours, kind):
    """Yield a path for an artifact, in a hidden sibling directory. At the end it replaces `path`.

    If the body raises, nothing is left behind and `path` is unchanged.

    Args:
        path: the file or directory to make.
        overwrite: bool, whether what is at `path` may be replaced.
        is_ours: function that takes a `Path` and tells whether it is of the kind being written.
            Nothing else is ever replaced.
        kind: str, what is being written, for messages.

    Raises:
        FileExistsError: something at `path` may not be replaced, or appeared there meanwhile.
    """
    path = Path(os.path.abspath(path))
    _check(path, overwrite, is_ours, kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    with (
        tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as hidden,
        locked(Path(hidden, "lock")),
    ):
        # One level down, so that the artifact gets the permissions of any new file.
        new, old = Path(hidden, "new", path.name), Path(hidden, "old")
        new.parent.mkdir()
        with _full_disk(path):
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


@contextlib.contextmanager
def locked(path, wait=True):
    """Hold a lock on a file, created if needed. Yields whether the lock is held.

    The operating system releases the lock when the process ends, however it ends. Where locking is
    not possible (on some network file systems, in a read-only directory), it is not held.

    Args:
        path: the file. Deleting it makes the lock meaningless.
        wait: bool, whether to wait until no other process holds it.

    Raises:
        BlockingIOError: another process holds it, and `wait` is False.
    """
    lock = filelock.FileLock(path)
    try:
        lock.acquire(blocking=wait)
    except filelock.Timeout as error:
        raise BlockingIOError(f"Another process holds {path}") from error
    except (OSError, NotImplementedError):
        pass
    try:
        yield lock.is_locked
    finally:
        lock.release()


def _sweep(directory):
    """Delete what killed processes left behind in `written_aside`, after a day."""
    for left in directory.iterdir():
        if match := ASIDE.fullmatch(left.name):
            with contextlib.suppress(OSError):  # it is another user's, or was just swept
                _sweep_one(left, directory / match[1])


def _sweep_one(left, path):
    if not left.is_dir() or time.time() - left.stat().st_mtime < DAY:
        return
    names = set(os.listdir(left))
    # It was killed while replacing something, and "old" is the only copy of that.
    is_last = "old" in names and not os.path.lexists(path)
    if "new" in names and names <= {"new", "old", "lock"} and not is_last:
        with locked(left / "lock", wait=False) as held:
            if held:
                shutil.rmtree(left)


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


def distinct(stems):
    """Names for files in one folder: the stems, with a number where one is taken; a list of str."""
    taken: set = set()
    names = []
    for stem in stems:
        name, number = stem, 1
        while name in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name)
        names.append(name)
    return names
