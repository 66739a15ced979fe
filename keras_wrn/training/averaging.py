"""The moving average of weights that a run may end with, and its batch norm statistics."""

import keras

from keras_wrn.models.layers import BatchNormalization

STATISTICS_BATCHES = 100


def averaging(momentum):
    """The arguments that make a Keras optimizer keep a moving average; 0 for none."""
    return {"use_ema": True, "ema_momentum": momentum} if momentum else {}


def hold_average(optimizer):
    """Keep `fit` from putting the average into the weights at its end: a run has several fits.

    Returns:
        The function that does so, which takes the trained variables.
    """
    take = optimizer.finalize_variable_values
    optimizer.finalize_variable_values = lambda variables: None
    return take


def renew_statistics(model, batches, epochs):
    """Set the moving statistics of batch norms to their means over batches of the last epoch.

    The statistics of a run belong to the weights of its last steps, not to an average of weights.

    Args:
        model: `keras.Model`, whose other weights stay.
        batches: `Batches` that it was trained on.
        epochs: int, the epochs of the run.

    Returns:
        int, how many images went through the network.
    """
    layers = [layer for layer in model.layers if isinstance(layer, BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    steps = batches.steps_per_epoch
    count = min(STATISTICS_BATCHES, steps)
    make = batches.dataset if keras.backend.backend() == "tensorflow" else batches.arrays
    try:
        made = make((epochs - 1) * steps, epochs)
        for index, (images, _) in zip(range(count), made, strict=False):
            for layer in layers:
                layer.momentum = index / (index + 1)
            model(keras.ops.convert_to_tensor(images), training=True)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    return count * batches.batch_size
