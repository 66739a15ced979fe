"""Learning rate schedules over a whole run; milestones are fractions of it."""

import keras
from keras import ops

WARM_UP_EPOCHS = 5


def epochs_of(fraction: float, epochs: int) -> int:
    """The complete epochs a milestone stands for: round(fraction * epochs)."""
    return round(fraction * epochs)


@keras.saving.register_keras_serializable("keras_wrn")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """A linear rise from `start * peak` to the peak, then a linear fall to 0.

    Args:
        peak: float, the highest rate.
        total_steps: int, steps of the run; the rate of the last one is peak / (steps going down).
        warmup: float in [0, 1), the share of the steps in which the rate rises.
        start: float, the share of the peak to start from.

    Source: Smith & Topin 2018, https://arxiv.org/abs/1708.07120; linear decay to zero: Li et al.
    2020, https://arxiv.org/abs/1905.04753.

    Example:

    ```python
    rate = keras_wrn.training.OneCycle(peak=0.3, total_steps=15600, warmup=0.2)
    float(rate(3120))   # 0.3
    ```
    """

    def __init__(self, peak, total_steps, warmup=0.2, start=0.1):
        if not 0 <= warmup < 1:
            raise ValueError(f"`warmup` should be in [0, 1). Received: warmup={warmup!r}")
        self.peak = peak
        self.total_steps = total_steps
        self.warmup = warmup
        self.start = start

    def __call__(self, step):
        step = ops.cast(step, "float32")
        up = float(round(self.warmup * self.total_steps))
        rising = self.start + (1 - self.start) * step / max(up, 1.0)
        falling = (self.total_steps - step) / max(self.total_steps - up, 1.0)
        return self.peak * ops.where(step < up, rising, ops.maximum(falling, 0.0))

    def get_config(self):
        return {
            "peak": self.peak,
            "total_steps": self.total_steps,
            "warmup": self.warmup,
            "start": self.start,
        }


@keras.saving.register_keras_serializable("keras_wrn")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Another schedule with a warmup: its rate times a factor that rises linearly to 1.

    Args:
        schedule: `LearningRateSchedule`.
        steps: int, the number of steps until the factor is 1.
        start: float, the factor of the first step.

    Source: Goyal et al. 2017, https://arxiv.org/abs/1706.02677: 5 epochs, from 1 / scale.

    Example:

    ```python
    rate = keras_wrn.training.WarmUp(keras_wrn.training.OneCycle(0.4, 1000), steps=100, start=0.25)
    ```
    """

    def __init__(self, schedule, steps, start):
        self.schedule = schedule
        self.steps = steps
        self.start = start

    def __call__(self, step):
        share = ops.minimum(ops.cast(step, "float32") / max(self.steps, 1), 1.0)
        return self.schedule(step) * (self.start + (1 - self.start) * share)

    def get_config(self):
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "steps": self.steps, "start": self.start}

    @classmethod
    def from_config(cls, config):
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(schedule, config["steps"], config["start"])


def scaled_schedule(config, learning_rate, scale, epochs, steps_per_epoch):
    """`build_schedule` for `scale` times the rate, with a warmup of 5 epochs if that is more."""
    schedule = build_schedule(config, learning_rate * scale, epochs, steps_per_epoch)
    if scale <= 1:
        return schedule
    return WarmUp(schedule, min(WARM_UP_EPOCHS, epochs) * steps_per_epoch, 1 / scale)


def build_schedule(config, learning_rate, epochs, steps_per_epoch):
    """Make the `LearningRateSchedule` of a `ScheduleConfig` for a run of `epochs`."""
    return KINDS[config.kind](config, learning_rate, epochs, steps_per_epoch)


def _one_cycle(config, learning_rate, epochs, steps_per_epoch):
    return OneCycle(learning_rate, epochs * steps_per_epoch, config.warmup)


def _cosine(config, learning_rate, epochs, steps_per_epoch):
    total = epochs * steps_per_epoch
    warmup = round(config.warmup * total)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else learning_rate,
        decay_steps=max(total - warmup, 1),
        warmup_target=learning_rate if warmup else None,
        warmup_steps=warmup,
    )


def _step(config, learning_rate, epochs, steps_per_epoch):
    # Keras' PiecewiseConstantDecay changes after its boundary; the first step of the new rate is
    # the one after the last step of the milestone's last epoch.
    ends = [epochs_of(f, epochs) * steps_per_epoch for f in config.milestones]
    return keras.optimizers.schedules.PiecewiseConstantDecay(
        boundaries=[end - 1 for end in ends],
        values=[learning_rate * config.factor**i for i in range(len(ends) + 1)],
    )


# What a recipe's `schedule.kind` may be.
KINDS = {"step": _step, "one_cycle": _one_cycle, "cosine": _cosine}
