"""Running studies: nothing twice, others' cells waited for, failures reported, stops passed on."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time

import keras
import pytest
from tiny import PLAIN

from keras_wrn import Study, cell
from keras_wrn.cli import main
from keras_wrn.errors import Busy, RunError, Stopped
from keras_wrn.runs.directory import locked
from keras_wrn.training import study as studying
from keras_wrn.training.study import jobs_of, run_apart, run_here, run_study

STUDY = Study("mine", "Mine", [cell(PLAIN, name) for name in ("a", "b", "c")], seeds=2)
SCRIPT = """
from keras_wrn import Study, cell
from tiny import PLAIN
study = Study("mine", "Mine", [cell(PLAIN, name, batch_size=size) for name, size in
                               (("good", 64), ("bad", 5000))], seeds=1)
"""


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """The jobs of a study whose runs are made up, and so have no table."""
    monkeypatch.setattr(studying, "write_report", lambda study, directory: None)
    return jobs_of(STUDY, tmp_path)


def finish(job):
    job.run_dir.mkdir(parents=True, exist_ok=True)
    (job.run_dir / "summary.json").write_text("{}")


def test_jobs_go_through_all_cells_before_the_next_seed(tmp_path):
    jobs = jobs_of(STUDY, tmp_path, only=["a", "c"])
    assert [(job.cell, job.recipe.seed) for job in jobs] == [("a", 0), ("c", 0), ("a", 1), ("c", 1)]
    assert jobs[3].run_dir == tmp_path / "c-seed1" and jobs[3].text == "c seed 1"
    (short,) = jobs_of(STUDY, tmp_path, only=["b"], seeds=[4], epochs=1)
    assert (short.cell, short.run_dir.name) == ("b", "b-1epochs-seed4")


def test_finished_jobs_are_not_run_again(tmp_path, jobs):
    ran = []
    finish(jobs[1])

    def run_one(job):
        ran.append(job)
        finish(job)

    run_study(STUDY, tmp_path, jobs, run_one)
    assert ran == [jobs[0], *jobs[2:]]
    run_study(STUDY, tmp_path, jobs, run_one)
    assert len(ran) == 5


def test_a_failed_job_does_not_stop_the_others_and_is_reported(tmp_path, jobs, capsys):
    ran = []

    def run_one(job):
        ran.append(job.text)
        if job.cell == "b":
            raise RunError("the loss became NaN")

    with pytest.raises(RunError, match=r"2 of 6 failed\. b seed 0: the loss became NaN; b seed 1"):
        run_study(STUDY, tmp_path, jobs, run_one)
    assert len(ran) == 6
    assert "b seed 0 failed: the loss became NaN" in capsys.readouterr().err


def test_a_stop_ends_the_study(tmp_path, jobs):
    ran = []

    def run_one(job):
        ran.append(job)
        raise Stopped(signal.SIGTERM, tmp_path)

    with pytest.raises(Stopped):
        run_study(STUDY, tmp_path, jobs, run_one)
    assert len(ran) == 1


def test_a_job_of_another_process_is_taken_over_when_it_is_free(
    tmp_path, jobs, monkeypatch, capsys
):
    ran, slept = [], []
    monkeypatch.setattr(time, "sleep", slept.append)

    def run_one(job):
        ran.append(job.text)
        if job.text == "a seed 0" and len(slept) < 2:
            raise Busy("another process has it")
        finish(job)

    run_study(STUDY, tmp_path, jobs, run_one)
    assert ran == ["a seed 0", "b seed 0", "c seed 0", "a seed 1", "b seed 1", "c seed 1",
                   "a seed 0", "a seed 0"]  # fmt: skip
    assert slept == [studying.POLL] * 2
    assert capsys.readouterr().out.count("Waiting for other processes: a seed 0") == 1


def test_a_process_gets_the_signal_and_its_status_is_told(tmp_path):
    job = jobs_of(STUDY, tmp_path)[0]
    run_apart(job, [sys.executable, "-c", "pass"])
    with pytest.raises(Busy):
        run_apart(job, [sys.executable, "-c", "raise SystemExit(75)"])
    with pytest.raises(RunError, match="it ended with status 3"):
        run_apart(job, [sys.executable, "-c", "raise SystemExit(3)"])
    code = (
        "import pathlib, signal, sys, time\n"
        "def stop(*_): pathlib.Path(sys.argv[1]).write_text('saved'); sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "pathlib.Path(sys.argv[2]).touch()\n"
        "time.sleep(60)"
    )
    before = signal.getsignal(signal.SIGTERM)

    def ask():
        while not (tmp_path / "ready").exists():
            time.sleep(0.05)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)

    asking = threading.Timer(0.1, ask)
    asking.start()
    with pytest.raises(Stopped, match=r"Stopped by SIGTERM. Give the same command again"):
        run_apart(
            job, [sys.executable, "-c", code, str(tmp_path / "saved"), str(tmp_path / "ready")]
        )
    assert (tmp_path / "saved").read_text() == "saved"
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="steps are timed on TensorFlow")
def test_a_timing_study_has_the_parts_of_a_step(tmp_path):
    timed = Study("timed", "Steps", [cell(PLAIN, "a"), cell(PLAIN, "b")], 1, "timing")
    jobs = jobs_of(timed, tmp_path, rehearsal=True)
    run_study(timed, tmp_path, jobs, lambda job: run_here(timed, job, made_up=True))
    found = json.loads((tmp_path / "a-smoke-seed0" / "timing.json").read_text())
    assert found["step"] == pytest.approx(sum(found[x] for x in ("forward", "backward", "update")))
    assert found["step"] > 0 and found["peak"] > 1e8 and found["batch_size"] == 16
    assert found["flops"] == 6 * found["macs"] * 16
    table = (tmp_path / "table.md").read_text()
    assert "| `b` (a rehearsal) |" in table and (tmp_path / "curves.png").exists()
    with pytest.raises(ValueError, match="no epochs to shorten"):
        jobs_of(timed, tmp_path, epochs=1)


def test_a_rehearsal_runs_all_cells_again_each_time(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(SCRIPT)
    for _ in range(2):
        main(["study", "mine.py", "--smoke"])
        text = capsys.readouterr().out
        assert "good-smoke:" in text and "The table is in runs/mine-smoke/table.md" in text
    assert (tmp_path / "runs/mine-smoke/table.md").read_text().count("a rehearsal on made-up") == 2


def test_a_study_lists_one_command_for_each_cell_and_seed(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(SCRIPT)
    path = str(tmp_path / "mine.py")
    main(["study", path, "--list", "--seeds", "2", "--epochs", "1", "--runs-dir", "shared dir"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    main(["study", path, "--list", "--smoke"])
    assert all(line.endswith("--seed 0 --smoke") for line in capsys.readouterr().out.splitlines())
    with pytest.raises(SystemExit):
        main(["study", path, "--list", "--only"])
    assert "--only needs a name" in capsys.readouterr().err
    assert lines[3] == (
        f"keras-wrn study {path} --only bad --seed 1 --epochs 1 --runs-dir 'shared dir'"
    )


def test_a_job_whose_directory_is_taken_is_not_begun(tmp_path):
    job = jobs_of(STUDY, tmp_path)[0]
    job.run_dir.mkdir()
    with locked(job.run_dir), pytest.raises(Busy, match="Another process"):
        run_apart(job, ["false"])


def test_a_process_of_a_study_waits_for_no_other(tmp_path):
    def run_one(job):
        raise Busy("another process has it")

    with pytest.raises(Busy):
        run_study(STUDY, tmp_path, jobs_of(STUDY, tmp_path)[:1], run_one, alone=True)
    assert not (tmp_path / "table.md").exists()


def test_runs_that_do_not_belong_end_a_study_before_it_begins(tmp_path):
    changed = cell(PLAIN, "b", label_smoothing=0.2)
    (tmp_path / "b-seed0").mkdir()
    (tmp_path / "b-seed0" / "recipe.json").write_text(changed.to_json())
    (tmp_path / "b-seed0" / "summary.json").write_text("{}")
    with pytest.raises(ValueError, match=r"b-seed0 had other settings.*label_smoothing was 0.2"):
        run_study(STUDY, tmp_path, jobs_of(STUDY, tmp_path), lambda job: pytest.fail("ran"))


def test_a_rehearsal_is_not_taken_for_the_study(tmp_path):
    real, rehearsed = (jobs_of(STUDY, tmp_path, rehearsal=x)[0] for x in (False, True))
    assert (real.run_dir.name, rehearsed.run_dir.name) == ("a-seed0", "a-smoke-seed0")


CHILD = """
import pathlib, signal, sys, time
from keras_wrn.training.study import end_with_parent
def stop(*_):
    pathlib.Path(sys.argv[1]).touch()
    sys.exit()
