"""Published weights: where they are, what images they take, and how well they do."""

import dataclasses
import difflib
import fnmatch

from keras_wrn.catalog.names import split_tag
from keras_wrn.data.datasets import IMAGENET_MEAN, IMAGENET_STD, dataset_info
from keras_wrn.data.imagenet import imagenet_names
from keras_wrn.data.preprocess import Preprocessing

WRN = "Zagoruyko & Komodakis 2016, Wide Residual Networks, https://arxiv.org/abs/1605.07146"
RSB = "Wightman et al. 2021, ResNet strikes back, https://arxiv.org/abs/2110.00476"
TORCHVISION = "https://download.pytorch.org/models/"
TIMM = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/"
MMRAZOR = "https://download.openmmlab.com/mmrazor/v1/wide_resnet/"
MMRAZOR_OLD = "https://openmmlab-share.oss-cn-hangzhou.aliyuncs.com/mmrazor/v1/wide_resnet/"


@dataclasses.dataclass(frozen=True)
class PublishedWeights:
    """One set of weights that somebody published, or that comes with the package.

    Args:
        model: str, the network's name in the catalogue.
        tag: str, the name of the weights.
        url: str, the file, whose name ends in the first 8 digits of its SHA-256; "" for weights
            that come with the package.
        dataset: "imagenet2012" or "cifar10".
        size, crop, interpolation, mean, std: as for `Preprocessing`; `preprocessing` is made of
            them.
        top1, top5: float or None, the publisher's accuracy in percent at that size and crop.
        licence, citation, source: str.
    """

    model: str
    tag: str
    url: str
    dataset: str
    size: int
    top1: float
    licence: str
    citation: str
    source: str
    crop: float = 1.0
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    top5: float | None = None

    @property
    def name(self) -> str:
        """The model and the tag, such as "wide_resnet50_2.tv2_in1k"."""
        return f"{self.model}.{self.tag}"

    @property
    def file(self) -> str:
        """The name of the published file."""
        return self.url.rpartition("/")[2]

    @property
    def sha256(self) -> str:
        """The first 8 digits of the file's SHA-256."""
        return self.file.rpartition(".")[0].rpartition("-")[2]

    @property
    def class_names(self) -> tuple[str, ...]:
        if self.dataset == "imagenet2012":
            return imagenet_names()
        return dataset_info(self.dataset).class_names

    @property
    def preprocessing(self) -> Preprocessing:
        fields = ("size", "crop", "interpolation", "mean", "std", "class_names")
        return Preprocessing(**{field: getattr(self, field) for field in fields})


def _torchvision(model, tag, file, top1, top5, resize=256):
    return PublishedWeights(
        model, tag, TORCHVISION + file, "imagenet2012", 224, top1, "BSD-3-Clause", WRN,
        "torchvision", 224 / resize, top5=top5,
    )  # fmt: skip


def _mmrazor(model, file, top1, base=MMRAZOR):
    # The deviation is the mean of each image's own, as in OpenMMLab's configurations.
    mean = tuple(value / 255 for value in (125.307, 122.961, 113.8575))
    std = tuple(value / 255 for value in (51.5865, 50.847, 51.255))
    return PublishedWeights(
        model, "mmrazor_cifar10", base + file, "cifar10", 32, top1, "Apache-2.0", WRN,
        "mmrazor's model card", mean=mean, std=std,
    )  # fmt: skip


def _shipped():
    info = dataset_info("cifar10")
    return PublishedWeights(
        "wrn_16_2", "cifar10", "", "cifar10", 32, 93.08, "Apache-2.0", WRN,
        "this package: recipe cifar10_wrn16_2, 40 epochs, seed 0", mean=info.mean, std=info.std,
    )  # fmt: skip


