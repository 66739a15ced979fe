"""A saved model says the same on JAX and PyTorch."""

import keras
import numpy as np
import pytest
from anomaly.small import good, network, photo

from keras_wrn.anomaly import PaDiM, PatchCore

ASK = """
import sys
import numpy as np
import keras_wrn
photo = np.load(sys.argv[1])
for path in sys.argv[2:]:
    found = keras_wrn.load_model(path).score(photo)
    print(found["score"], found["map"].mean(), found["is_anomaly"])
"""


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="compared with TensorFlow")
@pytest.mark.parametrize("backend", [
    pytest.param("jax", marks=pytest.mark.extra("jax")),
    pytest.param("torch", marks=pytest.mark.extra("torch")),
])  # fmt: skip
def test_a_saved_model_says_the_same_on_every_backend(backend, tmp_path, run_python):
    models = [
        PatchCore(network(), image_size=32, coreset=0.05, top_share=0.0).fit(good(5)),
        PaDiM(network(), image_size=32, features=20).fit(good(5)),
    ]
    odd = photo(np.random.default_rng(0), odd=True)[0]
    np.save(tmp_path / "photo.npy", odd)
    paths = [tmp_path / f"{model.name}.keras" for model in models]
    for model, path in zip(models, paths, strict=True):
        model.save(path)
    said = run_python(ASK, tmp_path / "photo.npy", *paths, KERAS_BACKEND=backend)
    for model, line in zip(models, said.splitlines()[-2:], strict=True):
        score, mean, is_anomaly = line.split()
        expected = model.score(odd)
        assert float(score) == pytest.approx(expected["score"], rel=1e-4)
        assert float(mean) == pytest.approx(float(expected["map"].mean()), rel=1e-4)
        assert is_anomaly == str(expected["is_anomaly"])
