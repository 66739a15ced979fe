"""The examples for launchers: what of them can be run without the launchers."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAUNCHERS = ROOT / "docs" / "launchers"

# What `srun` does as far as it matters: so many processes, each with Slurm's variables.
SRUN = """#!{python}
import os, subprocess, sys
command = sys.argv[2:]  # after --kill-on-bad-exit
count = int(os.environ["TASKS"])
running = []
for number in range(count):
    slurm = {{
        "SLURM_JOB_ID": os.environ["SLURM_JOB_ID"], "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": str(count), "SLURM_PROCID": str(number), "SLURM_LOCALID": "0",
    }}
    running.append(subprocess.Popen(command, env=os.environ | slurm))
sys.exit(max(process.wait() for process in running))
"""


def slurm(tmp_path, *args, srun=None, **variables):
    """Run the Slurm script with a stand-in for Slurm; the result, and what it asked of it."""
    tools = tmp_path / "tools"
    tools.mkdir()
    scripts = {
        "srun": srun or SRUN.format(python=sys.executable),
        "scontrol": f"#!/bin/bash\necho $@ > {tmp_path}/asked\n",
        "python": f'#!/bin/bash\nexec {sys.executable} "$@"\n',
    }
    for name, text in scripts.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    job = str(os.getpid())  # JAX makes the port of it
    environment = os.environ | {
        "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "SLURM_JOB_ID": job,
        "TASKS": "2", "RUN_DIR": str(tmp_path / "run"), "RECIPE": "digits_wrn10_1",
        "OMP_NUM_THREADS": "1", **variables,
    }  # fmt: skip
    result = subprocess.run(
        ["bash", LAUNCHERS / "slurm.sh", *args],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    asked = tmp_path / "asked"
    return result, asked.read_text().replace(job, "JOB") if asked.exists() else ""


@pytest.mark.large
@pytest.mark.extra("jax")
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_slurm_script_trains_two_processes_as_one(tmp_path):
    result, asked = slurm(tmp_path, "--smoke")
    assert result.returncode == 0, result.stdout + result.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert len(summary["devices"]) == 2 and asked == ""


@pytest.mark.parametrize(
    ("status", "restarts", "asked"),
    [
        (143, "0", "requeue JOB\n"),
        (75, "3", "requeue JOB\n"),
        (134, "3", "requeue JOB\n"),
        (137, "3", "requeue JOB\n"),
        (75, "20", ""),
        (1, "0", ""),
    ],
)
def test_the_slurm_script_is_queued_again_where_that_helps(tmp_path, status, restarts, asked):
    srun = f"#!/bin/bash\nexit {status}\n"
    result, found = slurm(tmp_path, srun=srun, SLURM_RESTART_COUNT=restarts)
    assert (result.returncode, found) == (status, asked)


def test_the_train_job_is_one_of_kubeflow_trainer():
    models = pytest.importorskip("kubeflow_trainer_api.models")
    yaml = pytest.importorskip("yaml")

    def read(document):
        """The document as Trainer's own classes have it: without what they do not know."""
        return models.TrainerV1alpha1TrainJob.from_dict(document).to_dict()

    document = yaml.safe_load((LAUNCHERS / "trainjob.yaml").read_text())
    assert read(document) == document
    wrong = json.loads(json.dumps(document))
    wrong["spec"]["trainer"]["nodes"] = 4
    assert read(wrong) != wrong
    args = document["spec"]["trainer"]["args"]
    assert args[:2] == ["--strategy", "multi-host"] and "--resume" in args
    assert (ROOT / document["spec"]["trainer"]["command"][1]).is_file()
