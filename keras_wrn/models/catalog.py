"""Names of networks, and what is known of each: arguments, parameters, the paper's error."""

import dataclasses
import difflib
import fnmatch
import re
from collections.abc import Callable

from keras_wrn.models import imagenet
from keras_wrn.models.announce import announce_random
from keras_wrn.models.imagenet import (
    WideResNet18,
    WideResNet34,
    WideResNet50_2,
    WideResNet101_2,
)
from keras_wrn.models.wide_resnet import MIN_SIZE, WideResNet


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """One network of the catalogue.

    Args:
        name: str, such as "wrn_28_10".
        arguments: dict, what `builder` is called with.
        params: int, trainable parameters with 10 classes, or ImageNet's 1,000; None where nobody
            counted them.
        paper_error: dict from "cifar10", "cifar100", "svhn_cropped" or "imagenet2012" to the
            paper's test error in percent (of ImageNet top-1, a single crop), without dropout and
            with mean/std preprocessing unless `note` says otherwise. Empty where the paper has
            none.
        note: str, where the error is from.
        dropout: float, the rate that it was measured with.
        builder: the function that makes the network, such as `WideResNet`.
        min_size: int, the least side of its images in pixels.
    """

    name: str
    arguments: dict
    params: int | None
    paper_error: dict = dataclasses.field(default_factory=dict)
    note: str = ""
    dropout: float = 0.0
    builder: Callable = WideResNet
    min_size: int = MIN_SIZE


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


def _imagenet(name, builder, params, error=None, note="Table 7", **arguments):
    errors = {} if error is None else {"imagenet2012": error}
    note = note if errors else ""
    settings = {"builder": builder, "min_size": imagenet.MIN_SIZE}
    return ModelInfo(name, arguments, params, errors, note, **settings)


# Arguments that make another network of a name, which its published weights do not fit.
OTHER_NETWORK = {"depth", "width", "block", "num_blocks", "activation", "strided_padding"}

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
        _imagenet("wide_resnet18_1", WideResNet18, 11_689_512, 30.4, width=1),
        _imagenet("wide_resnet18_1.5", WideResNet18, 25_875_816, 27.06, width=1.5),
        _imagenet("wide_resnet18_2", WideResNet18, 45_618_216, 25.58, width=2),
        _imagenet("wide_resnet18_3", WideResNet18, 101_783_976, 24.06, width=3),
        _imagenet("wide_resnet34_1", WideResNet34, 21_797_672, 26.77, width=1),
        _imagenet("wide_resnet34_1.5", WideResNet34, 48_613_608, 24.5, width=1.5),
        _imagenet("wide_resnet34_2", WideResNet34, 86_036_008, 23.39, width=2),
        _imagenet("wide_resnet50_2", WideResNet50_2, 68_883_240, 21.9, "Table 8"),
        _imagenet("wide_resnet101_2", WideResNet101_2, 126_886_696),
    )
}


def list_models(pattern: str = "*", pretrained: bool = False) -> list[str]:
    """Return the names of the catalogue that match a shell pattern, sorted.

    Args:
        pattern: str, such as "wrn_28_*".
        pretrained: bool, list published weights instead: names with a tag after a dot.

    Example:

    ```python
    keras_wrn.list_models("wrn_16_*")   # ['wrn_16_1', 'wrn_16_10', 'wrn_16_2', ...]
    keras_wrn.list_models("wide_resnet101_2", pretrained=True)
    # ['wide_resnet101_2.tv2_in1k', 'wide_resnet101_2.tv_in1k']
    ```
    """
    if pretrained:
        from keras_wrn.weights.sources import published

        return published(pattern)
    return sorted(fnmatch.filter(CATALOG, pattern))


def split_tag(name: str) -> tuple[str, str]:
    """A name and its tag of published weights: "wide_resnet50_2.tv_in1k" in two, or with "".

    mmpretrain's names of published weights are known too.
    """
    from keras_wrn.weights.sources import ALIASES

    name = ALIASES.get(str(name), str(name))
    model, _, tag = name.rpartition(".")
    # What follows the dot of wide_resnet18_1.5 is no tag.
    return (model, tag) if model and tag[:1].isalpha() else (name, "")


def is_name(name: str) -> bool:
    """Whether a name, without its tag, is one of the catalogue, or mmpretrain's for one."""
    try:
        return bool(model_info(split_tag(name)[0]))
    except ValueError:
        return False


def model_info(name: str) -> ModelInfo:
    """Return what the catalogue knows of a name; of "wrn_34_20" and the like the arguments.

    Raises:
        ValueError: an unknown name; the message has the nearest known ones.
    """
    size = re.fullmatch(r"wrn_(\d+)_(\d+(?:\.\d+)?)", str(name))
    if name not in CATALOG and size:  # any other size of the CIFAR family
        depth, width = int(size[1]), float(size[2])
        return _wrn(depth, int(width) if width.is_integer() else width, None)
    if name not in CATALOG:
        near = difflib.get_close_matches(str(name), CATALOG, 3)
        hint = f" Did you mean {', '.join(near)}?" if near else " See keras_wrn.list_models()."
        raise ValueError(f"Unknown model.{hint} Received: {name!r}")
    return CATALOG[name]


def create_model(name: str, *, pretrained: bool = False, **overrides):
    """Build a network by its name in the catalogue.

    It starts at random, unless the name has a tag or `pretrained` or `weights` says otherwise; what
    takes a trained model (`inference_model`, `evaluate`, `feature_extractor`, the command line)
    takes a name without a tag for its default published weights. It takes images that were
    normalised, `model.preprocessing.normalize(pixels)`; pixels of 0..255 themselves with
    `include_preprocessing=True`.

    Args:
        name: str, one of `list_models()`, or wrn_{depth}_{width} of any size. With a tag after a
            dot, one of `list_models(pretrained=True)`, it has those published weights; mmpretrain's
            names of such weights are known too.
        pretrained: bool, whether a name without a tag has the network's default weights.
        **overrides: arguments of the network's builder that differ from the catalogue's.

    Returns:
        A functional `keras.Model`; see `keras_wrn.WideResNet` and `keras_wrn.WideResNet50_2`. With
        published weights it has their `preprocessing`.

    Raises:
        ValueError: an unknown name or tag, an argument that cannot be built, or `pretrained` for a
            network without published weights.
        OSError: the published file cannot be downloaded; the message says what to do.

    Example:

    ```python
    model = keras_wrn.create_model("wrn_16_4", classes=100, dropout=0.3)
    model = keras_wrn.create_model("wrn_16_2.cifar10")
    ```
    """
    from keras_wrn.weights.sources import weights_info

    model, tag = split_tag(name)
    info = model_info(model)
    arguments = {**info.arguments, **overrides}
    if (tag or pretrained) and "weights" in overrides:
        raise ValueError(
            f"Expected a name without a tag, and no `pretrained`, to go with `weights`. Received: "
            f"{name!r}, pretrained={pretrained}, weights={overrides['weights']!r}"
        )
    if tag or pretrained:
        weights = weights_info(name)
        arguments["weights"] = weights.tag
        arguments.setdefault("classes", len(weights.class_names))
    as_published = not OTHER_NETWORK.intersection(overrides)
    if info.builder is WideResNet and arguments.get("weights") is None and as_published:
        announce_random(info.name)  # the ImageNet builders do so themselves
    return info.builder(**arguments)
