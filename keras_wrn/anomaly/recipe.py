"""The recipe of a PatchCore or PaDiM."""

import dataclasses
from typing import Annotated, Literal

from keras_wrn.checks import Range
from keras_wrn.data.datasets import is_folder
from keras_wrn.recipe import SMOKE, BaseRecipe, Count, Positive

SMOKE_SIZE = 32


@dataclasses.dataclass(frozen=True)
class GoodDataConfig:
    """The photos."""

    dataset: str = "./photos"
    """A folder of good photos, bare, or in MVTec AD's layout with train/good; then test/good,
    test/KIND and ground_truth/KIND are evaluated on."""
    validation: Annotated[float, Range(0, 1, "()")] = 0.2
    """The share of the good photos that the threshold is chosen on."""
    defects: str = ""
    """A folder of photos of defects, bare or with test/KIND: the threshold is then the one with the
    best F1 on them and on the good photos held out."""


@dataclasses.dataclass(frozen=True)
class AnomalyConfig:
    """PatchCore or PaDiM; see `keras_wrn.anomaly.PatchCore` and `keras_wrn.anomaly.PaDiM`."""

    method: Literal["patchcore", "padim"] = "patchcore"
    """patchcore: the distance to patches of good photos; padim: a Gaussian for each place, for
    things that always lie alike."""
    model: str = "wide_resnet50_2.tv_in1k"
    """The network whose features are used: a name with published weights, a run directory or a
    .keras file."""
    untrained: bool = False
    """Use random weights instead, to see what the trained ones are worth."""
    stages: tuple[int, ...] = ()
    """The stages whose features are joined; by default what suits the network."""
    image_size: Count | None = None
    """Height and width of the images in pixels; by default what suits the network: 256, or 48 for a
    CIFAR network."""
    coreset: Annotated[float, Range(0, 1, "(]")] = 0.1
    """PatchCore: the share of the patches that are kept."""
    neighbours: Annotated[int, Range(0)] = 9
    """PatchCore: how many kept patches weigh the score; 0 for none."""
    features: Count | None = None
    """PaDiM: how many channels are chosen; by default 550, or 100 for small networks."""
    top_share: Annotated[float, Range(0, 1, "[]")] | None = None
    """The share of the map whose mean is the score; by default 0, the oddest place, or 0.01 for a
    CIFAR network."""
    smoothing: Annotated[float, Range(0)] | None = None
    """Standard deviation of the map's blur in pixels; by default 1/64 of the image's side."""
    quantile: Annotated[float, Range(0, 1, "(]")] = 0.95
    """The quantile of the scores of good photos held out that becomes the threshold."""
    max_memory: Positive | None = None
    """The most GB that features and what is kept of them may take; by default any amount."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnomalyRecipe(BaseRecipe):
    """What is learned of good photos, fully described.

    Example:

    ```python
    recipe = keras_wrn.anomaly.AnomalyRecipe(
        "cookies", data=keras_wrn.anomaly.GoodDataConfig("cookies/"),
        anomaly=keras_wrn.anomaly.AnomalyConfig(model="wrn_16_2.cifar10"),
    )
    ```
    """

    data: GoodDataConfig = dataclasses.field(default_factory=GoodDataConfig)
    anomaly: AnomalyConfig = dataclasses.field(default_factory=AnomalyConfig)

    def _rules(self):
        return (_data_rules,)

    def shrunk(self) -> "AnomalyRecipe":
        """This recipe in seconds: random features of WRN-16-2 of a few made-up photos."""
        anomaly = dataclasses.replace(
            self.anomaly, model="wrn_16_2.cifar10", untrained=True, image_size=SMOKE_SIZE,
            stages=(), features=None, smoothing=None, max_memory=None,
        )  # fmt: skip
        data = dataclasses.replace(self.data, defects="")
        return dataclasses.replace(self, name=self.name + SMOKE, data=data, anomaly=anomaly)


def _data_rules(recipe):
    if not is_folder(recipe.data.dataset):
        yield f"`data.dataset` should be a folder of photos, received {recipe.data.dataset!r}"
    if recipe.anomaly.neighbours == 1:
        yield "`anomaly.neighbours` should be 0, or 2 or more, received 1"
