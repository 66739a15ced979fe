"""Runs the cells of a study, each in a run directory of its own, as often as it takes."""

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from keras_wrn.errors import BUSY, Busy, KerasWrnError, RunError, Stopped
from keras_wrn.recipe import SMOKE, ExportConfig, Recipe
from keras_wrn.runs.directory import locked
from keras_wrn.runs.study_report import TIMING, is_cell, write_report
from keras_wrn.study import Study
from keras_wrn.training.run import run
from keras_wrn.training.timing import time_recipe

POLL = 30.0  # seconds until a cell that another process has is looked at again
PARENT = "KERAS_WRN_STUDY"  # the number of the process that runs the study
AGAIN = "Give the same command again to go on."


@dataclasses.dataclass(frozen=True)
class Job:
    """One cell with one seed.

    Args:
        cell: str, the name of the cell in the study.
        recipe: `Recipe`, with its seed, maybe shortened.
        run_dir: path of its run directory.
    """

    cell: str
    recipe: Recipe
    run_dir: Path

    @property
    def text(self):
        return f"{self.recipe.name} seed {self.recipe.seed}"


def jobs_of(
    study: Study, directory, *, seeds=None, only=(), epochs=None, rehearsal=False
) -> list[Job]:
    """The jobs of a study, seed by seed, so that an early table has all cells.

    Args:
        study: `Study`.
        directory: path of the study's run directories.
        seeds: iterable of int, None for the study's own.
        only, epochs: as for `Study.selected`.
        rehearsal: bool, whether they are to be rehearsed; these have directories of their own.
    """
    if study.measures == "timing" and epochs is not None:
        raise ValueError(f"Study {study.name!r} times single steps: it has no epochs to shorten")
    jobs = []
    for seed in range(study.seeds) if seeds is None else seeds:
        for recipe in study.selected(only, epochs):
            cell = next(x.name for x in study.cells if is_cell(x, recipe.name))
            folder = f"{recipe.name}{SMOKE * rehearsal}-seed{seed}"
            given = dataclasses.replace(recipe, seed=seed)
            jobs.append(Job(cell, given, Path(directory, folder)))
    return jobs


def run_study(study: Study, directory, jobs, run_one, alone=False):
    """Run jobs one after the other, and write the study's table after each.

    A finished job is not run again, and a stopped one goes on where it was. A job that another
    process has is looked at again later, in case that process dies. A failed one does not stop the
    others.

    Args:
        study: `Study`.
        directory: path of the study's run directories; the table is written there.
        jobs: list of `Job`.
        run_one: function of a job, such as `run_here`; it may raise a `KerasWrnError`, `ValueError`
            or `OSError`.
        alone: bool, whether to write no table, and to wait for no other process: another process
            runs the study, and this one some of its jobs.

    Raises:
        RunError: some failed; the message lists them. If there is one job alone, its own error.
        Busy: another process has a job, with `alone`.
        Stopped: SIGTERM or SIGINT came.
        ValueError: a finished run does not belong to the study as it is now.
    """
    if not alone:
        write_report(study, directory)  # finds runs that do not belong, before hours of training
    failed, told = {}, False
    waiting = list(jobs)
    while waiting:
        busy = []
        for job in waiting:
            if _finished(study, job):
                continue
            try:
                run_one(job)
            except Stopped:
                raise
            except Busy:
                if alone:
                    raise
                busy.append(job)
                continue
            except (KerasWrnError, ValueError, OSError) as error:
                if len(jobs) == 1:
                    raise
                print(f"keras-wrn: {job.text} failed: {error}", file=sys.stderr)
                failed[job.text] = str(error)
            if not alone:
                _report(study, directory)
        if busy:
            if not told:
                print(f"Waiting for other processes: {', '.join(job.text for job in busy)}")
                told = True
            time.sleep(POLL)
        waiting = busy
    if not alone:
        write_report(study, directory)
    if failed:
        texts = "; ".join(f"{name}: {error}" for name, error in failed.items())
        raise RunError(f"{len(failed)} of {len(jobs)} failed. {texts}")


def _report(study, directory):
    """Write the table; that it cannot be written ends no study."""
    try:
        write_report(study, directory)
    except (ValueError, OSError) as error:
        print(f"keras-wrn: the table cannot be written: {error}", file=sys.stderr)


def _finished(study, job):
    name = TIMING if study.measures == "timing" else "summary.json"
    return (job.run_dir / name).exists()


def clear_rehearsal(job):
    """Remove what an earlier rehearsal of a job left."""
    shutil.rmtree(job.run_dir, ignore_errors=True)


def run_here(study, job, *, data_dir=None, made_up=False):
    """Run a job in this process."""
    if study.measures == "timing":
        return time_recipe(job.recipe, job.run_dir, quick=made_up)
    recipe = job.recipe
    if made_up:
        recipe = dataclasses.replace(recipe, export=ExportConfig(False, False))
    try:
        return run(recipe, run_dir=job.run_dir, resume=True, data_dir=data_dir, made_up=made_up)
    except Stopped as error:
        raise Stopped(error.signum, error.path, AGAIN) from error


def run_apart(job, command):
    """Run a command in a process of its own, which ends if this one does.

    Raises:
        Busy: another process has the job.
        Stopped: a signal came, and the process has ended.
        RunError: it failed.
    """
    if job.run_dir.is_dir():
        with locked(job.run_dir):  # it takes seconds to start a process that may have to wait
            pass
    environment = {**os.environ, PARENT: str(os.getpid())}
    process = subprocess.Popen(command, process_group=0, env=environment)
    stopped = []

    def stop(signum, frame):
        stopped.append(signum)
        process.send_signal(signum)

    with _handling(stop):
        status = process.wait()
    if stopped:
        raise Stopped(stopped[0], way=AGAIN)
    if status == BUSY:
        raise Busy("Another process has it.")
    if status:
        raise RunError(f"it ended with status {status}")


def end_with_parent():
    """Stop this process, as SIGTERM does, once the process that runs the study is gone."""
    parent = os.environ.pop(PARENT, "")
    if parent != str(os.getppid()):
        return

    def watch():
        while os.getppid() == int(parent):
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _handling(stop):
    signals = signal.SIGTERM, signal.SIGINT
    before = {signum: signal.signal(signum, stop) for signum in signals}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
