"""SGD as Torch does it: coupled weight decay, and the learning rate outside the momentum."""

import math
import numbers

import keras
from keras import ops

from keras_wrn.kernels import momentum_step, on_tensorflow, replicas

# A constant rate that falls by more than this share is a drop of a step schedule. The rate of a
# smooth schedule changes at every step; near its end it falls as steeply, but that is not a drop.
DROP = 0.1


@keras.saving.register_keras_serializable("keras_wrn")
class SGD(keras.optimizers.Optimizer):
    """Stochastic gradient descent with the semantics of `torch.optim.SGD`.

    With gradient g, weight w, momentum m, decay d and rate r, one step is

        g = g + d w
        v = m v + g
        w = w - r (g + m v)      (Nesterov; without: w - r v)

    `keras.optimizers.SGD` differs in two ways: its `weight_decay` is decoupled (about ten times
    weaker at momentum 0.9), and it keeps the rate inside v, so the two diverge when the rate drops.

    Args:
        learning_rate: float, or a `keras.optimizers.schedules.LearningRateSchedule`.
        momentum: float in [0, 1).
        nesterov: bool.
        weight_decay: float, the coupled decay d. Under a `tf.distribute` strategy it counts once,
            not once per replica.
        decay_norm_and_bias: bool, whether vectors (gamma, beta, biases) decay too. The authors
            decay all parameters.
        reset_momentum_on_drop: bool, whether v is cleared when a constant rate falls by more than
            10 %, as the authors' Lua code does at each milestone. Smooth schedules keep v: a rate
            counts as constant once it has held for two steps.
        lr_multipliers: dict from a layer name prefix to the factor on its rate, such as
            `{"group1": 0.1}`. The longest matching prefix counts; a number at its end must match
            whole: "stage3_block1" does not match "stage3_block12". A variable's own name, such as
            "beta", applies to all variables of that name that no prefix matches.
        **kwargs: those of `keras.optimizers.Optimizer` (`clipnorm`, `use_ema`, ...).

    Raises:
        ValueError: a momentum outside [0, 1), a negative weight decay or multiplier; once it is
            built for a model, a prefix that no layer has, or `gradient_accumulation_steps` on
            several replicas.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html and train.lua of
    the authors' code.

    Example:

    ```python
    model.compile(keras_wrn.SGD(0.1, weight_decay=5e-4), "sparse_categorical_crossentropy")
    ```
    """

    def __init__(
        self,
        learning_rate=0.1,
        momentum=0.9,
        nesterov=True,
        weight_decay=5e-4,
        decay_norm_and_bias=True,
        reset_momentum_on_drop=False,
        lr_multipliers=None,
        name="sgd",
        **kwargs,
    ):
        if not 0 <= momentum < 1:
            raise ValueError(f"`momentum` should be in [0, 1). Received: momentum={momentum!r}")
        if weight_decay is None or not weight_decay >= 0:
            raise ValueError(
                f"`weight_decay` should be 0 or positive. Received: weight_decay={weight_decay!r}"
            )
        multipliers = {} if lr_multipliers is None else lr_multipliers
        if not isinstance(multipliers, dict) or not all(
            isinstance(f, numbers.Real) and 0 <= float(f) < math.inf for f in multipliers.values()
        ):
            raise ValueError(
                "`lr_multipliers` should map prefixes of layer names to factors of 0 or more. "
                f"Received: lr_multipliers={lr_multipliers!r}"
            )
        # The base class gets no weight decay: its own is decoupled, and would be added on top.
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        if reset_momentum_on_drop and self.gradient_accumulation_steps:
            raise ValueError(
                "`reset_momentum_on_drop` does not work with `gradient_accumulation_steps`. "
                f"Received: gradient_accumulation_steps={self.gradient_accumulation_steps!r}"
            )
        self.momentum = momentum
        self.nesterov = nesterov
        self.coupled_weight_decay = weight_decay
        self.decay_norm_and_bias = decay_norm_and_bias
        self.reset_momentum_on_drop = reset_momentum_on_drop
        self.lr_multipliers = {name: float(factor) for name, factor in multipliers.items()}

    def build(self, variables):
        if self.built:
            return
        paths = [path_of(variable) for variable in variables]
        lost = [p for p in self.lr_multipliers if not any(_names(path, p) for path in paths)]
        if lost:
            raise ValueError(
                "`lr_multipliers` should name layers of the model by the beginnings of their "
                f"names. Received: {lost}; the trained variables are {', '.join(paths)}"
            )
        if self.gradient_accumulation_steps and replicas() > 1:
            raise ValueError(
                "`gradient_accumulation_steps` does not work under a `tf.distribute` strategy of "
                f"several replicas (here {replicas()}): they add their gradients up in every step. "
                f"Received: gradient_accumulation_steps={self.gradient_accumulation_steps!r}"
            )
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum")
        self.decays = [
            self.coupled_weight_decay
            if self._use_weight_decay(v) and (self.decay_norm_and_bias or len(v.shape) > 1)
            else 0.0
            for v in variables
        ]
        self.multipliers = [self._multiplier(path) for path in paths]
        if self.reset_momentum_on_drop:
            self.last_rates = self.add_variable(
                (2,), aggregation="only_first_replica", name="last_learning_rates"
            )

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        """Exclude variables from weight decay, before the optimizer is built, as Keras documents.

        Raises:
            ValueError: the optimizer is already built.
        """
        if self.built:
            raise ValueError(
                "`exclude_from_weight_decay` should be called before the optimizer is built, which "
                "the first step, or `build`, does. Received: a call on a built optimizer"
            )
        super().exclude_from_weight_decay(var_list, var_names)

    def _multiplier(self, path):
        prefixes = [prefix for prefix in self.lr_multipliers if _begins(path, prefix)]
        own = self.lr_multipliers.get(path.split("/")[-1], 1.0)
        return self.lr_multipliers[max(prefixes, key=len)] if prefixes else own

    def apply(self, grads, trainable_variables=None):
        rate = self.learning_rate
        super().apply(grads, trainable_variables)
        if self.reset_momentum_on_drop:
            rate = ops.cast(rate, self.last_rates.dtype)
            self.last_rates.assign(ops.stack([self.last_rates[1], rate]))

    def _is_drop(self, rate):
        before, last = self.last_rates[0], self.last_rates[1]
        fell = ops.cast(rate, self.last_rates.dtype) < (1 - DROP) * last
        return ops.logical_and(fell, ops.equal(before, last))

    def update_step(self, gradient, variable, learning_rate):
        """Update one variable from its gradient; both have the variable's shape."""
        index = self._get_variable_index(variable)
        velocity = self.momentums[index]
        dtype = velocity.dtype
        rate = ops.cast(learning_rate, dtype)
        gradient = ops.cast(gradient, dtype)
        if self.decays[index]:
            gradient = gradient + self.decays[index] * variable
        if on_tensorflow() and not self.reset_momentum_on_drop:
            rate = self.multipliers[index] * rate
            momentum_step(variable, velocity, gradient, rate, self.momentum, self.nesterov)
            return
        kept = self.momentum * velocity
        if self.reset_momentum_on_drop:
            kept = ops.where(self._is_drop(rate), ops.zeros_like(kept), kept)
        new_velocity = kept + gradient
        self.assign(velocity, new_velocity)
        step = gradient + self.momentum * new_velocity if self.nesterov else new_velocity
        self.assign_sub(variable, self.multipliers[index] * rate * step)

    def get_config(self):
        config = super().get_config()
        config.update(
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.coupled_weight_decay,
            decay_norm_and_bias=self.decay_norm_and_bias,
            reset_momentum_on_drop=self.reset_momentum_on_drop,
            lr_multipliers=self.lr_multipliers,
        )
        return config


def path_of(variable):
    """The path of a Keras variable, such as conv1/kernel; for a bare `tf.Variable`, its name."""
    return getattr(variable, "path", None) or variable.name.split(":")[0]


def _names(path, key):
    """Whether a key of `lr_multipliers` matches the variable at a path."""
    return _begins(path, key) or path.split("/")[-1] == key


def _begins(path, prefix):
    """Whether a path begins with a prefix that does not end in the middle of a number."""
    rest = path[len(prefix) :]
    inside = prefix[-1:].isdigit() and rest[:1].isdigit()
    return path.startswith(prefix) and not inside
