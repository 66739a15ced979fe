"""Hides the log messages of native libraries in our commands, but not when used as a library."""

import contextlib
import faulthandler
import importlib.util
import linecache
import logging
import os
import re
import sys
import tempfile
import warnings
from importlib.abc import MetaPathFinder

# absl's info and warning messages with their continuation lines, and LiteRT's.
REMARK = re.compile(
    rb"[IW]\d{4} |WARNING: All log messages before absl|To enable the following instructions: "
    rb"|INFO: |fully_quantize: "
)
# In the script of a command or a recipe.
COMMAND = re.compile(r"\s*(from|import) keras_wrn\.cli\b")
_begun = False


def is_command():
    """Whether the program is `keras-wrn`, `python -m keras_wrn` or a recipe's script.

    Called while the package is being imported. That imports TensorFlow, so later is too late.
    """
    if sys.argv[:1] == ["-m"]:  # Python still looks for the module: ours, or one that imports us
        return any(word.partition(".")[0] == "keras_wrn" for word in sys.orig_argv)
    main = vars(sys.modules["__main__"])
    lines = linecache.getlines(main["__file__"], main) if main.get("__file__") else []
    return any(COMMAND.match(line) for line in lines)


def begin():
    """Be quiet, unless KERAS_WRN_VERBOSE or TensorFlow's own TF_CPP_MIN_LOG_LEVEL asks for more."""
    global _begun
    if os.environ.get("KERAS_WRN_VERBOSE", "0") in ("", "0"):
        # TensorFlow's errors reach Python as exceptions; what it logs as errors are remarks too.
        _begun = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") not in ("0", "1")
    if _begun:
        sys.meta_path.insert(0, _QuietTensorFlow())
        logging.getLogger("tensorflow").setLevel(logging.ERROR)  # such as about tracing again
        # Warnings about images that we refuse by name, or read.
        warnings.filterwarnings("ignore", module=r"PIL\.")


class _QuietTensorFlow(MetaPathFinder):
    """Finds TensorFlow, whose libraries log while loading, before they know the log level."""

    looking = False

    def find_spec(self, name, path=None, target=None):
        if name != "tensorflow" or self.looking:
            return None
        self.looking = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.looking = False
        # A caller that only checks whether it is installed does not load it.
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def exec_module(module):
                with remarks_hidden():
                    load(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


@contextlib.contextmanager
def remarks_hidden():
    """Hold back what is written to file descriptor 2, and write it at the end without remarks.

    Does nothing unless `begin` was called. A crash still shows where it happened.
    """
    if not _begun or sys.stderr is None:
        yield
        return
    sys.stderr.flush()
    crashes = faulthandler.is_enabled()
    with tempfile.TemporaryFile() as held, open(os.dup(2), "wb", buffering=0) as stderr:
        faulthandler.enable(stderr)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr.fileno(), 2)
            faulthandler.enable() if crashes else faulthandler.disable()
            held.seek(0)
            stderr.write(b"".join(line for line in held if not REMARK.match(line)))
