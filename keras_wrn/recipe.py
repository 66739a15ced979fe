"""A recipe: everything that determines a run's numbers, as one frozen dataclass tree."""

import dataclasses
import json
import re
import typing
from typing import Annotated, Any, Literal

import numpy as np
import typeguard

from keras_wrn.catalog.names import (
    ANY_WIDTH,
    CIFAR,
    DETECTORS,
    THIN,
    model_info,
    split_tag,
    with_width,
)
from keras_wrn.checks import Range, out_of_range
from keras_wrn.data.augmentation import Augmentation, Part, Pixels, conflicts
from keras_wrn.data.datasets import DATASETS, as_folder, has_photos, is_folder
from keras_wrn.data.views import VIEWS
from keras_wrn.optim.schedules import KINDS, epochs_of

SMOKE_CROP = 24  # pixels, the largest `small_size` of a smoke recipe
SMOKE_PHOTOS = 32  # pixels, the size of the photos that a smoke recipe evaluates
SMOKE = "-smoke"  # suffix of the name of a recipe that was shrunk to seconds
# Types of numeric fields.
Count = Annotated[int, Range(1)]
Amount = Annotated[float, Range(0)]
Positive = Annotated[float, Range(0, ends="()")]
Share = Annotated[float, Range(0, 1)]  # but below 1
OWN: Any = None  # until the configuration is part of a recipe
# Model fields that a catalogue name determines.
NAMED = "depth", "width", "dropout", "block", "num_blocks", "activation"


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The network; see `keras_wrn.WideResNet`."""

    depth: int = 28
    """The paper's n, 6 N + 4."""
    width: float = 10
    """The paper's k."""
    dropout: float = 0.0
    """Dropout rate before every convolution of a block except the first."""
    block: str = "B33"
    """Kernel sizes of a block, B33 for the paper's B(3,3)."""
    num_blocks: int | None = None
    """Blocks per group; None: (depth - 4) / 6."""
    activation: str = "relu"
    """Activation in the blocks, such as relu, silu or leaky_relu:0.1."""
    name: str = ""
    """A catalogue network instead of the fields above, such as wide_resnet50_2; `width` goes with
    wide_resnet18 and wide_resnet34. With a tag, such as wide_resnet50_2.tv2_in1k, it starts from
    those published weights."""
    weights: str = ""
    """Start from the weights in this run directory or .keras file of the same network."""
    frozen_stages: Annotated[int, Range(0)] = 0
    """How many stages (groups) to freeze, along with the stem."""
    whitened_stem: bool = False
    """Train conv1 on whitened patches of the images; the finished network is a plain one."""
    stochastic_depth: Share = 0.0
    """Networks like resnet_110 and preact_resnet_110: the probability that a batch skips the last
    block; less for those before."""

    @property
    def network(self) -> str:
        """The name of the catalogue network, with its width and no tag; "" for the fields above."""
        return with_width(self.name, self.width)


