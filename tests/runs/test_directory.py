"""Where a run cannot be written is found before it trains, and nothing there is touched."""

import dataclasses
import shutil

import keras
import numpy as np
import pytest
from tiny import PLAIN

from keras_wrn.data import ZCA
from keras_wrn.errors import RunError
from keras_wrn.runs import directory
from keras_wrn.training.run import run

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports need the TensorFlow backend"
)


def test_a_start_that_failed_leaves_the_directory_free(tmp_path):
    with pytest.raises(ValueError, match="`batch_size` should be between 1 and the 1437"):
        run(dataclasses.replace(PLAIN, batch_size=2000), run_dir=tmp_path / "run")
    with pytest.raises(ValueError, match="`block`"):
        wrong = dataclasses.replace(PLAIN.model, block="B22")
        run(dataclasses.replace(PLAIN, model=wrong), run_dir=tmp_path / "run", made_up=True)
    run(PLAIN, run_dir=tmp_path / "run", made_up=True)


def test_occupied_directory_is_refused_and_untouched(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="--resume"):
        run(PLAIN, run_dir=tmp_path, made_up=True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_directory_of_other_files_is_no_run_to_continue(tmp_path):
    (tmp_path / "versions.json").write_text("{}")
    (tmp_path / ".12.tmp.recipe.json").write_text("{")  # of a start that was killed
    (tmp_path / "thesis.tex").write_text("my")
    with pytest.raises(FileExistsError, match=r"no run to continue in .* holds thesis\.tex\."):
        run(PLAIN, run_dir=tmp_path, made_up=True, resume=True)


def test_unwritable_directory_is_found_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        run(PLAIN, run_dir=tmp_path / "file" / "run", made_up=True)


def test_full_disk_is_found_before_training(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000)
    monkeypatch.setattr(directory.shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(keras.Model, "fit", lambda *a, **k: pytest.fail("training started"))
    with pytest.raises(RunError, match="MB free"):
        run(PLAIN, run_dir=tmp_path / "run", made_up=True)
    usage = usage._replace(free=40 * 2**20)  # enough for the network, not for its whitening
    directory.check_disk(tmp_path, 100_000)
    zca = ZCA(np.zeros(3072, "float32"), np.zeros((3072, 3072), "float32"))
    with pytest.raises(RunError, match="MB free"):
        directory.check_disk(tmp_path, 100_000, zca)


def test_a_start_that_was_killed_can_be_continued(tmp_path):
    (tmp_path / "versions.json").write_text("{}")
    (tmp_path / ".12.tmp.recipe.json").write_text("{")
    directory.open_directory(tmp_path, PLAIN, resume=True)


@pytest.mark.parametrize(("usable", "cores"), [({3}, "1 core"), ({0, 2}, "2 cores")])
def test_the_machine_has_the_cores_that_may_be_used(monkeypatch, usable, cores):
    monkeypatch.setattr(directory.os, "sched_getaffinity", lambda _: usable, raising=False)
    assert directory.versions()["machine"].endswith(f", {cores}")
