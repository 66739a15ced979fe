"""A study: a table or figure of the paper, as recipes that are each run with several seeds."""

import dataclasses
import fnmatch
import re
from typing import Literal

from keras_wrn.checks import check_count
from keras_wrn.recipe import Recipe, ScheduleConfig

NAME = r"\w[\w.+=,-]*"  # part of a folder's name and of a command


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
        names = [recipe.name for recipe in self.cells]
        wrong = [x for x in (self.name, *names) if not re.fullmatch(NAME, x)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if wrong:
            raise ValueError(
                "A study and its cells have names of letters, digits, '_', and after the first "
                f"'.+=,-'. Received: {', '.join(map(repr, wrong))}"
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
        ValueError: the fields do not go together.

    Example:

    ```python
    keras_wrn.cell(keras_wrn.Recipe("base"), "thin", 6.85, "Table 4", model={"width": 1})
    ```
    """
    for part, value in changes.items():
        if isinstance(value, dict):
            changes[part] = dataclasses.replace(getattr(base, part), **value)
    return dataclasses.replace(base, name=name, paper_error=error, source=source, **changes)


def shortened(recipe: Recipe, epochs: int) -> Recipe:
    """A recipe with fewer epochs, for a budget that is not the paper's; its name says so.

    The rate rises and falls once instead of the steps, which few epochs do not suit; its peak is
    the recipe's rate.

    Raises:
        ValueError: the recipe has no more than that.
    """
    epochs = check_count("epochs", epochs)
    if epochs >= recipe.epochs:
        raise ValueError(
            f"`epochs` makes a cell shorter: expected fewer than the {recipe.epochs} of "
            f"{recipe.name!r}. Received: epochs={epochs}"
        )
    return dataclasses.replace(
        recipe,
        name=f"{recipe.name}-{epochs}epochs",
        epochs=epochs,
        schedule=ScheduleConfig(kind="one_cycle"),
        optimizer=dataclasses.replace(recipe.optimizer, reset_momentum_on_drop=False),
    )
