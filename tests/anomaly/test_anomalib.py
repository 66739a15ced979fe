"""Scores and maps of PatchCore and PaDiM against anomalib's, with the same random weights.

anomalib brings its own torch, so that it has an environment of its own, here with one for CPUs:

    python3 -m venv anomalib
    anomalib/bin/pip install torch==2.13.0+cpu torchvision==0.28.0 anomalib==2.7.0

KERAS_WRN_ANOMALIB_PYTHON is the path of its Python: anomalib/bin/python.
"""

import os
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest
from photo_files import picture

import keras_wrn
from keras_wrn.anomaly import PaDiM, PatchCore

NAME = "KERAS_WRN_ANOMALIB_PYTHON"
SIZE = 64
SMOOTHING = 4.0  # anomalib's at any size; here it is 1/64 of the side, which is 4 of 256 pixels
RTOL = 1e-4

pytestmark = [
    pytest.mark.large,
    pytest.mark.skipif(not os.environ.get(NAME), reason=f"{NAME}, anomalib's Python, is not set"),
]

# In float64, so that it is only this package that rounds.
ANOMALIB = """
import sys

import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn import functional
from torchvision_here import import_torchvision

import_torchvision()
from anomalib.models.components import MultiVariateGaussian
from anomalib.models.image.padim.torch_model import PadimModel
from anomalib.models.image.patchcore.torch_model import PatchcoreModel

weights, given, answer = sys.argv[1:]
torch.set_default_dtype(torch.float64)
given = {name: torch.from_numpy(value) for name, value in np.load(given).items()}
good, asked = (given[name].double().permute(0, 3, 1, 2) for name in ("good", "asked"))

# anomalib resizes PatchCore's map and PaDiM's stages to the nearest place; here bilinearly.
plain = functional.interpolate
functional.interpolate = lambda maps, size, **_: plain(maps, size, mode="bilinear")

# anomalib adds 0.01 to the diagonal of PaDiM's covariance, and then 1e-5 more; here 0.01.
covariance = MultiVariateGaussian._cov
MultiVariateGaussian._cov = staticmethod(
    lambda vectors, **settings: covariance(vectors, **settings) - 1e-5 * torch.eye(vectors.shape[1])
)


def load(model):
    state = load_file(weights)
    network = model.feature_extractor.feature_extractor
    names = [name for name in network.state_dict() if not name.endswith("num_batches_tracked")]
    network.load_state_dict({name: state[name] for name in names}, strict=False)
    return model


if "bank" in given:
    model = load(PatchcoreModel(["layer2", "layer3"], "wide_resnet50_2", False))
    known = model.train()(good)
    model.memory_bank = given["bank"].double()
else:
    layers, picked = ["layer1", "layer2", "layer3"], given["picked"]
    model = load(PadimModel("wide_resnet50_2", layers, False, len(picked)))
    model.idx = picked
    known = model.train()(good)
    model.fit()
with torch.no_grad():
    found = model.eval()(asked)
np.savez(answer, known=known, score=found.pred_score.ravel(), map=found.anomaly_map[:, 0])
"""


@pytest.fixture(scope="module")
def network():
    """A WRN-50-2 of random weights whose features are of the order of one."""
    keras.utils.set_random_seed(0)
    model = keras_wrn.WideResNet50_2(input_shape=(SIZE, SIZE, 3))
    random = np.random.default_rng(0)
    for layer in model.layers:
        if hasattr(layer, "moving_mean"):
            shape, scale = layer.gamma.shape, 0.3 if layer.name.endswith("_bn3") else 1.0
            layer.gamma.assign(scale * random.uniform(0.5, 1.5, shape))
            layer.beta.assign(random.normal(0, 0.2, shape))
            layer.moving_mean.assign(random.normal(0, 0.3, shape))
            layer.moving_variance.assign(random.uniform(0.5, 1.5, shape))
    model.preprocessing = keras_wrn.Preprocessing(
        SIZE, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    )
    return model


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "network.safetensors"
    keras_wrn.save_torch_weights(network, path)
    return path


def photos(count, seed, own=0.1):
    """Photos that are alike: else the kept patches around the nearest one would not weigh."""
    common = np.asarray(picture(np.random.default_rng(9), SIZE, SIZE))
    random = np.random.default_rng(seed)
    others = np.stack([np.asarray(picture(random, SIZE, SIZE)) for _ in range(count)])
    return ((1 - own) * common + own * others).astype("uint8")


def fit(model, good):
    """Fit a model; returns the photos that are not held out."""
    model.fit(good, validation=1 / len(good))
    order = np.random.default_rng(0).permutation(len(good))
    return good[np.sort(order[1:])]


def compare(model, weights, good, folder, **learned):
    """Score photos with a model and with anomalib's; returns the features of `good` by anomalib."""
    asked = np.concatenate([photos(4, 1), photos(2, 2, own=0.2)])
    images = {"good": good.astype("float32"), "asked": asked.astype("float32")}
    images = {name: model.preprocessing.normalize(value) for name, value in images.items()}
    given, answer = folder / "given.npz", folder / "answer.npz"
    np.savez(given, **images, **learned)
    done = subprocess.run(
        [os.environ[NAME], "-c", ANOMALIB, weights, given, answer],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    expected = np.load(answer)
    found = model.score(list(asked))
    np.testing.assert_allclose([x["score"] for x in found], expected["score"], rtol=RTOL)
    apart = np.abs([x["map"] for x in found] - expected["map"])
    assert apart.max() < RTOL * expected["map"].max()
    return expected["known"]


def test_patchcore_is_that_of_anomalib(network, weights, tmp_path):
    model = PatchCore(network, image_size=SIZE, coreset=0.9, smoothing=SMOOTHING)
    good = fit(model, photos(12, 0))
    bank, center = (keras.ops.convert_to_numpy(x.value) for x in (model.bank, model.center))
    bank = bank[:, :-2] + center
    # anomalib's coreset has another projection and another first patch: it is given the one here.
    known = compare(model, weights, good, tmp_path, bank=bank)
    apart = np.array([np.square(known - patch).sum(axis=1) for patch in bank])
    assert len(set(apart.argmin(axis=1))) == len(bank) == round(0.9 * len(known))
    assert apart.min(axis=1).max() ** 0.5 < RTOL * np.abs(bank).max()


@pytest.mark.parametrize(("count", "features"), [(8, 100), (12, 8)])
def test_padim_is_that_of_anomalib(network, weights, count, features, tmp_path):
    model = PaDiM(network, image_size=SIZE, features=features, smoothing=SMOOTHING)
    good = fit(model, photos(count, 0))
    # anomalib chooses other channels at random: it is given those chosen here.
    compare(model, weights, good, tmp_path, picked=np.array(model.picked))