SOURCES = {
    weights.name: weights
    for weights in (
        _torchvision(
            "wide_resnet50_2", "tv_in1k", "wide_resnet50_2-95faca4d.pth", 78.468, 94.086
        ),
        _torchvision(
            "wide_resnet50_2", "tv2_in1k", "wide_resnet50_2-9ba9bcbe.pth", 81.602, 95.758, 232
        ),
        PublishedWeights(
            "wide_resnet50_2", "racm_in1k", TIMM + "wide_resnet50_racm-8234f177.pth",
            "imagenet2012", 224, 81.466, "Apache-2.0", RSB, "timm", 0.875, "bicubic", top5=95.544,
        ),
        _torchvision(
            "wide_resnet101_2", "tv_in1k", "wide_resnet101_2-32ee1156.pth", 78.848, 94.284
        ),
        _torchvision(
            "wide_resnet101_2", "tv2_in1k", "wide_resnet101_2-d733dc28.pth", 82.51, 96.02, 232
        ),
        _shipped(),
        _mmrazor("wrn_16_2", "wrn16_2_b16x8_cifar10_20220831_204709-446b466e.pth", 93.04,
                 MMRAZOR_OLD),
        _mmrazor("wrn_22_4", "wrn22-w4_b16x8_cifar10/"
                 "wrn22-w4_b16x8_cifar10_20221201_170638-1d044c6f.pth", 94.87),
        _mmrazor("wrn_28_4", "wrn28_4_b16x8_cifar10_20220831_173536-d6f8725c.pth", 95.41,
                 MMRAZOR_OLD),
        _mmrazor("wrn_40_2", "wrn40-w2_b16x8_cifar10/"
                 "wrn40-w2_b16x8_cifar10_20221201_170318-761c8c55.pth", 94.67),
    )
}  # fmt: skip

DEFAULT_TAGS = {
    "wide_resnet50_2": "tv2_in1k",
    "wide_resnet101_2": "tv2_in1k",
    "wrn_16_2": "cifar10",
    "wrn_22_4": "mmrazor_cifar10",
    "wrn_28_4": "mmrazor_cifar10",
    "wrn_40_2": "mmrazor_cifar10",
}


def published(pattern: str = "*") -> list[str]:
    """The names with tags that match a shell pattern, with or without the tag, sorted."""
    return sorted(
        name
        for name, weights in SOURCES.items()
        if fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(weights.model, pattern)
    )


def tag_of(weights: str, model: str) -> str | None:
    """The tag that a builder's `weights` argument stands for; None if there is no such tag.

    The argument is a tag, "imagenet", or the full name of published weights of this same network.
    """
    whole = ".".join(split_tag(weights))
    if whole in SOURCES:
        return SOURCES[whole].tag if SOURCES[whole].model == model else None
    try:
        return weights_info(model, weights).tag if weights else None
    except ValueError:
        return None


def weights_info(name: str, tag: str = "") -> PublishedWeights:
    """What is known about published weights.

    Args:
        name: str, a network's name, with or without a tag, or mmpretrain's name for the weights.
        tag: str, the tag if the name has none; "imagenet" stands for the network's default tag.
            Without any tag the default is used.

    Raises:
        ValueError: there are no such weights; the message lists those that exist.

    Example:

    ```python
    weights = keras_wrn.catalog.weights_info("wide_resnet50_2.racm_in1k")
    weights.preprocessing.interpolation, weights.top1   # ("bicubic", 81.466)
    ```
    """
    model, own = split_tag(name)
    tag = own or tag
    default = DEFAULT_TAGS.get(model, "")
    if not tag or (tag == "imagenet" and default.endswith("in1k")):
        tag = default
    found = SOURCES.get(f"{model}.{tag}")
    if found is None:
        others = published(model)
        if not others:
            near = difflib.get_close_matches(model, [s.model for s in SOURCES.values()], 3, 0.5)
            others = sorted({x for other in near for x in published(other)}) or published()
        which = f" {tag!r}" if tag else ""
        raise ValueError(
            f"There are no published weights{which} of {model!r}. Expected one of "
            f"{', '.join(others)}. Received: {name!r}"
        )
    return found
