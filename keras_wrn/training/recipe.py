"""A recipe: everything that decides the numbers of a run, as one frozen dataclass tree."""

import dataclasses
import json
from typing import Literal

from keras_wrn.data.datasets import check_dataset
from keras_wrn.data.mixing import Heavy
from keras_wrn.models.catalog import model_info, split_tag
from keras_wrn.training.schedules import epochs_of


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
    """Activation in the blocks."""
    name: str = ""
    """A network of the catalogue in place of the fields above, such as wide_resnet50_2; with a
    tag, such as wide_resnet50_2.tv2_in1k, it starts from those published weights."""
    weights: str = ""
    """A run directory or .keras file of the same network whose weights to start from."""
    frozen_stages: int = 0
    """How many stages (groups), with the stem, stay as they are."""


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The images and what is done to them."""

    dataset: str = "cifar10"
    """cifar10, cifar100, svhn_cropped, digits, or a folder of images: train/CLASS/*.jpg, val/..."""
    image_size: int = 0
    """A folder's images, side in pixels; 0: that of the weights the network starts from."""
    extra: bool = True
    """SVHN: train on the `extra` images too, as the paper does."""
    validation: int = 0
    """Training images held out and evaluated on in place of the test split, to choose settings."""
    preprocessing: Literal["meanstd", "scale", "zca"] = "meanstd"
    """meanstd: the authors' constants, or those of the weights the network starts from; scale:
    divide by 255; zca: GCN and ZCA whitening."""
    crop_padding: int = 4
    """Pixels of reflection padding around the random crop; 0 for no crop."""
    horizontal_flip: bool = True
    """Mirror half of the training images."""
    cutout: int = 0
    """Side in pixels of the square erased from each training image; 0 for none."""
    mixup: float = 0.0
    """Alpha of mixup's Beta distribution; 0 for none."""
    cutmix: float = 0.0
    """Alpha of CutMix's Beta distribution; 0 for none."""
    rand_augment: float = 0.0
    """Strength of RandAugment in [0, 1], two operations an image; 0 for none."""


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """SGD; see `keras_wrn.SGD`."""

    learning_rate: float = 0.1
    """The highest rate of the schedule."""
    momentum: float = 0.9
    """Momentum, in [0, 1)."""
    nesterov: bool = True
    """Nesterov's momentum."""
    weight_decay: float = 5e-4
    """Coupled weight decay, as in Torch."""
    decay_norm_and_bias: bool = True
    """Decay gamma, beta and biases too, as the authors do."""
    reset_momentum_on_drop: bool = False
    """Clear the momentum buffer at each milestone, as the authors' Lua code does."""
    lr_multipliers: dict[str, float] = dataclasses.field(default_factory=dict)
    """Factors on the rate of layers, by the beginnings of their names: group1 0.1 group2 0.3."""


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
    """A run directory, .keras file or name with published weights; empty for no teacher."""
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


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A training run, fully described.

    Example:

    ```python
    recipe = keras_wrn.Recipe("mine", model=keras_wrn.training.ModelConfig(16, 4), epochs=30)
    ```
    """

    name: str
    """The run's directory is runs/<name>-seed<seed>."""
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = ScheduleConfig()
    distill: DistillConfig = DistillConfig()
    export: ExportConfig = ExportConfig()
    epochs: int = 200
    """Passes over the training images."""
    batch_size: int = 128
    """Images a step, over all devices together."""
    label_smoothing: float = 0.0
    """Share of the target spread evenly over the classes."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto: bfloat16 where the hardware has it, float32 otherwise."""
    strategy: Literal["mirrored", "none"] = "mirrored"
    """mirrored: all GPUs of this machine; none: one device, without tf.distribute."""
    sync_batch_norm: bool = True
    """With more than one replica: batch norm over the global batch."""
    seed: int = 0
    """Of initial weights, order, augmentation and dropout."""
    deterministic: bool = False
    """Make reruns bit-identical, at some cost in speed."""
    paper_error: float | None = None
    """The published test error in percent, for the results table."""
    source: str = ""
    """Where that error was published."""

    def __post_init__(self):
        problems = list(self._problems())
        if problems:
            raise ValueError(f"Recipe {self.name!r}: " + "; ".join(problems))

    def _problems(self):
        def check(valid, field, expected, value):
            if not valid:
                yield f"`{field}` should be {expected}, received {value!r}"

        optimizer, schedule = self.optimizer, self.schedule
        is_folder = check_dataset(self.data.dataset)
        size = self.data.image_size
        yield from check(size >= 0, "data.image_size", "0 or more", size)
        if size and not is_folder:
            yield f"`data.image_size` is for folders of images, received {size} for a dataset"
        model = self.model
        if is_folder and not (size or model.weights or "." in model.name):
            yield "`data.image_size` should be given for a folder of images, received 0"
        if "." in model.name and model.weights:
            yield (
                f"`model.name`={model.name!r} says where its weights are from: leave out "
                f"`model.weights`={model.weights!r}"
            )
        if model.name:
            model_info(split_tag(model.name)[0])
        frozen = model.frozen_stages
        yield from check(frozen >= 0, "model.frozen_stages", "0 or more", frozen)
        distill = self.distill
        yield from check(0 <= distill.logits < 1, "distill.logits", "in [0, 1)", distill.logits)
        yield from check(
            distill.temperature > 0, "distill.temperature", "above 0", distill.temperature
        )
        yield from check(
            distill.attention >= 0, "distill.attention", "0 or more", distill.attention
        )
        yield from check(self.epochs >= 1, "epochs", "1 or more", self.epochs)
        yield from check(self.batch_size >= 1, "batch_size", "1 or more", self.batch_size)
        seed_fits = 0 <= self.seed < 2**32
        yield from check(seed_fits, "seed", "in 0..2**32 - 1", self.seed)
        smoothing = self.label_smoothing
        yield from check(0 <= smoothing < 1, "label_smoothing", "in [0, 1)", smoothing)
        rate = optimizer.learning_rate
        yield from check(rate > 0, "optimizer.learning_rate", "above 0", rate)
        momentum = optimizer.momentum
        yield from check(0 <= momentum < 1, "optimizer.momentum", "in [0, 1)", momentum)
        decay = optimizer.weight_decay
        yield from check(decay >= 0, "optimizer.weight_decay", "0 or more", decay)
        marks = schedule.milestones
        ordered = list(marks) == sorted(marks) and all(0 < mark < 1 for mark in marks)
        yield from check(
            ordered, "schedule.milestones", "rising fractions of the run in (0, 1)", marks
        )
        ends = [epochs_of(mark, self.epochs) for mark in marks]
        if ordered and schedule.kind == "step" and (0 in ends or len(set(ends)) < len(ends)):
            yield (
                f"`epochs`={self.epochs} is too short for the milestones {marks}: they fall on "
                f"the epochs {ends}. Take more epochs, or `--schedule.kind one_cycle`"
            )
        yield from check(schedule.factor > 0, "schedule.factor", "above 0", schedule.factor)
        yield from check(0 <= schedule.warmup < 1, "schedule.warmup", "in [0, 1)", schedule.warmup)
        data = self.data
        validation, padding = data.validation, data.crop_padding
        yield from check(validation >= 0, "data.validation", "0 or more", validation)
        yield from check(padding >= 0, "data.crop_padding", "0 or more", padding)
        try:
            Heavy(data.cutout, data.mixup, data.cutmix, data.rand_augment)
        except ValueError as error:
            yield str(error)
        if data.rand_augment and data.preprocessing == "zca":
            yield "`data.rand_augment` works on pixels, and does not go with zca preprocessing"

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Recipe":
        """Read what `to_json` wrote.

        Raises:
            ValueError: a field is unknown, missing or out of range.
        """
        values = json.loads(text)
        parts = {
            "model": ModelConfig,
            "data": DataConfig,
            "optimizer": OptimizerConfig,
            "schedule": ScheduleConfig,
            "distill": DistillConfig,
            "export": ExportConfig,
        }
        try:
            for name, part in parts.items():
                values[name] = part(**values.get(name, {}))
            milestones = tuple(values["schedule"].milestones)
            values["schedule"] = dataclasses.replace(values["schedule"], milestones=milestones)
            return cls(**values)
        except (TypeError, KeyError) as error:
            raise ValueError(f"Not a recipe of this version of keras_wrn: {error}") from error


def smoke(recipe: Recipe) -> Recipe:
    """Shrink a recipe to seconds: WRN-10-1 for two epochs, on made-up images, from scratch."""
    return dataclasses.replace(
        recipe,
        name=f"{recipe.name}-smoke",
        model=dataclasses.replace(
            recipe.model, depth=10, width=1, num_blocks=None, name="", weights=""
        ),
        data=dataclasses.replace(
            recipe.data,
            dataset="cifar10" if check_dataset(recipe.data.dataset) else recipe.data.dataset,
            image_size=0,
            validation=0,
        ),
        distill=DistillConfig(),
        schedule=dataclasses.replace(recipe.schedule, milestones=(0.5,)),
        epochs=2,
        batch_size=16,
        paper_error=None,
    )
