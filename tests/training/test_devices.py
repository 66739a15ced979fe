"""Which precision and devices a run uses, and what low precision leaves in the result."""

import dataclasses
import json
import platform

import keras
import numpy as np
import pytest
from tiny import PLAIN

from keras_wrn.training import announce, devices
from keras_wrn.training.run import run

tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="about TensorFlow's graph rewrite"
)


@tensorflow_only
@pytest.mark.parametrize(("has", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_is_bfloat16_where_the_processor_has_it(monkeypatch, has, expected):
    monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda: has)
    assert devices.resolve_precision("auto") == expected
    assert devices.resolve_precision("float16") == "float16"


@tensorflow_only
def test_scope_sets_policy_or_rewrite_and_restores_both():
    import tensorflow as tf

    rewrite = "auto_mixed_precision_onednn_bfloat16"
    with devices.precision_scope("bfloat16"):
        assert tf.config.optimizer.get_experimental_options()[rewrite]
        assert keras.config.dtype_policy().name == "float32"
    assert not tf.config.optimizer.get_experimental_options()[rewrite]
    with pytest.raises(KeyError), devices.precision_scope("float16"):
        assert keras.config.dtype_policy().name == "mixed_float16"
        raise KeyError
    assert keras.config.dtype_policy().name == "float32"


@tensorflow_only
def test_a_lone_cpu_needs_no_strategy_and_a_gpu_has_one(monkeypatch):
    import tensorflow as tf

    cpu = [tf.config.LogicalDevice("/device:CPU:0", "CPU")]
    monkeypatch.setattr(tf.config, "list_logical_devices", {"CPU": cpu, "GPU": []}.get)
    assert devices.make_strategy("mirrored") is None
    monkeypatch.setattr(devices, "mirrored_devices", lambda tf: ["/device:CPU:0", "/device:CPU:1"])
    made = []
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", made.append)
    devices.make_strategy("mirrored")
    monkeypatch.setattr(devices, "mirrored_devices", lambda tf: ["/device:GPU:0"])
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["a GPU"])
    devices.make_strategy("mirrored")
    assert made == [["/device:CPU:0", "/device:CPU:1"], ["/device:GPU:0"]]


@tensorflow_only
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_low_precision_run_ends_in_a_float32_network(tmp_path, precision):
    summary = run(
        dataclasses.replace(PLAIN, precision=precision), run_dir=tmp_path / "run", made_up=True
    )
    assert summary["precision"] == precision
    assert np.isfinite(summary["last_epoch"]["loss"])
    model = keras.models.load_model(tmp_path / "run" / "model.keras")
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert all(np.isfinite(w).all() for w in model.get_weights())


@pytest.mark.extra("jax")
def test_runs_on_jax_from_arrays(tmp_path, run_python):
    code = (
        "from tiny import PLAIN\nfrom keras_wrn.training.run import run\n"
        f"run(PLAIN, run_dir={str(tmp_path / 'run')!r}, made_up=True)"
    )
    out = run_python(code, KERAS_BACKEND="jax")
    assert "No artifacts are exported on the jax backend" in out
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["versions"]["backend"] == "jax"
    assert (tmp_path / "run" / "model.keras").exists()


IMAGES_IN_FLOAT32 = """
import numpy as np, tensorflow as tf
from keras_wrn.training import devices
x = np.random.default_rng(0).normal(size=(64, 512)).astype("float32")
with devices.precision_scope("bfloat16"):
    dataset = tf.data.Dataset.from_tensors(x).map(lambda x: tf.linalg.matmul(x, x, False, True))
    inside = next(iter(dataset)).numpy()
print(np.abs(inside - x @ x.T).max() / 512)
"""


def test_images_are_not_made_in_bfloat16(run_python):
    assert float(run_python(IMAGES_IN_FLOAT32)) < 1e-5


HAS_ONEDNN = """
import keras_wrn
from tensorflow.python.util import _pywrap_util_port
print(_pywrap_util_port.IsMklEnabled())
"""


@tensorflow_only
@pytest.mark.skipif(platform.machine() != "x86_64", reason="oneDNN is for x86-64")
@pytest.mark.parametrize(
    ("variable", "expected"),
    [(None, "True"), pytest.param("0", "False", marks=pytest.mark.slow)],
)
def test_importing_keras_wrn_first_takes_onednn(monkeypatch, run_python, variable, expected):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    settings = {} if variable is None else {"TF_ENABLE_ONEDNN_OPTS": variable}
    assert run_python(HAS_ONEDNN, **settings).strip() == expected


@tensorflow_only
@pytest.mark.parametrize(
    ("variable", "flags", "expected"),
    [
        (None, "fma avx2", True),
        (None, "avx2 avx512_vnni", False),
        (None, "", False),
        ("1", "fma avx2", False),
        ("0", "fma avx2", False),
    ],
)
def test_lacks_onednn_where_nobody_asked_for_it(monkeypatch, variable, flags, expected):
    """keras_wrn asks for it on import, but where TensorFlow was there before."""
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    if variable:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", variable)
    monkeypatch.setattr(devices, "cpu_facts", lambda field: flags)
    assert devices.lacks_onednn() == expected


@tensorflow_only
@pytest.mark.parametrize("off", [True, False])
def test_a_run_says_that_onednn_is_off(monkeypatch, capsys, tmp_path, off):
    monkeypatch.setattr(announce, "lacks_onednn", lambda: off)
    run(PLAIN, run_dir=tmp_path / "run", made_up=True)
    assert ("or set TF_ENABLE_ONEDNN_OPTS=1" in capsys.readouterr().out) == off


@tensorflow_only
@pytest.mark.parametrize(
    ("there", "hidden"),
    [
        (True, False),
        (True, True),
        (False, False),
    ],
)
def test_a_run_names_a_gpu_that_tensorflow_does_not_see(
    monkeypatch, capsys, tmp_path, there, hidden
):
    """What TensorFlow says of it is not shown."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    exists = devices.Path.exists
    monkeypatch.setattr(
        devices.Path, "exists", lambda path: there if str(path) == "/dev/nvidia0" else exists(path)
    )
    monkeypatch.setattr(devices, "uses_graph_rewrite", lambda: True)
    run(PLAIN, run_dir=tmp_path / "run", made_up=True)
    assert ("KERAS_WRN_VERBOSE=1" in capsys.readouterr().out) == (there and not hidden)
