"""Our commands print what is theirs, and nothing of the libraries below; asked for, all of it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "saved_models" / "cifar10_wrn16_2" / "1"
SCRIPT = "from keras_wrn.cli import main\n\nmain()\n"  # what pip makes of the entry point
needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="TensorFlow's remarks, and its exports"
)


def run(*command, cwd=None, **environment):
    """Run Python with these arguments, as a shell without settings of ours does."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TF_CPP")}
    return subprocess.run(
        [sys.executable, *map(str, command)],
        env={**kept, "PYTHONPATH": str(ROOT), **environment},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.parametrize(
    "command",
    [
        f"{ROOT}/recipes/cifar10_fast.py --smoke --run-dir run",
        *(
            pytest.param(command, marks=pytest.mark.slow)
            for command in ("keras-wrn --help", "-m keras_wrn list wrn_16_*")
        ),
    ],
)
def test_each_way_to_a_command_is_quiet(tmp_path, command):
    (tmp_path / "keras-wrn").write_text(SCRIPT)
    done = run(*command.split(), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "I0000" not in done.stdout


@needs_tensorflow
@pytest.mark.large
def test_an_export_is_quiet(tmp_path):
    pytest.importorskip("sklearn")
    precisions = "float32", "float16", "dynamic_int8", "int8"
    done = run(
        "-m", "keras_wrn", "export", SHIPPED, "--format", "saved_model", "litert",
        "--precision", *precisions, "--data", "digits", "--out", "out", cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"Exported saved_model, litert ({', '.join(precisions)}) to out/1\n"


@needs_tensorflow
@pytest.mark.parametrize(
    "setting",
    ["KERAS_WRN_VERBOSE=1", pytest.param("TF_CPP_MIN_LOG_LEVEL=0", marks=pytest.mark.slow)],
)
def test_the_remarks_are_there_for_who_asks(setting):
    name, value = setting.split("=")
    done = run("-m", "keras_wrn", "--help", **{name: value})
    assert done.returncode == 0 and "All log messages" in done.stderr


@needs_tensorflow
def test_who_asks_for_tensorflow_before_it_is_loaded_changes_nothing():
    """Keras on PyTorch does."""
    code = (
        "import importlib.util, sys; sys.path.insert(0, 'keras_wrn'); import quiet; quiet.begin(); "
        "importlib.util.find_spec('tensorflow'); import tensorflow"
    )
    assert run("-c", code, cwd=ROOT).stderr == ""


@needs_tensorflow
def test_the_library_leaves_tensorflow_alone(tmp_path):
    code = "import os, keras_wrn; print(os.environ.get('TF_CPP_MIN_LOG_LEVEL'))"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "__init__.py").write_text(code)
    (tmp_path / "other" / "__main__.py").write_text("")
    for command in (("-c", code), ("-m", "other")):
        done = run(*command, cwd=tmp_path)
        assert done.stdout.strip() in ("None", "1")  # 1: JAX's, where it is installed
        assert "All log messages" in done.stderr


HIDING = """
import os, sys, warnings
sys.path.insert(0, "keras_wrn")  # alone: without TensorFlow, and what it says
import quiet
quiet.begin()
print("before", file=sys.stderr)
with quiet.remarks_hidden():
    os.write(2, b"I0000 00:00:1 7 a.cc:1] a remark\\nE0000 00:00:1 7 a.cc:2] an error\\n")
    warnings.warn("of Python")
    warnings.warn_explicit("of Pillow", UserWarning, "Image.py", 1, "PIL.Image")
    {last}
print("after", file=sys.stderr)
"""


def test_only_remarks_are_hidden():
    lines = run("-c", HIDING.format(last="os.write(2, b'loc(x): error: no end')"), cwd=ROOT).stderr
    assert lines.splitlines()[0] == "before" and lines.splitlines()[-1].endswith("after")
    for text in ("an error", "of Python", "loc(x): error: no end"):
        assert text in lines
    assert "a remark" not in lines and "of Pillow" not in lines


def test_an_exception_and_a_crash_show_what_they_were():
    done = run("-c", HIDING.format(last="raise OSError('in the middle')"), cwd=ROOT)
    assert "an error" in done.stderr and "in the middle" in done.stderr
    assert "a remark" not in done.stderr
    done = run("-c", HIDING.format(last="os.abort()"), cwd=ROOT)
    assert done.returncode == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in done.stderr and 'File "<string>"' in done.stderr


def test_a_program_without_standard_error_has_nothing_to_hide():
    code = HIDING.format(last="pass").replace("os.write", "len").replace("2, b", "b")
    command = f'"{sys.executable}" -c "$0" 2>&-'
    assert subprocess.run(["bash", "-c", command, code], cwd=ROOT).returncode == 0


def test_the_door_imports_nothing_that_is_large_beside_keras():
    """So that --help and list answer about as fast as `import keras` does."""
    code = """
import sys
import keras

before = set(sys.modules)
import keras_wrn.cli
for args in (["--help"], ["list"], ["export", "--help"], ["train", "digits_wrn10_1", "--help"]):
    try:
        keras_wrn.cli.main(args)
    except SystemExit as stop:
        assert stop.code == 0
print("\\nNEW", *sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    new = done.stdout.splitlines()[-1].split()
    assert new[0] == "NEW" and {"keras_wrn", "tyro"} <= set(new)
    large = """jax keras_cv matplotlib onnx openvino PIL scipy sklearn tensorboard tensorflow
        tensorflow_datasets torch"""
    assert not set(large.split()) & set(new)
