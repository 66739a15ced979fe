"""The parts of a recipe: frozen dataclasses, every field of which is a flag with its help."""

import dataclasses
from typing import Literal

NAMED = 6  # fields of a model that its name in the catalogue says


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The network; see `keras_wrn.WideResNet`."""

    depth: int = 28
    """The paper's n, 6 N + 4."""
    width: float = 10
    """The paper's k."""
    dropout: float = 0.0
    """Rate before every convolution of a block but its first."""
    block: str = "B33"
    """Kernel sizes of a block, B33 for the paper's B(3,3)."""
    num_blocks: int | None = None
    """Blocks in a group; None: (depth - 4) / 6."""
    activation: str = "relu"
    """Activation in the blocks, such as relu, silu or leaky_relu:0.1."""
    name: str = ""
    """A network of the catalogue in place of the fields above, such as wide_resnet50_2; with a
    tag, such as wide_resnet50_2.tv2_in1k, it starts from those published weights."""
    weights: str = ""
    """A run directory or .keras file of the same network whose weights to start from."""
    frozen_stages: int = 0
    """How many stages (groups), with the stem, stay as they are."""
    whitened_stem: bool = False
    """Train conv1 on whitened patches of the images; the finished network is the plain one."""


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The images and what is done to them."""

    dataset: str = "cifar10"
    """cifar10, cifar100, svhn_cropped, digits, or a folder of images: train/CLASS/*.jpg, val/...,
    or CLASS/*.jpg and `validation`."""
    image_size: int = 0
    """A folder's images, side in pixels; 0: that of the weights the network starts from."""
    extra: bool = True
    """SVHN: train on the `extra` images too, as the paper does."""
    validation: int | float = 0
    """Training images held out and evaluated on in place of the test split, to choose settings:
    their number, or below 1 their share. Of a folder each class gives its part."""
    preprocessing: Literal["meanstd", "scale", "zca"] = "meanstd"
    """meanstd: the authors' constants, or those of the weights the network starts from; scale:
    divide by 255; zca: GCN and ZCA whitening."""
    crop_padding: int = 4
    """Pixels of reflection padding around the random crop; 0 for no crop."""
    horizontal_flip: bool = True
    """Mirror half of the training images."""
    alternating_flip: bool = False
    """Mirror each image in every other epoch, begun by a coin, in place of a coin each epoch."""
    small_size: int = 0
    """Side in pixels of the random crops that the first epochs train on; 0 for none."""
    small_share: float = 0.5
    """The share of the epochs that `small_size` is for."""
    cutout: int = 0
    """Side in pixels of the square erased from each training image; 0 for none."""
    mixup: float = 0.0
    """Alpha of mixup's Beta distribution; 0 for none."""
    cutmix: float = 0.0
    """Alpha of CutMix's Beta distribution; 0 for none."""
    cutmix_rate: float = 1.0
    """The share of the images that CutMix mixes."""
    mixing_share: float = 1.0
    """The share of the epochs, from the first, that mixup and CutMix are for."""
    jitter: float = 0.0
    """Brightness and contrast of each image change by up to this share; 0 for none."""
    rand_augment: float = 0.0
    """Strength of RandAugment in [0, 1], two operations an image; 0 for none. TensorFlow only."""


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """SGD; see `keras_wrn.SGD`."""

    learning_rate: float = 0.1
    """The highest rate of the schedule."""
    kernel_rate: float = 0.0
    """Muon for the kernels of convolutions, at so many times the learning rate; 0: SGD for all."""
    kernel_momentum: float = 0.6
    """Muon's momentum, in [0, 1)."""
    momentum: float = 0.9
    """Momentum, in [0, 1)."""
    nesterov: bool = True
    """Nesterov's momentum."""
    weight_decay: float = 5e-4
    """Coupled weight decay, as in Torch."""
    decay_norm_and_bias: bool = True
    """Decay gamma, beta and biases too, as the authors do."""
    average: float = 0.0
    """Momentum of a moving average of the weights, such as 0.99, which the run ends with; the log
    has the errors of the weights themselves. 0 for none."""
    reset_momentum_on_drop: bool = False
    """Clear the momentum buffer at each milestone, as the authors' Lua code does."""
    lr_multipliers: dict[str, float] = dataclasses.field(default_factory=dict)
    """Factors on the rate of layers, by the beginnings of their names, or of all variables called
    beta, gamma, kernel or bias: group1 0.1 beta 8."""


@dataclasses.dataclass(frozen=True)
class ScheduleConfig:
    """The learning rate over the run."""

    kind: Literal["step", "one_cycle", "cosine"] = "step"
    """step: times `factor` at each milestone; one_cycle: up, then a straight line to 0; cosine."""
    milestones: tuple[float, ...] = (59 / 200, 119 / 200, 159 / 200)
    """step: fractions of the run; f stands for round(f * epochs) complete epochs."""
    factor: float = 0.2
    """step: the rate is multiplied by this at each milestone."""
    warmup: float = 0.2
    """one_cycle, cosine: the share of the run in which the rate rises."""


@dataclasses.dataclass(frozen=True)
class DistillConfig:
    """A teacher to learn from besides the labels; see `keras_wrn.training.Distiller`."""

    teacher: str = ""
    """A run directory, .keras file or name with published weights, of a network that takes images
    normalised as the student's; empty for no teacher."""
    logits: float = 0.9
    """Share of the teacher's answers in the loss; the labels have the rest."""
    temperature: float = 4.0
    """Both answers are divided by it before they are compared."""
    attention: float = 0.0
    """Weight of attention transfer between the stages; its authors take 1000."""


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """What a finished run writes into its export/ directory."""

    saved_model: bool = True
    """A SavedModel for TF Serving."""
    litert: bool = True
    """A float32 .tflite file."""
