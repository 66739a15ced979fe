"""Outputs, loss, every gradient and the moving statistics, against the network in PyTorch."""

import keras
import numpy as np
import pytest

from keras_wrn.catalog import PreActResNet, ResNet, WideResNet
from keras_wrn.models import BatchNormalization

torch = pytest.importorskip("torch", reason="needs torch, of the extra `parity`")
pytestmark = pytest.mark.extra("torch")
reference = pytest.importorskip("reference_torch")
from models.parity import TOLERANCE, check_equal, train_both  # noqa: E402

NUM_BLOCKS = 2  # one block that changes the channels and one that does not
BLOCKS = {"B33": (3, 3), "B131": (1, 3, 1), "B311": (3, 1, 1), "B3333": (3, 3, 3, 3)}
SIZES = [(8, 12), (9, 7)]


@pytest.mark.parametrize(
    ("block", "width", "size", "dtype", "decomposed"),
    [
        (block, width, size, dtype, False)
        for block in BLOCKS
        for width in (1, 2)
        for size in SIZES
        for dtype in TOLERANCE
    ]
    + [("B33", 2, (9, 7), "float32", True)],
)
def test_the_networks_are_one(block, width, size, dtype, decomposed, set_policy):
    set_policy(dtype)
    keras.utils.set_random_seed(0)
    model = WideResNet(
        10, width, block=block, num_blocks=NUM_BLOCKS, input_shape=(*size, 3),
        classifier_activation=None,
    )  # fmt: skip
    for layer in model.layers:
        if decomposed and isinstance(layer, BatchNormalization):
            layer._fusable = lambda inputs: False
    network = reference.WideResNet(NUM_BLOCKS, width, BLOCKS[block])
    check_equal(train_both(model, network, size, dtype), dtype)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("build", "settings"),
    [
        (PreActResNet, {"depth": 20, "bottleneck": True}),
        (PreActResNet, {"depth": 14, "bottleneck": False}),
        (ResNet, {"depth": 14}),
    ],
)
def test_the_thin_networks_are_one(build, settings, dtype, size, set_policy):
    set_policy(dtype)
    keras.utils.set_random_seed(0)
    model = build(**settings, input_shape=(*size, 3), classifier_activation=None)
    network = reference.ThinResNet(2, settings.get("bottleneck", False), build is PreActResNet)
    check_equal(train_both(model, network, size, dtype), dtype)


def test_float64_is_float64_throughout(set_policy):
    set_policy("float64")
    model = WideResNet(10, 1, input_shape=(8, 8, 3))
    assert {variable.dtype for variable in model.weights} == {"float64"}
    assert model(np.zeros((1, 8, 8, 3))).dtype == "float64"