@dataclasses.dataclass(frozen=True)
class DataConfig(Augmentation):
    """The images and what is done to them."""

    dataset: str = "cifar10"
    """cifar10, cifar100, svhn_cropped, digits; a folder of images: train/CLASS/*.jpg, val/..., or
    CLASS/*.jpg with `validation`; lists of images: a folder of train.csv and val.csv, with columns
    path and label, or one list with `validation`; imagenet2012 or tfds:NAME, photos that TFDS has
    prepared."""
    image_size: Pixels = 0
    """Side in pixels of a folder's images; 0: that of the weights the network starts from."""
    train_size: Pixels = 0
    """Side in pixels of the training crops; 0: as large as the images that are evaluated."""
    check: Literal["auto", "all", "none"] = "auto"
    """Decode photos that stay on disk once before training; auto: if they are fewer than
    50,000."""
    interpolation: Literal["bilinear", "bicubic"] | None = None
    """How photos are resized; by default as the weights the network starts from have it, or
    bilinear."""
    eval_crop: Annotated[float, Range(0, 1, "[]")] = 0.0
    """The share of a resized photo's side that the central crop of the evaluation keeps; 0: that of
    the weights the network starts from, or 0.875."""
    extra: bool = True
    """SVHN: train on the `extra` images too, as the paper does."""
    validation: int | float = 0
    """Training images to hold out and evaluate on instead of the test split, to choose settings: a
    number, or a share below 1. For a folder, the same share of each class."""
    crop_padding: Pixels = dataclasses.field(default=OWN, kw_only=True)
    """Pixels of reflection padding around the random crop; 0 for no crop. By default that of
    the recipe's dataset: set it too when you change that."""
    horizontal_flip: bool = dataclasses.field(default=OWN, kw_only=True)
    """Mirror half of the training images. By default as the recipe's dataset has it: digits are not
    mirrored. Set it too when you change the dataset."""
    preprocessing: Literal["meanstd", "scale", "zca"] = "meanstd"
    """meanstd: the authors' constants, or those of the weights the network starts from; scale:
    divide by 255; zca: GCN and ZCA whitening."""
    small_size: Pixels = 0
    """Side in pixels of the random crops that the first epochs train on; 0 for none."""
    small_share: Annotated[float, Range(0, 1, "()")] = 0.5
    """The share of the epochs that use `small_size`."""
    mixing_share: Part = 1.0
    """The share of the epochs, from the first on, that use mixup and CutMix."""


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """SGD; see `keras_wrn.SGD`."""

    learning_rate: Positive = 0.1
    """The highest rate of the schedule."""
    kernel_rate: Amount = 0.0
    """Muon for convolution kernels, at this multiple of the learning rate; 0: SGD for all."""
    kernel_momentum: Share = 0.6
    """Muon's momentum, in [0, 1)."""
    momentum: Share = 0.9
    """Momentum, in [0, 1)."""
    nesterov: bool = True
    """Nesterov's momentum."""
    weight_decay: Amount = 5e-4
    """Coupled weight decay, as in Torch."""
    decay_norm_and_bias: bool = True
    """Decay gamma, beta and biases too, as the authors do."""
    average: Share = 0.0
    """Momentum of a moving average of the weights, such as 0.99; 0 for none. The run ends with the
    average; the log has the errors of the weights themselves."""
    reset_momentum_on_drop: bool = False
    """Clear the momentum buffer at each milestone, as the authors' Lua code does."""
    lr_multipliers: dict[str, float] = dataclasses.field(default_factory=dict)
    """Factors on the learning rate, by layer name prefix, or for all variables called beta, gamma,
    kernel or bias: group1 0.1 beta 8."""


@dataclasses.dataclass(frozen=True)
class ScheduleConfig:
    """The learning rate over the run."""

    kind: Literal[tuple(KINDS)] = "step"  # type: ignore[valid-type]
    """step: times `factor` at each milestone; one_cycle: up, then linearly to 0; cosine."""
    milestones: tuple[float, ...] = (59 / 200, 119 / 200, 159 / 200)
    """step: fractions of the run; f stands for round(f * epochs) complete epochs."""
    factor: Positive = 0.2
    """step: the rate is multiplied by this at each milestone."""
    warmup: Share = 0.2
    """one_cycle, cosine: the share of the run during which the rate rises."""


