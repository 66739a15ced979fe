"""Other backends get the same numbers from arrays, and do not load TensorFlow for it."""

import json

import pytest

CODE = """
import hashlib, json, sys
import numpy as np
import keras
from keras_wrn.data import Augmentation, Batches, Preprocessing
from keras_wrn.data.evaluation import EvalBatches, eval_dataset

images = np.random.default_rng(0).integers(0, 256, (48, 8, 8, 3), dtype="uint8")
labels = np.arange(48) % 10
preprocessing = Preprocessing(8, mean=(0.4, 0.5, 0.6), std=(0.1, 0.2, 0.3))
settings = {"batch_size": 16, "preprocessing": preprocessing, "seed": 5}
found = {}
for name, heavy in {
    "paper": {}, "cutout": {"cutout": 3}, "mixing": {"mixup": 0.5, "cutmix": 1.0},
    "pillow": {"color_jitter": 0.4, "rand_augment": 0.5, "trivial_augment": True},
}.items():
    batches = Batches(images, labels, 10, **settings, augmentation=Augmentation(**heavy))
    digest = hashlib.sha256()
    arrays = batches.arrays(1, 2)
    for index in range(len(arrays)):
        for part in arrays[index]:
            assert type(part) is np.ndarray and part.dtype == "float32"
            digest.update(part.tobytes())
    found[name] = digest.hexdigest()
errors = []
for road in (
    lambda: batches.dataset(),
    lambda: eval_dataset(images, labels, 10, batch_size=16, preprocessing=preprocessing),
):
    try:
        road()
    except ValueError as error:
        errors.append(str(error))
loaded = [name for name in ("tensorflow", "tensorflow_datasets", "keras_cv") if name in sys.modules]
backend = keras.backend.backend()
print(json.dumps({"backend": backend, "found": found, "errors": errors, "loaded": loaded}))
"""


@pytest.fixture(scope="module")
def on_tensorflow(run_python):
    return json.loads(run_python(CODE, KERAS_BACKEND="tensorflow").splitlines()[-1])


@pytest.mark.parametrize(
    "backend", [pytest.param(name, marks=pytest.mark.extra(name)) for name in ("jax", "torch")]
)
def test_arrays_are_the_same_on_every_backend(backend, on_tensorflow, run_python):
    found = json.loads(run_python(CODE, KERAS_BACKEND=backend).splitlines()[-1])
    assert found["backend"] == backend
    assert found["found"] == on_tensorflow["found"]
    assert found["loaded"] == []
    assert len(found["errors"]) == 2
    assert all("needs the TensorFlow backend" in error for error in found["errors"])
    assert not on_tensorflow["errors"] and on_tensorflow["loaded"] == ["tensorflow"]
