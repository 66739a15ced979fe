"""Files take their place whole, or not at all."""

import errno
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from keras_wrn.files import locked, printable, replacing, write_json, written_aside
from keras_wrn.runs.checkpoint import Checkpoints


def test_a_file_that_was_not_written_to_its_end_changes_nothing(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(OSError, match="disk full"), replacing(path) as temporary:
        temporary.write_text("{")
        assert json.loads(path.read_text()) == {"a": 1}
        raise OSError("disk full")
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_cleared_by_the_next_checkpoint(tmp_path):
    body = replacing(tmp_path / "step-00000003.npz")
    body.__enter__().write_text("half of one")
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.paths() == []
    checkpoints.save({"weight": np.ones(2)}, 4)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000004.npz"]


def test_a_full_disk_is_said_with_the_file(tmp_path):
    path = tmp_path / "a"
    aside = written_aside(path, overwrite=False, is_ours=Path.is_file, kind="a file")
    for body in (replacing(path), aside):
        with pytest.raises(OSError, match=f"No space left on device: '{path}'"), body as new:
            new.write_text("half of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def write_aside(path):
    with written_aside(path, overwrite=True, is_ours=Path.is_dir, kind="a folder") as new:
        new.mkdir()


def left_behind(folder, name, *contents, days=2):
    """What a process that was killed left, so many days ago."""
    left = folder / f".{name}.abc_1234"
    for content in contents:
        (left / content).mkdir(parents=True)
        (left / content / "saved_model.pb").write_bytes(b"?")
    then = time.time() - days * 24 * 60 * 60
    os.utime(left, (then, then))
    return left


def test_what_killed_exports_left_is_swept_after_a_day(tmp_path):
    (tmp_path / "replaced").mkdir()
    swept = [
        left_behind(tmp_path, "saved_model", "new"),
        left_behind(tmp_path, "replaced", "new", "old"),
    ]
    kept = [
        left_behind(tmp_path, "fresh", "new", days=0.9),
        left_behind(tmp_path, "mine", "new", "notes"),
        left_behind(tmp_path, "mine.too", "cache"),
        # It was moved away, and what should replace it did not: there is no other.
        left_behind(tmp_path, "gone", "new", "old"),
        tmp_path / ".hidden.abcdefgh",
    ]
    kept[-1].write_text("a file")
    os.utime(kept[-1], (0, 0))
    write_aside(tmp_path / "saved_model")
    assert [path for path in swept if path.exists()] == []
    assert [path for path in kept if not path.exists()] == []
    assert len(list(tmp_path.iterdir())) == len(kept) + 2


def test_what_another_process_still_writes_is_not_swept(tmp_path, run_python):
    body = written_aside(tmp_path / "a", overwrite=False, is_ours=Path.is_dir, kind="a folder")
    new = body.__enter__()
    os.utime(new.parents[1], (0, 0))
    code = """
import sys
from pathlib import Path
from keras_wrn.files import written_aside
with written_aside(sys.argv[1], overwrite=False, is_ours=Path.is_dir, kind="") as new: new.mkdir()
"""
    run_python(code, tmp_path / "b")
    new.mkdir()
    body.__exit__(None, None, None)
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}


def test_a_name_that_cannot_be_shown_is_escaped():
    for name, shown in (
        ("Café ☕.png", "Café ☕.png"),
        ("two\nlines\x1b[2J.png", r"two\nlines\x1b[2J.png"),
        (b"caf\xe9.png".decode("utf-8", "surrogateescape"), r"caf\xe9.png"),
        ("\ud800\u2028", r"\ud800\u2028"),
    ):
        assert printable(name) == shown
        shown.encode()


def test_a_lock_is_held_once_and_not_where_it_cannot_be(tmp_path):
    with locked(tmp_path / "lock") as held:
        assert held
        with pytest.raises(BlockingIOError, match="Another process holds"):
            locked(tmp_path / "lock", wait=False).__enter__()
    with locked(tmp_path / "lock", wait=False) as held:
        assert held
    with locked(tmp_path) as held:  # nothing to lock
        assert not held
