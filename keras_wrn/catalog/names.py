"""Names of networks, and what is known about each: arguments, parameters, the paper's error."""

import dataclasses
import difflib
import re
from collections.abc import Callable

from keras_wrn.data.datasets import CIFAR_MEAN, CIFAR_STD, IMAGENET_MEAN, IMAGENET_STD
from keras_wrn.data.preprocess import Preprocessing
from keras_wrn.models import imagenet, retinanet, thin_resnet, wide_resnet


@dataclasses.dataclass(frozen=True)
class Family:
    """Networks that one function builds.

    Args:
        build: the function, from depth and more to a network with random weights.
        name_of: function from the arguments, a dict, to the network's name.
        min_size: int, the smallest side of its images in pixels.
        preprocessing: `Preprocessing`, the usual one for its images.
    """

    build: Callable
    name_of: Callable
    min_size: int
    preprocessing: Preprocessing


CIFAR = Family(
    wide_resnet.wide_resnet,
    lambda given: wide_resnet.wrn_name(given["depth"], given["width"]),
    wide_resnet.MIN_SIZE,
    Preprocessing(wide_resnet.SHAPE[0], mean=CIFAR_MEAN, std=CIFAR_STD),
)
IMAGENET = Family(
    imagenet.imagenet_resnet,
    lambda given: imagenet.resnet_name(given["depth"], given["width"]),
    imagenet.MIN_SIZE,
    Preprocessing(imagenet.SHAPE[0], mean=IMAGENET_MEAN, std=IMAGENET_STD),
)
THIN = Family(
    thin_resnet.thin_resnet,
    lambda given: thin_resnet.thin_name(given["depth"], given["pre_activation"]),
    thin_resnet.MIN_SIZE,
    CIFAR.preprocessing,
)


DETECTORS = Family(
    retinanet.named_retinanet,
    lambda given: retinanet.retinanet_name(given["depth"], given["width"]),
    imagenet.MIN_SIZE,
    dataclasses.replace(IMAGENET.preprocessing, size=retinanet.SHAPE[0]),
)


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """One network of the catalogue.

    Args:
        name: str, such as "wrn_28_10".
        arguments: dict, what `family.build` is called with.
        params: int, trainable parameters with 10 classes, ImageNet's 1,000 or COCO's 80; None if
            they were not counted.
        paper_error: dict from "cifar10", "cifar100", "svhn_cropped" or "imagenet2012" to the
            paper's test error in percent (for ImageNet top-1, a single crop), without dropout and
            with mean/std preprocessing unless `note` says otherwise. Empty if the paper has none.
        note: str, where the error is from.
        dropout: float, the rate that it was measured with.
        family: `Family`.
    """

    name: str
    arguments: dict
    params: int | None
    paper_error: dict = dataclasses.field(default_factory=dict)
    note: str = ""
    dropout: float = 0.0
    family: Family = CIFAR


def _wrn(
    depth, width, params, cifar10=None, cifar100=None, note="", suffix="", svhn=None, dropout=0.0,
    **arguments,
):  # fmt: skip
    errors = {"cifar10": cifar10, "cifar100": cifar100, "svhn_cropped": svhn}
    return ModelInfo(
        name=f"wrn_{depth}_{width}{suffix}",
        arguments={"depth": depth, "width": width, **arguments},
        params=params,
        paper_error={name: error for name, error in errors.items() if error is not None},
        note=note,
        dropout=dropout,
    )


def _imagenet(depth, width, params, error=None, note="Table 7"):
    errors = {} if error is None else {"imagenet2012": error}
    arguments = {"depth": depth, "width": width}
    name = imagenet.resnet_name(depth, width)
    return ModelInfo(name, arguments, params, errors, note if errors else "", family=IMAGENET)


def _detector(depth, width, params):
    arguments = {"depth": depth, "width": width}
    name = retinanet.retinanet_name(depth, width)
    return ModelInfo(name, arguments, params, family=DETECTORS)


