"""Outputs, loss, every gradient and the moving statistics, against the network in PyTorch."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_wrn.catalog import WideResNet
from keras_wrn.models import BatchNormalization

torch = pytest.importorskip("torch", reason="needs torch, of the extra `parity`")
pytestmark = pytest.mark.extra("torch")
reference = pytest.importorskip("reference_torch")

NUM_BLOCKS = 2  # one block that changes the channels and one that does not
BLOCKS = {"B33": (3, 3), "B131": (1, 3, 1), "B311": (3, 1, 1), "B3333": (3, 3, 3, 3)}
TOLERANCE = {"float32": (1e-4, 1e-3), "float64": (1e-8, 1e-8)}  # outputs, gradients
SIZES = [(8, 12), (9, 7)]


def images_off_the_kink(network, size, dtype):
    """Images of which no ReLU of the network sees an input so small that rounding turns its sign.

    A ReLU that passes on one side and not on the other is no mistake of either, and shows in
    float32 as a gradient that is off by a percent.
    """
    for seed in range(100):
        images = np.random.default_rng(seed).normal(size=(4, *size, 3)).astype(dtype)
        network(reference.to_torch_images(images))
        if network.margin > 1e-5:
            return images
    raise AssertionError("found no such images")


def train_both(block, width, size, dtype, decomposed):
    """One forward and backward pass of the same network on both sides, then inference."""
    keras.utils.set_random_seed(0)
    model = WideResNet(
        10, width, block=block, num_blocks=NUM_BLOCKS, input_shape=(*size, 3),
        classifier_activation=None,
    )  # fmt: skip
    reference.randomize(model)
    for layer in model.layers:
        if decomposed and isinstance(layer, BatchNormalization):
            layer._fusable = lambda inputs: False
    network = reference.WideResNet(NUM_BLOCKS, width, BLOCKS[block]).to(getattr(torch, dtype))
    reference.copy_weights(model, network)
    images = images_off_the_kink(network, size, dtype)
    reference.copy_weights(model, network)  # the search moved the statistics
    labels = np.array([3, 1, 4, 1])

    result = types.SimpleNamespace(model=model, network=network)
    with tf.GradientTape() as tape:
        result.outputs = model(images, training=True)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, result.outputs)
        result.loss = tf.reduce_mean(losses)
    result.gradients = tape.gradient(result.loss, model.trainable_weights)
    tensor = reference.to_torch_images(images)
    result.torch_outputs = network(tensor)
    result.torch_loss = torch.nn.functional.cross_entropy(
        result.torch_outputs, torch.from_numpy(labels)
    )
    result.torch_loss.backward()
    with torch.no_grad():
        result.inferred = model(images, training=False)
        result.torch_inferred = network.eval()(tensor)
    return result


@pytest.fixture(
    params=[
        (block, width, size, dtype)
        for block in BLOCKS
        for width in (1, 2)
        for size in SIZES
        for dtype in TOLERANCE
    ]
    + [("B33", 2, (9, 7), "float32", True)],
    ids=lambda case: "-".join(map(str, case)),
)
def case(request, set_policy):
    block, width, size, dtype, *decomposed = request.param
    set_policy(dtype)
    result = train_both(block, width, size, dtype, any(decomposed))
    result.close, result.gradients_close = TOLERANCE[dtype]
    return result


def test_the_networks_are_one(case):
    model, network = case.model, case.network
    statistics = [variable.numpy() for variable in model.non_trainable_weights]
    errors = {
        "outputs": reference.relative(case.outputs, case.torch_outputs.detach()),
        "loss": reference.relative(case.loss, case.torch_loss.detach()),
        "inference": reference.relative(case.inferred, case.torch_inferred),
        **reference.weight_errors(model.non_trainable_weights, statistics, network.state_dict()),
    }
    assert max(errors.values()) <= case.close, errors

    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    assert len(gradients) == len(model.trainable_weights)
    errors = reference.weight_errors(model.trainable_weights, case.gradients, gradients)
    assert max(errors.values()) <= case.gradients_close, errors


def test_float64_is_float64_throughout(set_policy):
    set_policy("float64")
    model = WideResNet(10, 1, input_shape=(8, 8, 3))
    assert {variable.dtype for variable in model.weights} == {"float64"}
    assert model(np.zeros((1, 8, 8, 3))).dtype == "float64"
