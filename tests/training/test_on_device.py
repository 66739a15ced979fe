"""On JAX the training images lie on the device, and the batches are made there."""

import json

import pytest

TRAIN = """
import dataclasses, json, sys
absent, where, on_device, settings = sys.argv[1].split(), sys.argv[2], sys.argv[3], sys.argv[4]
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in absent:
            raise ImportError(name)
sys.meta_path.insert(0, Absent())
from tiny import PLAIN
import keras_wrn
from keras_wrn.training import inputs as run_module
if on_device == "no":
    run_module.fits_device = lambda placement, images: False
data = dataclasses.replace(PLAIN.data, dataset="cifar10", **json.loads(settings))
model = dataclasses.replace(PLAIN.model, whitened_stem=True)
optimizer = dataclasses.replace(PLAIN.optimizer, kernel_rate=0.2)
recipe = dataclasses.replace(PLAIN, data=data, model=model, optimizer=optimizer)
keras_wrn.run(recipe, run_dir=where, made_up=True)
"""
HEAVY = {"horizontal_flip": True, "alternating_flip": True, "cutout": 5, "mixup": 0.3,
         "cutmix": 1.0, "small_size": 24, "crop_padding": 3}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory, run_python):
    found = {}
    for road, absent in (("yes", "tensorflow tensorflow_datasets keras_cv"), ("no", "none")):
        where = tmp_path_factory.mktemp("runs") / road
        run_python(TRAIN, absent, str(where), road, json.dumps(HEAVY), KERAS_BACKEND="jax")
        lines = (where / "log.jsonl").read_text().splitlines()
        found[road] = [json.loads(line) for line in lines]
    return found


@pytest.mark.extra("jax")
def test_training_from_the_device_equals_training_from_the_host(trained):
    """The same numbers but for the rounding of the normalisation, without TensorFlow and with."""
    on_device, from_host = trained["yes"], trained["no"]
    assert len(on_device) == len(from_host) == 2
    for ours, expected in zip(on_device, from_host, strict=True):
        assert ours["loss"] == pytest.approx(expected["loss"], rel=1e-5)
        assert ours["val_loss"] == pytest.approx(expected["val_loss"], rel=1e-4)
        assert ours["accuracy"] == expected["accuracy"]


BATCHES = """
import sys
import keras, numpy as np
from keras_wrn.data import Augmentation, Batches, Preprocessing
from keras_wrn.training.on_device import device_batches
images = np.random.default_rng(0).integers(0, 256, (40, 12, 12, 3), dtype="uint8")
batches = Batches(images, np.arange(40) % 10, 10, batch_size=8,
                  augmentation=Augmentation(crop_padding=2, cutout=3, cutmix=1.0),
                  preprocessing=Preprocessing(8, mean=(0.4, 0.5, 0.6), std=(0.1, 0.2, 0.3)))
seen = []
class Model(keras.Model):
    def train_step(self, state, data):
        seen.append(data)
        return {}, state
model = Model()
ours = device_batches(model, batches, 3, 2)
theirs = batches.arrays(3, 2)
assert len(ours) == len(theirs) == 7
for index in range(7):
    (data,) = ours[index]  # of the crops of one size
    assert data["images"] is ours.images  # the device's own, nothing is copied
    model.train_step(None, (data,))
    for found, expected in zip(seen[-1], theirs[index]):
        np.testing.assert_allclose(np.asarray(found), expected, atol=2e-6)
"""


@pytest.mark.extra("jax")
def test_batches_made_on_the_device_are_those_of_the_host(run_python):
    run_python(BATCHES, KERAS_BACKEND="jax")


DECIDE = """
import numpy as np
import types
from keras_wrn.training.placement import Placement
from keras_wrn.training import on_device
images = np.zeros((4, 8, 8, 3), "uint8")
batches, photos = (types.SimpleNamespace(images=images, host_only=x) for x in (False, True))
print(*(on_device.fits_device(Placement(count=n), batches) for n in (1, 2)))
print(on_device.fits_device(Placement(), photos))
on_device.LIMIT = 700
print(on_device.fits_device(Placement(), batches))
"""


@pytest.mark.parametrize(
    ("backend", "answers"),
    [
        pytest.param("jax", "True False False False", marks=pytest.mark.extra("jax")),
        ("tensorflow", "False False False False"),
    ],
)
def test_images_go_onto_the_device_on_jax_alone_and_where_they_fit(run_python, backend, answers):
    assert run_python(DECIDE, KERAS_BACKEND=backend).split() == answers.split()
