"""Muon: the momentum of every convolution is made orthogonal before it is applied."""

import math

import keras
from keras import ops

from keras_wrn.optim.sgd import SGD, path_of

COEFFICIENTS = 3.4445, -4.7750, 2.0315  # of the quintic, from its source
ITERATIONS = 3
STEM = "conv1"  # which is left to SGD


@keras.saving.register_keras_serializable("keras_wrn")
class Muon(SGD):
    """Muon for convolution kernels, `keras_wrn.SGD` for everything else.

    A kernel W of `filters` output channels, with gradient g and momentum m, takes the step

        v = m v + g
        W = W sqrt(filters) / |W|
        W = W - r O(g + m v)

    where O makes the flattened kernel (filters, fan-in) nearly orthogonal, by three Newton-Schulz
    iterations, and r is `kernel_rate` times the learning rate. The kernel does not decay, and each
    step resets its norm, so the first step changes what trained weights compute. The convolution
    called conv1 is left to SGD.

    Args:
        learning_rate: float or `LearningRateSchedule`, the rate of SGD.
        kernel_rate: float, the kernels' rate as a multiple of SGD's.
        kernel_momentum: float in [0, 1), the momentum m of the kernels, always Nesterov's.
        **kwargs: those of `keras_wrn.SGD`, except `reset_momentum_on_drop`.

    Raises:
        ValueError: a negative `kernel_rate`, a `kernel_momentum` outside [0, 1), or anything that
            `keras_wrn.SGD` rejects.

    Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon, and its use for CIFAR-10
    in airbench.

    Example:

    ```python
    model.compile(keras_wrn.training.Muon(0.3, kernel_rate=0.2), "categorical_crossentropy")
    ```
    """

    def __init__(
        self, learning_rate=0.1, kernel_rate=0.2, kernel_momentum=0.6, name="muon", **kwargs
    ):
        if not 0 <= kernel_rate < math.inf:
            raise ValueError(f"`kernel_rate` should be 0 or positive. Received: {kernel_rate!r}")
        if not 0 <= kernel_momentum < 1:
            raise ValueError(
                f"`kernel_momentum` should be in [0, 1). Received: {kernel_momentum!r}"
            )
        super().__init__(learning_rate, name=name, **kwargs)
        if self.reset_momentum_on_drop:
            raise ValueError("Muon does not take `reset_momentum_on_drop`. Received: True")
        self.kernel_rate = kernel_rate
        self.kernel_momentum = kernel_momentum

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.kernels = [
            len(variable.shape) == 4 and path_of(variable).split("/")[0] != STEM
            for variable in variables
        ]

    def update_step(self, gradient, variable, learning_rate):
        """Update one variable from its gradient; both have the variable's shape."""
        index = self._get_variable_index(variable)
        if not self.kernels[index]:
            super().update_step(gradient, variable, learning_rate)
            return
        if not self.multipliers[index]:
            return
        velocity = self.momentums[index]
        gradient = ops.cast(gradient, velocity.dtype)
        new_velocity = self.kernel_momentum * velocity + gradient
        self.assign(velocity, new_velocity)
        filters = variable.shape[-1]
        matrix = ops.reshape(gradient + self.kernel_momentum * new_velocity, (-1, filters))
        step = ops.reshape(orthogonal(matrix), variable.shape)
        weights = ops.convert_to_tensor(variable)
        norm = ops.sqrt(ops.sum(ops.square(weights)))
        rate = ops.cast(learning_rate, velocity.dtype) * self.kernel_rate * self.multipliers[index]
        self.assign(variable, weights * (filters**0.5 / (norm + 1e-7)) - rate * step)

    def get_config(self):
        config = super().get_config()
        config.update(kernel_rate=self.kernel_rate, kernel_momentum=self.kernel_momentum)
        return config


def orthogonal(matrix):
    """Roughly the nearest orthogonal matrix, by Newton-Schulz; small directions stay smaller."""
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] >= matrix.shape[1]
    x = matrix / (ops.sqrt(ops.sum(ops.square(matrix))) + 1e-7)
    x = x if tall else ops.transpose(x)
    for _ in range(ITERATIONS):
        gram = ops.matmul(ops.transpose(x), x)
        x = a * x + ops.matmul(x, b * gram + c * ops.matmul(gram, gram))
    return x if tall else ops.transpose(x)
