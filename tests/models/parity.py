"""One step of a network in Keras and in PyTorch, compared."""

import types

import numpy as np
import reference_torch as reference
import tensorflow as tf
import torch

TOLERANCE = {"float32": (1e-4, 1e-3), "float64": (1e-8, 1e-8)}  # outputs, gradients


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


def train_both(model, network, size, dtype):
    """One forward and backward pass of the same network on both sides, then inference."""
    reference.randomize(model)
    network = network.to(getattr(torch, dtype))
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


def check_equal(case, dtype):
    """Check that what `train_both` returned is equal: outputs, statistics, every gradient."""
    close, gradients_close = TOLERANCE[dtype]
    model, network = case.model, case.network
    statistics = [variable.numpy() for variable in model.non_trainable_weights]
    errors = {
        "outputs": reference.relative(case.outputs, case.torch_outputs.detach()),
        "loss": reference.relative(case.loss, case.torch_loss.detach()),
        "inference": reference.relative(case.inferred, case.torch_inferred),
        **reference.weight_errors(model.non_trainable_weights, statistics, network.state_dict()),
    }
    assert max(errors.values()) <= close, errors

    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    assert len(gradients) == len(model.trainable_weights)
    errors = reference.weight_errors(model.trainable_weights, case.gradients, gradients)
    assert max(errors.values()) <= gradients_close, errors
