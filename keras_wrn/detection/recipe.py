"""The recipe of a detector."""

import dataclasses
import math
from typing import Annotated, Literal

from keras_wrn.catalog.names import IMAGENET, model_info
from keras_wrn.checks import Range
from keras_wrn.data.datasets import DATASETS
from keras_wrn.recipe import SMOKE, Count, ModelConfig, Positive, ScheduleConfig, TrainingRecipe

MIN_SIZE = 32


@dataclasses.dataclass(frozen=True)
class BoxDataConfig:
    """The photos with boxes, and what is done to them."""

    dataset: str = "tfds:coco/2017"
    """tfds:coco/2017, as TFDS has prepared it; a folder in COCO's format: images/ with
    instances_train.json and instances_val.json, or with instances.json and `validation`, or
    annotations/ with instances_train2017.json beside train2017/, and so on; or one such .json file,
    images/ beside it, with `validation`."""
    image_size: Annotated[int, Range(MIN_SIZE)] = 512
    """Side in pixels of the square that a photo is fitted into."""
    scale: tuple[Positive, Positive] = (0.8, 1.25)
    """The range of the random scale in training; at 1 a photo fits into the square, and of a larger
    one a random part is cut out."""
    horizontal_flip: bool = True
    """Mirror half of the training photos."""
    validation: int | float = 0
    """Photos of a file without a second one to hold out and evaluate on: a number, or a share below
    1."""
    check: Literal["auto", "all", "none"] = "auto"
    """Decode the photos once before training; auto: if they are fewer than 50,000."""


@dataclasses.dataclass(frozen=True)
class DetectorConfig:
    """RetinaNet; see `keras_wrn.detection.retinanet`."""

    anchor_size: Positive = 32.0
    """Side in pixels of the smallest square anchor; the paper has 32 for photos of 800 pixels."""


@dataclasses.dataclass(frozen=True)
class AdamConfig:
    """Adam; see `keras.optimizers.Adam`."""

    learning_rate: Positive = 1e-3
    """The highest rate of the schedule."""
    clip_norm: Positive = 10.0
    """Gradients are scaled down if their norm, over all variables, is above this."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectionRecipe(TrainingRecipe):
    """A training run of a detector, fully described.

    `model` is its trunk, a network for photos by name, such as wide_resnet34 with `width`.

    Example:

    ```python
    recipe = keras_wrn.detection.DetectionRecipe(
        "mine", data=keras_wrn.detection.BoxDataConfig("coco/", image_size=256), epochs=60
    )
    ```
    """

    model: ModelConfig = dataclasses.field(
        default_factory=lambda: ModelConfig(name="wide_resnet34", width=2)
    )
    data: BoxDataConfig = dataclasses.field(default_factory=BoxDataConfig)
    optimizer: AdamConfig = dataclasses.field(default_factory=AdamConfig)
    schedule: ScheduleConfig = dataclasses.field(
        default_factory=lambda: ScheduleConfig(kind="cosine", warmup=0.05)
    )
    epochs: Count = 36
    """Passes over the training photos."""
    batch_size: Count = 32
    """Photos per step, over all devices together."""
    rate_batch: Count = 32
    """The batch size that the learning rate was chosen for."""
    detector: DetectorConfig = dataclasses.field(default_factory=DetectorConfig)

    def _rules(self):
        return (*super()._rules(), _trunk_rules, _box_rules)

    def shrunk(self) -> "DetectionRecipe":
        """This recipe in seconds: WRN-18-1 from scratch, two epochs of made-up photos."""
        return dataclasses.replace(
            self,
            name=self.name + SMOKE,
            model=dataclasses.replace(
                self.model, name="wide_resnet18", width=1, weights="", frozen_stages=0
            ),
            data=dataclasses.replace(self.data, image_size=64, validation=0),
            detector=dataclasses.replace(self.detector, anchor_size=16.0),
            epochs=2,
            batch_size=4,
            rate_batch=max(1, 4 * self.rate_batch // self.batch_size),
        )


def _trunk_rules(recipe):
    name = recipe.model.network
    if not name or model_info(name).family is not IMAGENET:
        yield (
            "`model.name` should be a network for photos with four stages, such as wide_resnet34, "
            f"received {recipe.model.name!r}"
        )
    for field in ("whitened_stem", "stochastic_depth"):
        if getattr(recipe.model, field):
            yield f"`model.{field}` is for classifiers, received {getattr(recipe.model, field)}"


def _box_rules(recipe):
    data = recipe.data
    low, high = data.scale
    if not 0 < low <= high < math.inf:
        yield f"`data.scale` should be a range above 0, low first, received {data.scale}"
    if data.dataset in DATASETS:
        yield f"`data.dataset` should be photos with boxes, received {data.dataset!r}"
    share = data.validation
    whole = share < 1 or share % 1 == 0
    if isinstance(share, bool) or share < 0 or not whole:
        yield (
            "`data.validation` should be a number of photos, or a share of them below 1, received "
            f"{data.validation!r}"
        )
