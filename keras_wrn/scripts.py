"""The recipe scripts that come with the package."""

import difflib
import runpy
from pathlib import Path

from keras_wrn.distribution import carried
from keras_wrn.recipe import Recipe


def recipe_paths() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    for folder in carried("recipes", "recipes"):
        paths = sorted(p for p in folder.glob("*.py") if not p.name.startswith("_"))
        if paths:
            return {path.stem: path for path in paths}
    return {}


def load_recipe(name: str) -> Recipe:
    """Return a recipe by its name or by a script's path."""
    paths = recipe_paths()
    path = Path(name) if name.endswith(".py") else paths.get(name)
    if path is None or not path.is_file():
        near = difflib.get_close_matches(name, paths, 1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; expected one of {', '.join(paths)}"
        raise ValueError(f"There is no recipe {name!r}{hint}")
    recipe = runpy.run_path(str(path)).get("recipe")
    if not isinstance(recipe, Recipe):
        raise ValueError(f"{path} should define `recipe`, a keras_wrn.Recipe. Received: {recipe!r}")
    return recipe