signal.signal(signal.SIGTERM, stop)
end_with_parent()
print('ready', flush=True)
time.sleep(60)
"""
PARENT = """
import os, subprocess, sys
os.environ["KERAS_WRN_STUDY"] = str(os.getpid())
command = [sys.executable, "-c", *sys.argv[1:]]
child = subprocess.Popen(command, stdout=subprocess.PIPE)
child.stdout.readline()
os._exit(0)
"""


@pytest.mark.slow
def test_a_process_ends_when_that_of_the_study_is_gone(tmp_path, run_python):
    run_python(PARENT, CHILD, tmp_path / "stopped")
    begun = time.monotonic()
    while not (tmp_path / "stopped").exists() and time.monotonic() - begun < 20:
        time.sleep(0.2)
    assert (tmp_path / "stopped").exists()


@pytest.mark.slow
def test_two_processes_share_a_study(tmp_path):
    script = SCRIPT.replace('("good", 64), ("bad", 5000)', '("a", 64), ("b", 64), ("c", 64)')
    (tmp_path / "mine.py").write_text(script.replace("PLAIN, name", "PLAIN, name, epochs=12"))
    shutil.copy(sys.modules["tiny"].__file__, tmp_path)
    command = [sys.executable, "-m", "keras_wrn", "study", "mine.py"]
    running = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    texts = [process.communicate(timeout=300)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    ran = [[x for x in "abc" if f"{x}: " in text and "test error after" in text] for text in texts]
    done = [sum(f"{x}: " in line and "test error" in line for text in texts
                for line in text.splitlines()) for x in "abc"]  # fmt: skip
    assert done == [1, 1, 1], texts  # nothing twice
    assert all(ran), texts  # and both took some


@pytest.mark.slow
def test_cells_run_in_processes_of_their_own_and_one_may_fail(tmp_path):
    (tmp_path / "mine.py").write_text(SCRIPT)
    shutil.copy(sys.modules["tiny"].__file__, tmp_path)
    command = [sys.executable, "-m", "keras_wrn", "study", "mine.py", "--epochs", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr[-2000:]
    lines = done.stderr.splitlines()
    assert lines[0].startswith("keras-wrn: error: `batch_size` should be between 1 and the 1437")
    assert lines[1] == "keras-wrn: bad-1epochs seed 0 failed: it ended with status 2"
    assert lines[2].startswith("keras-wrn: error: 1 of 2 failed. bad-1epochs seed 0")
    run_dir = tmp_path / "runs/mine/good-1epochs-seed0"
    assert json.loads((run_dir / "summary.json").read_text())["epochs"] == 1
    table = (tmp_path / "runs/mine/table.md").read_text()
    assert "**1** instead of 2" in table and "not run" in table
    begun = time.monotonic()
    again = subprocess.run([*command, "--only", "good"], cwd=tmp_path, capture_output=True)
    assert again.returncode == 0 and time.monotonic() - begun < 30
