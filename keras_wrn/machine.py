"""This machine, and the versions of the software that computes on it."""

import os
import platform
from importlib import metadata
from pathlib import Path

import keras

from keras_wrn.distribution import VERSION


def versions(*more):
    """The machine, and the versions of what computes and of `more` packages, as a dict of str."""
    found = {"python": platform.python_version(), "machine": _machine()}
    found["keras-wrn"] = VERSION
    packages = "keras", "tensorflow", "tensorflow-datasets", "jax", "torch", "numpy"
    for package in packages + more:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    found["backend"] = keras.backend.backend()
    return found


def _machine():
    name, family, model = map(cpu_facts, ("model name", "cpu family", "model\t"))
    # Processors of different generations may share a name.
    kind = f"{name} (family {family}, model {model})" if family else name or platform.machine()
    usable = len(getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0))
    return f"{kind}, {usable} core" + "s" * (usable > 1)


def cpu_facts(field):
    """A field of the first processor on Linux, such as "model name" or "flags"; elsewhere ""."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":")[1].strip() for line in lines if line.startswith(field)), "")
