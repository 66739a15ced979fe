"""Runs the cells of a study, each in a run directory of its own, as often as it takes."""

import contextlib
import dataclasses
import signal
import subprocess
import sys
import time
from pathlib import Path

from keras_wrn.errors import BUSY, Busy, KerasWrnError, RunError, Stopped
from keras_wrn.recipe import ExportConfig, Recipe
from keras_wrn.runs.directory import clear_smoke
from keras_wrn.runs.files import read_object
from keras_wrn.runs.study_report import TIMING, write_report
from keras_wrn.study import Study
from keras_wrn.training.run import run
from keras_wrn.training.timing import time_recipe

POLL = 30.0  # seconds until a cell that another process has is looked at again


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


def jobs_of(study: Study, directory, *, seeds=None, only=(), epochs=None) -> list[Job]:
    """The jobs of a study, seed by seed, so that an early table has all cells.

    Args:
        study: `Study`.
        directory: path of the study's run directories.
        seeds: iterable of int, None for the study's own.
        only, epochs: as for `Study.selected`.
    """
    if study.measures == "timing" and epochs is not None:
        raise ValueError(f"Study {study.name!r} times single steps: it has no epochs to shorten")
    jobs = []
    for seed in range(study.seeds) if seeds is None else seeds:
        for recipe in study.selected(only, epochs):
            given = dataclasses.replace(recipe, seed=seed)
            cell = next(x.name for x in study.cells if _is_cell(x, recipe))
            jobs.append(Job(cell, given, Path(directory, f"{recipe.name}-seed{seed}")))
    return jobs


def _is_cell(cell, recipe):
    return recipe.name in (cell.name, f"{cell.name}-{recipe.epochs}epochs")


def run_study(study: Study, directory, jobs, run_one):
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

    Raises:
        RunError: some failed; the message lists them. If there is one job alone, its own error.
        Stopped: SIGTERM or SIGINT came.
    """
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
                busy.append(job)
            except (KerasWrnError, ValueError, OSError) as error:
                if len(jobs) == 1:
                    raise
                print(f"keras-wrn: {job.text} failed: {error}", file=sys.stderr)
                failed[job.text] = str(error)
            write_report(study, directory)
        if busy:
            if not told:
                print(f"Waiting for other processes: {', '.join(job.text for job in busy)}")
                told = True
            time.sleep(POLL)
        waiting = busy
    write_report(study, directory)
    if failed:
        texts = "; ".join(f"{name}: {error}" for name, error in failed.items())
        raise RunError(f"{len(failed)} of {len(jobs)} failed. {texts}")


def _finished(study, job):
    name = TIMING if study.measures == "timing" else "summary.json"
    return (job.run_dir / name).exists()


def clear_rehearsal(job):
    """Remove what an earlier rehearsal of a job left, if it is finished."""
    clear_smoke(job.run_dir)
    timing = job.run_dir / TIMING
    if timing.exists() and read_object(timing)["quick"]:
        timing.unlink()


def run_here(study, job, *, data_dir=None, made_up=False):
    """Run a job in this process."""
    if study.measures == "timing":
        return time_recipe(job.recipe, job.run_dir, quick=made_up)
    recipe = job.recipe
    if made_up:
        recipe = dataclasses.replace(recipe, export=ExportConfig(False, False))
    return run(recipe, run_dir=job.run_dir, resume=True, data_dir=data_dir, made_up=made_up)


def run_apart(command):
    """Run a command in a process of its own, which ends like this one if this one is stopped.

    Raises:
        Busy: another process has the job.
        Stopped: a signal came, and the process has ended.
        RunError: it failed.
    """
    process = subprocess.Popen(command, process_group=0)
    stopped = []

    def stop(signum, frame):
        stopped.append(signum)
        process.send_signal(signum)

    with _handling(stop):
        status = process.wait()
    if stopped:
        raise Stopped(stopped[0], "its run directory")
    if status == BUSY:
        raise Busy("Another process has it.")
    if status:
        raise RunError(f"it ended with status {status}")


@contextlib.contextmanager
def _handling(stop):
    signals = signal.SIGTERM, signal.SIGINT
    before = {signum: signal.signal(signum, stop) for signum in signals}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
