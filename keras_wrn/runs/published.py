"""Which published error a run may be compared with: that of its own network, data and recipe."""

import json
import re
from typing import Any

from keras_wrn.catalog.names import CATALOG, CIFAR, model_info, split_tag
from keras_wrn.recipe import BaseRecipe, Recipe
from keras_wrn.runs.directory import NOT_TRAINING
from keras_wrn.scripts import load_recipe, recipe_paths

# Settings in which a run may differ from the recipe whose error was published. The table and the
# card say how many epochs it had.
FREE = {"epochs", "strategy", "precision", "sync_batch_norm", "deterministic"}
NETWORK = {f"model.{field}" for field in ("depth", "width", "block", "num_blocks", "name")}
# The paper's recipe for each dataset, used for all of its networks.
PAPER = {
    "cifar10": "cifar10_wrn28_10",
    "cifar100": "cifar100_wrn28_10",
    "svhn_cropped": "svhn_wrn16_8",
}
# Zagoruyko & Komodakis 2017, Table 1: WRN-16-2 (with WRN-40-2's answers, with its attention).
DISTILLED = {(False, False): 6.31, (True, False): 6.08, (False, True): 5.85, (True, True): 5.71}
TEACHER = re.compile(r"wrn_?40_2(?!\d)")


def published_error(recipe: Recipe) -> tuple[float, str] | None:
    """The published test error in percent that belongs to a recipe, and where it is from.

    A recipe that comes with the package has its own error as long as it is unchanged, except for
    the number of epochs and the devices. The paper's recipe with another of the paper's networks
    has that network's error; distillation has one with and without each of its parts. Anything
    else has none. Any other recipe has the error that it states: it cannot be compared.

    Example:

    ```python
    recipe = load_recipe("cifar10_wrn28_10")   # of keras_wrn.scripts
    published_error(recipe)   # (4.0, "Table 5, median of 5")
    ```
    """
    shipped: Any
    if recipe.name not in recipe_paths():
        return None if recipe.paper_error is None else (recipe.paper_error, recipe.source)
    shipped = load_recipe(recipe.name)
    differing = _differing(recipe, shipped)
    if shipped.distill.teacher:
        return _distilled(recipe.distill, shipped, differing)
    if not differing and shipped.paper_error is not None:
        return shipped.paper_error, shipped.source
    return _of_the_paper(recipe)


def settings_of(recipe: BaseRecipe) -> dict:
    """The settings that a recipe trains with, by dotted names: not its name, seed and texts."""
    settings = {}
    for key, value in json.loads(recipe.to_json()).items():
        if key in ("name", "seed", *NOT_TRAINING):
            continue
        if isinstance(value, dict):
            settings.update({f"{key}.{field}": part for field, part in value.items()})
        else:
            settings[key] = value
    return settings


def _differing(recipe, other):
    """The settings in which two recipes differ, except for those that are free."""
    ours, theirs = settings_of(recipe), settings_of(other)
    keys = ours.keys() - FREE
    if not recipe.scale_lr:
        keys -= {"rate_batch"}  # it has no effect
    return {key for key in keys if ours[key] != theirs[key]}


def _distilled(distill, shipped, differing):
    parts = {"distill.teacher", "distill.logits", "distill.attention"}
    if not differing <= (parts if distill.teacher else {"distill.teacher"}):
        return None
    if not distill.teacher:
        return DISTILLED[False, False], shipped.source
    known = distill.logits in (0, 0.9) and distill.attention in (0, 1000)
    if not known or not TEACHER.search(distill.teacher):
        return None
    answers, attention = distill.logits > 0, distill.attention > 0
    return (DISTILLED[answers, attention], shipped.source) if answers or attention else None


def _of_the_paper(recipe):
    """The catalogue's error for a network of the paper that is trained as in the paper."""
    name = PAPER.get(recipe.data.dataset)
    info = _network(recipe.model)
    error = info and info.paper_error.get(recipe.data.dataset)
    if name is None or error is None:
        return None
    free = NETWORK | {"model.dropout"} | ({"data.preprocessing"} if "ZCA" in info.note else set())
    if _differing(recipe, load_recipe(name)) - free or recipe.model.dropout != info.dropout:
        return None
    return error, info.note


def _network(model):
    """What the catalogue knows about a recipe's network, None if nothing."""
    if model.name:
        return None if split_tag(model.name)[1] else model_info(model.network)
    given = {"depth": model.depth, "width": model.width, "block": model.block}
    given["num_blocks"] = model.num_blocks
    plain = {"block": "B33", "num_blocks": None}
    networks = [info for info in CATALOG.values() if info.family is CIFAR]
    return next((info for info in networks if {**plain, **info.arguments} == given), None)
