"""`keras-wrn study`."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import tyro

from keras_wrn import distribution
from keras_wrn.recipe import SMOKE
from keras_wrn.runs.study_report import TABLE
from keras_wrn.scripts import load_study
from keras_wrn.training.study import (
    clear_rehearsal,
    end_with_parent,
    jobs_of,
    run_apart,
    run_here,
    run_study,
)


def study(
    study: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="STUDY")],
    *,
    seeds: int | None = None,
    seed: int | None = None,
    epochs: int | None = None,
    only: tuple[str, ...] | None = None,
    runs_dir: Path | None = None,
    data_dir: Path | None = None,
    smoke: bool = False,
    list: bool = False,
):
    """Run the experiments of a table or figure, and write its table.

    Each cell is a run directory of its own. What is finished is not run again, what was stopped
    goes on. Several processes, on machines that share the directory, may work on one study.

    Args:
        study: A name that `keras-wrn list` shows, or the path of a study script.
        seeds: How many seeds for each cell, from 0 on; by default the study's.
        seed: Run this seed alone, and all in this process instead of one process a cell.
        epochs: Shorten each cell to so many epochs, which the table will say.
        only: Names of cells, or shell patterns of them.
        runs_dir: Where the runs and the table are kept; by default runs/<study>.
        data_dir: Where TFDS keeps its data; by default TFDS_DATA_DIR or TFDS' own default.
        smoke: Rehearse the study in a minute or two, on made-up images.
        list: Print one command for each cell and seed, such as for a Slurm array, and run nothing.
    """
    found = load_study(study)
    if seeds is not None and seed is not None:
        raise ValueError("Give --seeds or --seed, not both")
    if seeds is not None and seeds < 1:
        raise ValueError(f"--seeds should be 1 or more. Received: {seeds}")
    if only == ():
        raise ValueError("--only needs a name of a cell, or a pattern")
    chosen = None if seeds is None else [*range(seeds)]
    if seed is not None or (smoke and seeds is None):
        chosen = [seed or 0]
    directory = runs_dir or Path("runs", found.name + SMOKE * smoke)
    jobs = jobs_of(found, directory, seeds=chosen, only=only or (), epochs=epochs, rehearsal=smoke)

    def command(job):
        given = ["study", study, "--only", job.cell, "--seed", str(job.recipe.seed)]
        for flag, value in (("epochs", epochs), ("runs-dir", runs_dir), ("data-dir", data_dir)):
            given += [f"--{flag}", str(value)] if value is not None else []
        return given + ["--smoke"] * smoke

    if list:
        for job in jobs:
            print(shlex.join(["keras-wrn", *command(job)]))
        return
    end_with_parent()
    if smoke:
        for job in jobs:
            clear_rehearsal(job)

    def run_one(job):
        if seed is not None or smoke:
            return run_here(found, job, data_dir=data_dir, made_up=smoke)
        print(f"\n{job.text}: {job.run_dir}", flush=True)
        # -P: a file of the working directory is no module of Python's own.
        safe = ["-P"] if distribution.is_installed() else []
        return run_apart(job, [sys.executable, *safe, "-m", "keras_wrn", *command(job)])

    try:
        run_study(found, directory, jobs, run_one, alone=seed is not None)
    finally:
        if seed is None and (directory / TABLE).exists():
            print(f"The table is in {directory / TABLE}")
