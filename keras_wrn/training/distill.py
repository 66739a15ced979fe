"""Distillation: a student also learns what a trained teacher answers and attends to."""

import keras
from keras import ops

from keras_wrn.models.stages import stage_outputs


class Distiller(keras.Model):
    """A student in training, with a trained teacher beside it; `fit` it like any model.

    Only the student is saved afterwards.

    The loss on the labels, as given to `compile`, has weight `1 - logits`. Added to it are

        logits * T^2 KL(softmax(teacher / T) || softmax(student / T))
        attention * sum over the stages of mean (q(teacher) - q(student))^2

    where T is the temperature and q is the stage's output, squared, averaged over the channels and
    scaled to length 1 (attention transfer). Evaluation uses the loss on the labels alone.

    Args:
        student: a network of this package that ends in logits; it is what trains.
        teacher: a network of this package that ends in logits, for the same images and classes.
            This freezes it.
        logits: float in [0, 1), the share of the teacher's answers in the loss.
        temperature: float above 0.
        attention: float, 0 or more, the weight of attention transfer.

    Raises:
        ValueError: the networks differ in images or classes, or, with `attention`, in the number
            of stages or the sizes of their outputs; a weight is out of range.

    Source: Hinton et al. 2015, https://arxiv.org/abs/1503.02531; Zagoruyko & Komodakis 2017,
    https://arxiv.org/abs/1612.03928 (its code has logits 0.9, T 4; attention 1000).
    Not `keras.distillation` (3.15): its `Distiller` runs the student twice per step for features,
    which updates its batch norms twice, and ignores the images' weights in evaluation; by default,
    its `LogitsDistillation` compares logits where it should compare their softmax.

    Example:

    ```python
    teacher = keras_wrn.WideResNet(40, 2, classifier_activation=None)
    student = keras_wrn.WideResNet(16, 2, classifier_activation=None)
    distiller = keras_wrn.training.Distiller(student, teacher, logits=0.9, temperature=4.0)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    distiller.compile(keras_wrn.SGD(0.1), loss)
    ```
    """

    def __init__(self, student, teacher, *, logits=0.9, temperature=4.0, attention=0.0):
        super().__init__(name=student.name)
        if not 0 <= logits < 1 or not temperature > 0 or not attention >= 0:
            raise ValueError(
                "`logits` should be in [0, 1), `temperature` above 0 and `attention` 0 or more. "
                f"Received: logits={logits!r}, temperature={temperature!r}, attention={attention!r}"
            )
        for what in ("input_shape", "output_shape"):
            theirs, ours = getattr(teacher, what), getattr(student, what)
            if theirs != ours:
                raise ValueError(
                    f"Expected a teacher with the student's {what} {ours}. Received: {theirs}"
                )
        self.student = student
        self.teacher = teacher
        self.teacher.trainable = False
        self.share = logits
        self.attention = attention
        self.divergence = SoftDivergence(temperature)
        self.transfer = AttentionTransfer(name="attention_transfer")
        self.student_parts = self._parts(student)
        self.teacher_parts = self._parts(teacher)
        theirs, ours = (
            [tuple(tensor.shape[1:3]) for tensor in parts.outputs[1:]]
            for parts in (self.teacher_parts, self.student_parts)
        )
        if theirs != ours:
            raise ValueError(
                f"`attention` needs a teacher whose stages have the student's sizes {ours}. "
                f"Received: {theirs}"
            )
        self.built = True

    def _parts(self, model):
        stages = sorted(stage_outputs(model).items())[1:] if self.attention else []
        return keras.Model(model.inputs[0], [model.output, *(tensor for _, tensor in stages)])

    def call(self, images, training=False):
        parts = _listed(self.student_parts(images, training=training))
        # The loss needs the stages too. Not with `add_loss`: replicas share its list.
        return parts if training else parts[0]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        answer, *maps = _listed(y_pred)
        loss = super().compute_loss(x, y, answer, sample_weight, training)
        if not training:
            return loss
        wanted, *wanted_maps = _listed(self.teacher_parts(x, training=False))
        loss = (1 - self.share) * loss
        if self.share:
            loss = loss + self.share * self.divergence(wanted, answer)
        for theirs, ours in zip(wanted_maps, maps, strict=True):
            loss = loss + self.attention * self.transfer(theirs, ours)
        return loss

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return super().compute_metrics(x, y, _listed(y_pred)[0], sample_weight)


@keras.saving.register_keras_serializable("keras_wrn")
class SoftDivergence(keras.losses.Loss):
    """T^2 KL(softmax(teacher / T) || softmax(student / T)) of logits (batch, classes)."""

    def __init__(self, temperature, name="soft_divergence", **kwargs):
        super().__init__(name=name, **kwargs)
        self.temperature = temperature

    def call(self, y_true, y_pred):
        wanted, answer = (ops.log_softmax(logits / self.temperature) for logits in (y_true, y_pred))
        divergence = ops.sum(ops.exp(wanted) * (wanted - answer), axis=-1)
        return self.temperature**2 * divergence

    def get_config(self):
        return {**super().get_config(), "temperature": self.temperature}


@keras.saving.register_keras_serializable("keras_wrn")
class AttentionTransfer(keras.losses.Loss):
    """Mean squared difference of the attention maps of features (batch, height, width, any)."""

    def call(self, y_true, y_pred):
        return ops.mean(ops.square(attention_map(y_true) - attention_map(y_pred)), axis=-1)


def attention_map(features):
    """Where features (batch, height, width, channels) are large: float32 (batch, height * width).

    The mean square over the channels, scaled to length 1.
    """
    energy = ops.mean(ops.square(ops.cast(features, "float32")), axis=-1)
    energy = ops.reshape(energy, (ops.shape(energy)[0], -1))
    return energy / ops.maximum(ops.norm(energy, axis=-1, keepdims=True), 1e-12)


def _listed(outputs):
    return outputs if isinstance(outputs, list | tuple) else [outputs]