def _thin(depth, params, cifar10, cifar100=None, *, pre_activation=True):
    errors = {"cifar10": cifar10, "cifar100": cifar100}
    return ModelInfo(
        name=thin_resnet.thin_name(depth, pre_activation),
        arguments={"depth": depth, "pre_activation": pre_activation},
        params=params,
        paper_error={name: error for name, error in errors.items() if error is not None},
        note="Table 5: from its own paper" if cifar10 else "",
        family=THIN,
    )


TABLE_2 = "Table 2: ZCA, median of 5"
TABLE_3 = "Table 3: ZCA, median of 5"
TABLE_4 = "Table 4: ZCA"
TABLE_5 = "Table 5: mean/std, median of 5"
TABLE_6 = "Table 6: mean/std"

CATALOG = {
    info.name: info
    for info in (
        _wrn(10, 1, 77_850),
        _wrn(16, 1, 175_066),
        _wrn(16, 2, 691_674),
        _wrn(16, 4, 2_748_890, 5.02, 24.03, TABLE_6, svhn=1.85),
        _wrn(16, 8, 10_961_370, 4.27, 20.43, TABLE_5),
        _wrn(16, 10, 17_116_634, 4.56, 21.59, TABLE_4),
        _wrn(22, 2, 1_079_642),
        _wrn(22, 2, 1_145_498, 5.78, None, TABLE_2, "_b313", block="B313"),
        _wrn(22, 4, 4_298_970),
        _wrn(22, 8, 17_158_106, 4.38, 21.22, TABLE_4),
        _wrn(22, 10, 26_797_914, 4.44, 20.75, TABLE_4),
        _wrn(28, 2, 1_467_610, 5.73, None, TABLE_2),
        _wrn(28, 4, 5_849_050),
        _wrn(28, 8, 23_354_842),
        _wrn(28, 10, 36_479_194, 4.00, 19.25, TABLE_5),
        _wrn(28, 12, 52_517_850, 4.33, 20.43, TABLE_4),
        _wrn(34, 10, 46_160_474),
        _wrn(40, 1, 563_930, 6.85, 30.89, TABLE_4),
        _wrn(40, 2, 2_243_546, 5.33, 26.04, TABLE_4),
        _wrn(40, 2, 1_429_082, 6.06, None, TABLE_2, "_b131", block="B131"),
        _wrn(40, 2, 1_211_354, 5.78, None, TABLE_2, "_b31", block="B31"),
        _wrn(40, 2, 1_297_370, 6.42, None, TABLE_2, "_b13", block="B13"),
        _wrn(40, 2, 1_343_066, 5.86, None, TABLE_2, "_b311", block="B311"),
        _wrn(40, 2, 2_243_546, 6.69, None, TABLE_3, "_b3", block="B3", num_blocks=12),
        _wrn(40, 2, 2_243_546, 5.65, None, TABLE_3, "_b333", block="B333", num_blocks=4),
        _wrn(40, 2, 2_243_546, 5.93, None, TABLE_3, "_b3333", block="B3333", num_blocks=3),
        _wrn(40, 4, 8_949_210, 4.53, 21.18, TABLE_5),
        _wrn(40, 8, 35_748_314, 4.66, None, TABLE_4),
        _wrn(40, 10, 55_841_754, 3.8, 18.3, "Table 9: dropout 0.3, a single run", dropout=0.3),
        _wrn(52, 1, 758_362, 6.43, 29.89, TABLE_6, svhn=2.08),
        _wrn(70, 16, 266_796_506),
        _thin(110, 1_727_962, 6.43, 25.16, pre_activation=False),
        _thin(1202, 19_421_274, 7.93, 27.82, pre_activation=False),
        _thin(110, 1_727_962, 6.37),
        _thin(164, 1_703_258, 5.46, 24.33),
        _thin(1001, 10_327_706, 4.92, 22.71),
        _imagenet(18, 1, 11_689_512, 30.4),
        _imagenet(18, 1.5, 25_875_816, 27.06),
        _imagenet(18, 2, 45_618_216, 25.58),
        _imagenet(18, 3, 101_783_976, 24.06),
        _imagenet(34, 1, 21_797_672, 26.77),
        _imagenet(34, 1.5, 48_613_608, 24.5),
        _imagenet(34, 2, 86_036_008, 23.39),
        _imagenet(50, 2, 68_883_240, 21.9, "Table 8"),
        _imagenet(101, 2, 126_886_696),
        _detector(18, 1, 21_412_148),
        _detector(34, 1, 31_520_308),
        _detector(34, 2, 96_655_668),
        _detector(50, 2, 81_296_948),
    )
}


