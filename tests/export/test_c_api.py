"""The artifact without Python's TensorFlow: its C library, and other versions of it."""

import pickle
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from encoded import BROKEN, ENCODED

from keras_wrn.export import export_saved_model

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="artifacts are written on TensorFlow"
)

IMAGES = dict(sorted({**ENCODED, **BROKEN}.items()))  # sound and broken ones mixed


def tensor_names(path):
    """Names in the graph of each signature: {signature: (inputs, outputs)}, dicts by key."""
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel()
    proto.ParseFromString((path / "saved_model.pb").read_bytes())
    definitions = proto.meta_graphs[0].signature_def
    return {
        name: tuple({k: v.name for k, v in part.items()} for part in (s.inputs, s.outputs))
        for name, s in definitions.items()
        if not name.startswith("__")
    }


def requests():
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (3, 32, 32, 3), dtype="uint8")
    return {
        "serving_default": [pixels.astype("float32"), np.zeros((0, 32, 32, 3), "float32")],
        "serve_uint8": [pixels, np.zeros((0, 32, 32, 3), "uint8")],
        "classify": [np.array([*IMAGES.values()], object), np.array([], object)],
    }


def run_elsewhere(tensorflow_dir, artifact, folder, version):
    """What a process without Python's TensorFlow answers, by signature."""
    names = tensor_names(artifact)
    calls, order = [], []
    for signature, batches in requests().items():
        inputs, outputs = names[signature]
        (key,) = inputs.values()
        for batch in batches:
            calls.append(({key: batch}, dict.fromkeys(outputs.values())))
            order.append((signature, {tensor: name for name, tensor in outputs.items()}))
    request, answer = folder / "request.pkl", folder / "answer.pkl"
    request.write_bytes(pickle.dumps({"path": str(artifact), "calls": calls}))
    script = Path(__file__).with_name("c_api.py")
    command = [sys.executable, script, tensorflow_dir, request, answer]
    said = subprocess.run(command, check=True, timeout=600, stdout=subprocess.PIPE, text=True)
    assert said.stdout.startswith(f"TensorFlow {version}")
    found: dict[str, list] = {}
    for (signature, keys), arrays in zip(order, pickle.loads(answer.read_bytes()), strict=True):
        found.setdefault(signature, []).append({keys[t]: a for t, a in arrays.items()})
    return found


def compare(artifact, found):
    """Compare with Python's TensorFlow here; returns the rows of `classify` that differ in kind."""
    import tensorflow as tf

    signatures = tf.saved_model.load(str(artifact)).signatures
    assert sorted(found) == sorted(signatures) == ["classify", "serve_uint8", "serving_default"]
    unknown = []
    for name, batches in requests().items():
        for batch, answer in zip(batches, found[name], strict=True):
            (key,) = signatures[name].structured_input_signature[1]
            dtype = tf.string if batch.dtype == object else None
            expected = signatures[name](**{key: tf.constant(batch, dtype)})
            expected = {k: v.numpy() for k, v in expected.items()}
            rows = np.full(len(batch), True)
            if name == "classify":
                rows = expected["valid"] == answer["valid"]
                assert not answer["valid"][~rows].any()
                unknown = [
                    name for name, same in zip(IMAGES, rows, strict=False) if not same
                ] or unknown
            for k, value in expected.items():
                assert answer[k].shape == value.shape
                if value.dtype.kind == "f":
                    np.testing.assert_allclose(answer[k][rows], value[rows], atol=1e-5)
                elif k != "classes" and k != "indices":
                    assert answer[k][rows].tolist() == value[rows].tolist()
                else:
                    assert answer[k][rows, 0].tolist() == value[rows, 0].tolist()
    return unknown


@pytest.fixture(scope="module")
def artifact(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("c_api") / "network"
    export_saved_model(network, path)
    return path


@pytest.mark.slow
def test_the_c_library_answers_the_same(artifact, tmp_path):
    import tensorflow as tf

    found = run_elsewhere(Path(tf.__file__).parent, artifact, tmp_path, tf.__version__)
    assert compare(artifact, found) == []


@pytest.mark.parametrize("shape", [(2, 20, 20, 3), (2, 32, 32, 1), (32, 32, 3)])
def test_the_c_library_refuses_another_shape(artifact, tmp_path, shape):
    import tensorflow as tf

    inputs, outputs = tensor_names(artifact)["serving_default"]
    call = {inputs["image"]: np.zeros(shape, "float32")}, dict.fromkeys(outputs.values())
    request = tmp_path / "request.pkl"
    request.write_bytes(pickle.dumps({"path": str(artifact), "calls": [call]}))
    script = Path(__file__).with_name("c_api.py")
    command = [sys.executable, script, Path(tf.__file__).parent, request, tmp_path / "answer.pkl"]
    said = subprocess.run(command, timeout=600, capture_output=True, text=True)
    assert said.returncode == 1
    assert "is not compatible with expected shape [?,32,32,3]" in said.stderr


@pytest.mark.large
@pytest.mark.parametrize(("version", "decodes_webp"), [("2.19.1", False), ("2.20.0", True)])
def test_older_tensorflow_answers_the_same(artifact, tmp_path, version, decodes_webp):
    package = ["--no-deps", "--target", tmp_path / "old", f"tensorflow-cpu=={version}"]
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", *package], check=True)
    found = run_elsewhere(tmp_path / "old/tensorflow", artifact, tmp_path, version)
    unknown = compare(artifact, found)
    # What their decoder lacks is not valid, and never a failed load.
    webp = {name for name in ENCODED if "webp" in name}
    assert set(unknown) == (set() if decodes_webp else webp)