@dataclasses.dataclass(frozen=True)
class DistillConfig:
    """A teacher to learn from in addition to the labels; see `keras_wrn.training.Distiller`."""

    teacher: str = ""
    """A run directory, .keras file or name with published weights, for images normalised like the
    student's; empty for no teacher."""
    logits: Share = 0.9
    """Share of the teacher's outputs in the loss; the labels have the rest."""
    temperature: Positive = 4.0
    """Both networks' logits are divided by it before they are compared."""
    attention: Amount = 0.0
    """Weight of attention transfer between the stages; its authors use 1000."""


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """What a finished run writes into its export/ directory."""

    saved_model: bool = True
    """A SavedModel for TF Serving."""
    litert: bool = True
    """A float32 .tflite file."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BaseRecipe:
    """What every recipe has: a name, its images and a seed."""

    name: str = dataclasses.field(kw_only=False)
    """The run's directory is runs/<name>-seed<seed>, or runs/<name>-<folder>-seed<seed>."""
    data: Any = None
    export: ExportConfig = dataclasses.field(default_factory=ExportConfig)
    seed: Annotated[int, Range(0, 2**32)] = 0
    """Seed of all that is random."""
    source: str = ""
    """Where what it is compared with was published."""

    def __post_init__(self):
        configs = [v for v in vars(self).values() if dataclasses.is_dataclass(v)]
        for part in (self, *configs):  # JSON cannot hold NumPy's numbers
            for field, value in vars(part).items():
                if isinstance(value, np.generic):
                    object.__setattr__(part, field, value.item())
        changes = self._own_data()
        if is_folder(self.data.dataset):
            changes["dataset"] = as_folder(self.data.dataset)
        object.__setattr__(self, "data", dataclasses.replace(self.data, **changes))
        problems = list(self._problems())
        if problems:
            raise ValueError(f"Recipe {self.name!r}: " + "; ".join(problems))

    def _own_data(self):
        """Fields of `data` that are not given and follow from others: a dict."""
        return {}

    def _problems(self):
        yield from out_of_range(self)
        for name, part in vars(self).items():
            if dataclasses.is_dataclass(part):
                yield from out_of_range(part, f"{name}.")
        # It is a folder's name, and appears in tables and commands too.
        if not re.fullmatch(r"\w[\w .+=,-]*", self.name):
            yield (
                "`name` should be letters, digits, '_', and after the first ' .+=,-', received "
                f"{self.name!r}"
            )
        for rule in self._rules():
            yield from rule(self)

    def _rules(self):
        """The rules between fields: functions that yield a sentence for each broken one."""
        return ()

    def shrunk(self):
        """This recipe in seconds, for made-up images."""
        raise NotImplementedError

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str):
        """Read what `to_json` wrote.

        Raises:
            ValueError: it is not JSON, or a field is unknown, missing, of the wrong type or out of
                range.
        """
        try:
            return _built(cls, json.loads(text))
        except (TypeError, RecursionError, ArithmeticError) as error:
            raise ValueError(f"Not a recipe of this version of keras_wrn: {error}") from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingRecipe(BaseRecipe):
    """What every recipe has that trains a network in epochs: the network, and how."""

    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    optimizer: Any = None
    schedule: ScheduleConfig = dataclasses.field(default_factory=ScheduleConfig)
    epochs: Count = 200
    """Passes over the training images."""
    batch_size: Count = 128
    """Images per step, over all devices together."""
    scale_lr: bool = False
    """Multiply the learning rate by batch_size / rate_batch, and warm it up over 5 epochs."""
    rate_batch: Count = 128
    """The batch size that the learning rate was chosen for."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto: bfloat16 where the hardware has it, float32 otherwise."""
    strategy: Literal["mirrored", "none", "multi-host"] = "mirrored"
    """mirrored: all GPUs of this machine, or the CPU if there is none (on JAX, one device); none:
    one device; multi-host: all devices of all processes."""
    sync_batch_norm: bool = True
    """With more than one replica: batch norm over the global batch."""
    deterministic: bool = False
    """TensorFlow: make reruns bit-identical, at some cost in speed."""

    def _rules(self):
        return _model_rules, _schedule_rules


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe(TrainingRecipe):
    """A training run of a classifier, fully described.

    Example:

    ```python
    recipe = keras_wrn.Recipe("mine", model=keras_wrn.training.ModelConfig(16, 4), epochs=30)
    ```
    """

    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    distill: DistillConfig = dataclasses.field(default_factory=DistillConfig)
    label_smoothing: Share = 0.0
    """Share of the target spread evenly over the classes."""
    views: Literal[1, 2, 6] = 1
    """Views of each image in a second evaluation at the end: 2 with its mirror image, 6 also
    shifted by a pixel. Not for digits, whose mirror images mean something else."""
    paper_error: float | None = None
    """The published test error in percent, for the results table."""

    def _own_data(self):
        data, known = self.data, DATASETS.get(self.data.dataset)
        own = Augmentation() if known is None else known.augmentation
        if data.random_resized_crop:
            own = dataclasses.replace(own, crop_padding=0)
        fields = "crop_padding", "horizontal_flip"
        return {x: getattr(own, x) for x in fields if getattr(data, x) is OWN}

    def _rules(self):
        own = _view_rules, _data_rules, _size_rules, _optimizer_rules
        return (*own, *super()._rules())

    def shrunk(self) -> "Recipe":
        """This recipe in seconds: WRN-10-1 from scratch, two epochs of made-up images."""
        return dataclasses.replace(
            self,
            name=self.name + SMOKE,
            model=dataclasses.replace(
                self.model,
                depth=10,
                width=1,
                num_blocks=None,
                name="",
                weights="",
                frozen_stages=0,
                stochastic_depth=0.0,
            ),
            data=dataclasses.replace(
                self.data,
                image_size=SMOKE_PHOTOS if has_photos(self.data.dataset) else 0,
                train_size=min(self.data.train_size, SMOKE_CROP),
                validation=0,
                small_size=min(self.data.small_size, SMOKE_CROP),
                small_share=0.5,
            ),
            optimizer=dataclasses.replace(self.optimizer, lr_multipliers={}),
            distill=DistillConfig(),
            schedule=dataclasses.replace(self.schedule, milestones=(0.5,)),
            epochs=2,
            batch_size=16,
            rate_batch=max(1, 16 * self.rate_batch // self.batch_size),
            paper_error=None,
        )


# Rules between fields: functions that yield a sentence for each broken rule.


def _view_rules(recipe):
    if recipe.views not in VIEWS:
        yield f"`views` should be one of {VIEWS}, received {recipe.views!r}"


def _model_rules(recipe):
    model = recipe.model
    tagged = bool(split_tag(model.name)[1])
    if tagged and model.weights:
        yield (
            f"`model.name`={model.name!r} says where its weights are from: leave out "
            f"`model.weights`={model.weights!r}"
        )
    if model.name:
        model_info(model.network)
        own = split_tag(model.name)[0] in ANY_WIDTH
        for field in (x for x in NAMED if x != "width" or not own):
            value = getattr(model, field)
            if value != getattr(ModelConfig, field):
                yield (
                    f"`model.{field}`={value!r} does not go with `model.name`={model.name!r}, "
                    "which says it: leave out one of the two"
                )
    if model.stochastic_depth and not (model.name and model_info(model.network).family is THIN):
        yield (
            "`model.stochastic_depth` is for the networks of `keras_wrn.ResNet` and "
            f"`keras_wrn.PreActResNet`, received {model.stochastic_depth} with "
            f"`model.name`={model.name!r}"
        )
    if model.whitened_stem and (model.name or model.weights or model.frozen_stages):
        yield (
            "`model.whitened_stem` is for a WideResNet from random weights, with its stem "
            "trained: leave out `model.name`, `model.weights` and `model.frozen_stages`"
        )


def _data_rules(recipe):
    model, data = recipe.model, recipe.data
    if has_photos(data.dataset):
        if not (data.image_size or model.weights or split_tag(model.name)[1]):
            yield (
                f"`data.image_size` should be given for a folder of images, {data.dataset!r}, "
                f"received 0; the datasets with names are {', '.join(DATASETS)}"
            )
    elif data.image_size:
        size = data.image_size
        yield f"`data.image_size` is for folders of images, received {size} for a dataset"
    validation = data.validation
    if not (validation >= 0 and (validation < 1 or validation == int(validation))):
        yield (
            "`data.validation` should be a number of images, or a share of them below 1, received "
            f"{validation!r}"
        )
    if has_photos(data.dataset) and data.preprocessing == "zca":
        yield "`data.preprocessing` should be meanstd or scale for a folder, received 'zca'"
    if data.random_resized_crop and not has_photos(data.dataset):
        yield f"`data.random_resized_crop` is for photos on disk, received {data.dataset!r}"
    if model.name and model_info(model.network).family is DETECTORS:
        yield (
            "`model.name` should be a classifier; `keras_wrn.detection.DetectionRecipe` is for "
            f"detectors, and has the name of their trunk. Received: {model.name!r}"
        )
    yield from conflicts(data, data.preprocessing == "zca", "data.")
    if data.cutmix_rate != DataConfig.cutmix_rate and not data.cutmix:
        yield f"`data.cutmix_rate` needs `data.cutmix`, received {data.cutmix_rate} and 0"
    if data.mixing_share != DataConfig.mixing_share and not (data.cutmix or data.mixup):
        share = data.mixing_share
        yield f"`data.mixing_share` needs `data.mixup` or `data.cutmix`, received {share} alone"


def _size_rules(recipe):
    small, share, name = recipe.data.small_size, recipe.data.small_share, recipe.model.network
    family = model_info(name).family if name else CIFAR
    for field in ("small_size", "train_size"):
        if 0 < getattr(recipe.data, field) < family.min_size:
            yield (
                f"`data.{field}` should be 0, or {family.min_size} or more, received "
                f"{getattr(recipe.data, field)}"
            )
    if not small and share != DataConfig.small_share:
        yield f"`data.small_share` needs `data.small_size`, received {share} and 0"
    if small and 0 < share < 1 and epochs_of(share, recipe.epochs) in (0, recipe.epochs):
        yield (
            f"`epochs`={recipe.epochs} is too short for `data.small_share`={share}: it stands "
            f"for {epochs_of(share, recipe.epochs)} of them"
        )
    for field in ("small_size", "train_size"):
        if getattr(recipe.data, field) and recipe.distill.teacher:
            yield (
                f"`data.{field}` does not go with a teacher, received {getattr(recipe.data, field)}"
            )


def _optimizer_rules(recipe):
    optimizer, model = recipe.optimizer, recipe.model
    rate, momentum = optimizer.kernel_rate, optimizer.kernel_momentum
    if rate and (model.weights or split_tag(model.name)[1]):
        yield (
            "`optimizer.kernel_rate` is for random weights: Muon sets the kernels' norms. "
            f"Received: {rate} with trained ones"
        )
    if not rate and momentum != OptimizerConfig.kernel_momentum:
        yield (
            f"`optimizer.kernel_momentum` needs `optimizer.kernel_rate`, received {momentum} and 0"
        )
    if rate and optimizer.reset_momentum_on_drop:
        yield "`optimizer.kernel_rate` does not go with `optimizer.reset_momentum_on_drop`"
    for prefix, factor in optimizer.lr_multipliers.items():
        if factor not in Range(0):
            field = f"optimizer.lr_multipliers[{prefix}]"
            yield f"`{field}` should be {Range(0)}, received {factor!r}"


def _schedule_rules(recipe):
    schedule, marks = recipe.schedule, recipe.schedule.milestones
    if list(marks) != sorted(marks) or not all(0 < mark < 1 for mark in marks):
        yield (
            "`schedule.milestones` should be rising fractions of the run in (0, 1), received "
            f"{marks!r}"
        )
        return
    ends = [epochs_of(mark, recipe.epochs) for mark in marks]
    if schedule.kind == "step" and (0 in ends or len(set(ends)) < len(ends)):
        yield (
            f"`epochs`={recipe.epochs} is too short for the milestones {marks}: they fall on "
            f"the epochs {ends}. Take more epochs, or `--schedule.kind one_cycle`"
        )


def _built(kind, values, where=""):
    """Build a dataclass, and those inside it, from JSON values."""
    if not isinstance(values, dict):
        name = f"`{where[:-1]}`" if where else "it"
        raise ValueError(f"{name} should be a JSON object, received {values!r:.80}")
    hints, built = typing.get_type_hints(kind), {}
    for field, value in values.items():
        if field not in hints:
            raise ValueError(f"Not a recipe of this version of keras_wrn: `{where}{field}`")
        hint = hints[field]
        if dataclasses.is_dataclass(hint):
            value = _built(hint, value, f"{where}{field}.")
        elif typing.get_origin(hint) is tuple and isinstance(value, list):
            value = tuple(value)  # JSON has no tuples
        try:
            typeguard.check_type(
                value, hint, collection_check_strategy=typeguard.CollectionCheckStrategy.ALL_ITEMS
            )
        except typeguard.TypeCheckError as error:
            raise ValueError(f"`{where}{field}`: {error}. Received: {value!r:.80}") from error
        built[field] = value
    return kind(**built)
