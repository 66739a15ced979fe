"""A study: a table or figure of the paper, as recipes that are each run with several seeds."""

import dataclasses
import fnmatch
import re
from typing import Any, Literal

from keras_wrn.checks import check_count
from keras_wrn.recipe import Recipe, ScheduleConfig

NAME = r"\w[\w.+=,-]*"  # part of a folder's name and of a command
# How the names of shortened cells, rehearsals and run directories end.
ENDING = re.compile(r"-\d+epochs$|-smoke$|-seed\d+$")


@dataclasses.dataclass(frozen=True)
class Study:
    """Recipes that are compared, with the error that was published for each.

    A cell of the study is a recipe: its name is the row's, and its `paper_error` stands beside what
    is measured.

    Example:

    ```python
    base = keras_wrn.Recipe("base", epochs=30)
    study = keras_wrn.Study(
        "widths", "How wide?", [keras_wrn.cell(base, f"k{k}", model={"width": k}) for k in (1, 2)]
    )
    ```
    """

    name: str
    """The study's directory is runs/<name>."""
    title: str
    """The heading of its table."""
    cells: tuple[Recipe, ...]
    """The recipes, one for each row."""
    seeds: int = 5
    """How many seeds each cell is run with, from 0 on."""
    measures: Literal["training", "timing"] = "training"
    """training: runs, as `keras_wrn.run` makes them. timing: how long one training step takes at
    the recipe's batch size."""

    def __post_init__(self):
        object.__setattr__(self, "cells", tuple(self.cells))
        strange = [x for x in self.cells if not isinstance(x, Recipe)]
        if strange:
            raise ValueError(
                f"The cells of study {self.name!r} should be recipes, such as `keras_wrn.cell` "
                f"makes. Received: {strange[0]!r:.80}"
            )
        if self.measures not in ("training", "timing"):
            raise ValueError(
                f"`measures` should be 'training' or 'timing'. Received: {self.measures!r}"
            )
        names = [recipe.name for recipe in self.cells]
        wrong = [x for x in (self.name, *names) if not re.fullmatch(NAME, x) or ENDING.search(x)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if wrong:
            raise ValueError(
                "A study and its cells have names of letters, digits, '_', and after the first "
                "'.+=,-', that do not end in -8epochs, -smoke, -seed0 and the like. Received: "
                f"{', '.join(map(repr, wrong))}"
            )
        if not names or twice:
            found = f"{', '.join(twice)} twice" if twice else "none"
            raise ValueError(f"Study {self.name!r}: expected cells of different names, got {found}")
        check_count("seeds", self.seeds)

    def selected(self, only=(), epochs=None):
        """The recipes of some cells, shortened to some number of epochs.

        Args:
            only: names of cells, or shell patterns of them; empty for all.
            epochs: int, None for each cell's own; see `shortened`.

        Raises:
            ValueError: nothing has such a name, or the cells are not that long.
        """
        names = [recipe.name for recipe in self.cells]
        for pattern in only:
            if not fnmatch.filter(names, pattern):
                raise ValueError(
                    f"Study {self.name!r} has the cells {', '.join(names)}. Received: {pattern!r}"
                )
        chosen = [
            recipe
            for recipe in self.cells
            if not only or any(fnmatch.fnmatch(recipe.name, pattern) for pattern in only)
        ]
        return [recipe if epochs is None else shortened(recipe, epochs) for recipe in chosen]


def cell(base: Recipe, name: str, error=None, source="", **changes) -> Recipe:
    """A recipe that differs from another in some fields.

    Args:
        base: `keras_wrn.Recipe`.
        name: str, the row's.
        error: float, the published test error in percent, or None.
        source: str, where it was published.
        **changes: fields of the recipe; for `model`, `data` and other parts a dict of their fields.

    Raises:
        ValueError: the fields do not go together, or there are no such fields.

    Example:

    ```python
    keras_wrn.cell(keras_wrn.Recipe("base"), "thin", 6.85, "Table 4", model={"width": 1})
    ```
    """
    for part, value in changes.items():
        if isinstance(value, dict) and dataclasses.is_dataclass(getattr(base, part, None)):
            changes[part] = _changed(getattr(base, part), f"{part}.", value)
    return _changed(base, "", {"name": name, "paper_error": error, "source": source, **changes})


def _changed(part, prefix, changes):
    known = {field.name for field in dataclasses.fields(part)}
    unknown = [f"`{prefix}{name}`" for name in changes if name not in known]
    if unknown:
        raise ValueError(f"A recipe has no field {', '.join(unknown)}")
    return dataclasses.replace(part, **changes)


def shortened(recipe: Recipe, epochs: int) -> Recipe:
    """A recipe with fewer epochs, for a budget that is not the paper's; its name says so.

    In place of a schedule by steps, which few epochs do not suit, the rate rises and falls once;
    its peak is the recipe's rate.

    Raises:
        ValueError: the recipe has no more than that.
    """
    epochs = check_count("epochs", epochs)
    if epochs >= recipe.epochs:
        raise ValueError(
            f"`epochs` makes a cell shorter: expected fewer than the {recipe.epochs} of "
            f"{recipe.name!r}. Received: epochs={epochs}"
        )
    changes: dict[str, Any] = {"name": f"{recipe.name}-{epochs}epochs", "epochs": epochs}
    if recipe.schedule.kind == "step":
        changes["schedule"] = ScheduleConfig(kind="one_cycle")
        changes["optimizer"] = dataclasses.replace(recipe.optimizer, reset_momentum_on_drop=False)
    return dataclasses.replace(recipe, **changes)
