"""A small network with statistics far from their initial values, and real images for it."""

import os

import keras
import pytest
from formats import Onnx, OpenVino
from tiny import randomize

import keras_wrn


def build(policy="float32", **arguments):
    keras.utils.set_random_seed(1)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = keras_wrn.WideResNet(**{"depth": 10, "width": 1, "dropout": 0.5, **arguments})
    finally:
        keras.config.set_dtype_policy(before)
    randomize(model)
    model.preprocessing = keras_wrn.Preprocessing(
        size=32, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25), class_names=tuple("abcdefghij")
    )
    return model


@pytest.fixture(name="build", scope="session")
def build_fixture():
    return build


@pytest.fixture(scope="session")
def network():
    return build()


@pytest.fixture(scope="session", params=[pytest.param(r, marks=r.needed) for r in (Onnx, OpenVino)])
def runtime(request):
    return request.param


@pytest.fixture(
    scope="session", params=["digits", pytest.param("cifar10", marks=pytest.mark.extra)]
)
def images(request):
    if request.param == "cifar10" and "TFDS_DATA_DIR" not in os.environ:
        pytest.skip("TFDS_DATA_DIR does not say where CIFAR-10 is")
    return keras_wrn.data.load_arrays(request.param, "test")[0][:24]


@pytest.fixture(scope="session")
def zca():
    train, _ = keras_wrn.data.load_arrays("digits", "train")
    small = train[:64, ::4, ::4]
    return keras_wrn.data.ZCA.fit(small, cache_dir=False), small


@pytest.fixture
def unverified(monkeypatch):
    """For tests that look at the answers themselves: verifying takes most of an export."""
    monkeypatch.setattr("keras_wrn.export.saved_model._verify", lambda *_: None)


@pytest.fixture(scope="session")
def trained():
    """A network that tells digits apart: agreement says something only where margins are real."""
    images, labels = keras_wrn.data.load_arrays("digits", "train")
    info = keras_wrn.data.dataset_info("digits")
    keras.utils.set_random_seed(0)
    model = keras_wrn.WideResNet(10, 1, classifier_activation=None)
    model.preprocessing = keras_wrn.data.default_preprocessing(info)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras_wrn.SGD(0.1), loss, jit_compile=False)
    model.fit(model.preprocessing.normalize(images), labels, batch_size=64, epochs=10, verbose=0)
    return model
