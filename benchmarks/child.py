"""One contestant in its own process, which works when it is told to.

    python benchmarks/child.py '["training", "ours", {"network": "wrn_16_4", ...}]'

Each line on its input is a number of calls. It answers with their seconds as a JSON list, or with
what the calls return if they measure themselves. At the end of the input it answers with its peak
resident memory in megabytes.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WARM_UP = 3
# What keras_wrn sets; some contestants import it after TensorFlow.
ENVIRONMENT = {"TF_ENABLE_ONEDNN_OPTS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}


class Child:
    """The process of a contestant.

    Args:
        kind, name: str, which of `CONTESTANTS`.
        row: dict of its settings.

    Raises:
        RuntimeError: it cannot be made; the last line of the message says which one ended how.
    """

    def __init__(self, kind, name, row):
        self.name = name
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - it is read when the process dies
        self.process = subprocess.Popen(
            [sys.executable, __file__, json.dumps([kind, name, row])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
            env={**ENVIRONMENT, **os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        self._answer()

    def seconds(self, calls):
        """The seconds of each of so many calls."""
        with contextlib.suppress(BrokenPipeError):  # it died, and there is no answer
            self.process.stdin.write(f"{calls}\n")
            self.process.stdin.flush()
        return json.loads(self._answer())

    def _answer(self):
        line = self.process.stdout.readline()
        if not line.endswith("\n"):
            status = self.process.wait()
            self.log.seek(0)
            said = self.log.read()[-2000:].rstrip()
            # A killed process leaves no message.
            last = f": {said.splitlines()[-1]}" if said and status > 0 else ""
            raise RuntimeError(f"{said}\n{self.name} ended with {status}{last}")
        return line

    def end(self):
        """Its peak resident memory in megabytes."""
        self.process.stdin.close()
        memory = float(self._answer())
        self.process.wait()
        return memory


def serve(kind, name, row):
    """Make the contestant and answer; what libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from benchmarks.contestants import CONTESTANTS

    call = CONTESTANTS[kind][name](row)
    for _ in range(1 if kind in ("input", "fit") else WARM_UP):
        call()
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            begun = time.perf_counter()
            own = call()
            measured = isinstance(own, (float, tuple))
            times.append(own if measured else time.perf_counter() - begun)
        print(json.dumps(times), file=answers, flush=True)
    # Not ru_maxrss: a child starts with its parent's.
    status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    print(int(status["VmHWM"].split()[0]) / 1024, file=answers, flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    serve(*json.loads(sys.argv[1]))