ANY_WIDTH = "wide_resnet18", "wide_resnet34"  # names that a width completes
# mmpretrain's names for its conversions of published weights.
ALIASES = {
    "wide-resnet50_3rdparty_8xb32_in1k": "wide_resnet50_2.tv_in1k",
    "wide-resnet50_3rdparty-timm_8xb32_in1k": "wide_resnet50_2.racm_in1k",
    "wide-resnet101_3rdparty_8xb32_in1k": "wide_resnet101_2.tv_in1k",
}


def split_tag(name: str) -> tuple[str, str]:
    """Split "wide_resnet50_2.tv_in1k" into the name and its tag of published weights; "" for none.

    mmpretrain's names for published weights work too.
    """
    name = ALIASES.get(str(name), str(name))
    model, _, tag = name.rpartition(".")
    # The part after the dot in wide_resnet18_1.5 is not a tag.
    return (model, tag) if model and tag[:1].isalpha() else (name, "")


def with_width(name: str, width: float) -> str:
    """A name with its tag left out, and with a width if it is one that has none."""
    base = split_tag(name)[0]
    return f"{base}_{width:g}" if base in ANY_WIDTH else base


def is_name(name: str) -> bool:
    """Whether a name, without its tag, is in the catalogue, or is mmpretrain's for one that is."""
    try:
        return bool(model_info(split_tag(name)[0]))
    except ValueError:
        return False


def model_info(name: str) -> ModelInfo:
    """Return what the catalogue knows about a name.

    For "wrn_34_20", "wide_resnet18_2.5" and the like, which it lacks, that is the arguments.

    Raises:
        ValueError: an unknown name; the message has the nearest known ones.
    """
    size = re.fullmatch(r"wrn_(\d+)_(\d+(?:\.\d+)?)", str(name))
    if name not in CATALOG and size:  # any other size of the CIFAR family
        depth, width = int(size[1]), float(size[2])
        return _wrn(depth, int(width) if width.is_integer() else width, None)
    photos = re.fullmatch(r"wide_resnet(18|34)_(\d+(?:\.\d+)?)", str(name))
    if name not in CATALOG and photos:  # any other width of the networks of Table 7
        return _imagenet(int(photos[1]), float(photos[2]), None)
    thin = re.fullmatch(r"(preact_)?resnet_(\d+)", str(name))
    if name not in CATALOG and thin:  # any other depth of the thin networks
        return _thin(int(thin[2]), None, None, pre_activation=bool(thin[1]))
    if name not in CATALOG:
        near = difflib.get_close_matches(str(name), CATALOG, 3)
        hint = f" Did you mean {', '.join(near)}?" if near else " See keras_wrn.list_models()."
        raise ValueError(f"Unknown model.{hint} Received: {name!r}")
    return CATALOG[name]


def build(name: str, **settings):
    """Build a network by name, without a tag, with random weights.

    Args:
        name: str, as for `create_model`.
        **settings: arguments of the family's `build` that differ from the catalogue's.
    """
    info = model_info(name)
    return info.family.build(**{**info.arguments, **settings})
