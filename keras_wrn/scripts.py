"""The recipe and study scripts that come with the package."""

import contextlib
import difflib
import runpy
import sys
from pathlib import Path

from keras_wrn.distribution import carried
from keras_wrn.recipe import BaseRecipe
from keras_wrn.study import Study


def recipe_paths() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    return _scripts("recipes")


def study_paths() -> dict[str, Path]:
    """The studies that come with the package, by name."""
    return _scripts("recipes/studies")


def load_recipe(name: str) -> BaseRecipe:
    """Return a `Recipe` or `DetectionRecipe` by its name or by a script's path."""
    return _load(name, recipe_paths(), "recipe", BaseRecipe)


def load_study(name: str) -> Study:
    """Return a study by its name or by a script's path."""
    return _load(name, study_paths(), "study", Study)


def _scripts(inside):
    for folder in carried(inside, inside):
        paths = sorted(p for p in folder.glob("*.py") if not p.name.startswith("_"))
        if paths:
            return {path.stem: path for path in paths}
    return {}


@contextlib.contextmanager
def _importing_from(folder):
    """What a script imports may lie beside it."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _load(name, paths, what, kind):
    path = Path(name) if name.endswith(".py") else paths.get(name)
    if path is None or not path.is_file():
        near = difflib.get_close_matches(name, paths, 1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; expected one of {', '.join(paths)}"
        raise ValueError(f"There is no {what} {name!r}{hint}")
    with _importing_from(path.parent):
        found = runpy.run_path(str(path)).get(what)
    if not isinstance(found, kind):
        raise ValueError(
            f"{path} should define `{what}`, a keras_wrn.{what.capitalize()}. Received: {found!r}"
        )
    return found
