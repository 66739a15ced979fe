"""Files take their place whole, or not at all."""

import json

import numpy as np
import pytest

from keras_wrn.files import printable, replacing, write_json
from keras_wrn.training.checkpoint import Checkpoints


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


def test_a_name_that_cannot_be_shown_is_escaped():
    for name, shown in (
        ("Café ☕.png", "Café ☕.png"),
        ("two\nlines\x1b[2J.png", r"two\nlines\x1b[2J.png"),
        (b"caf\xe9.png".decode("utf-8", "surrogateescape"), r"caf\xe9.png"),
        ("\ud800\u2028", r"\ud800\u2028"),
    ):
        assert printable(name) == shown
        shown.encode()
