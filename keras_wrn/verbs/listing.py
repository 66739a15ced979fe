"""`keras-wrn list` and `keras-wrn report`."""

import ast
import fnmatch
from pathlib import Path
from typing import Annotated

import tyro

from keras_wrn.training.scripts import recipe_paths


def list_all(pattern: Annotated[str, tyro.conf.Positional] = "*"):
    """List networks, published weights and recipes.

    Args:
        pattern: A shell pattern of names, such as "wrn_28_*".
    """
    from keras_wrn.models import list_models, model_info
    from keras_wrn.weights import weights_info

    recipes = [name for name in recipe_paths() if fnmatch.fnmatch(name, pattern)]
    weights = list_models(pattern, pretrained=True)
    if not recipes and not list_models(pattern) and not weights:
        raise ValueError(
            f"Expected a pattern of names, such as 'wrn_28_*'; nothing matches {pattern!r}"
        )
    print(f"{'network':18}{'parameters':>14}  error of the paper (%)")
    for name in list_models(pattern):
        info = model_info(name)
        errors = ", ".join(f"{data} {error:.2f}" for data, error in info.paper_error.items())
        print(f"{name:18}{info.params:14,}  {errors}{f'  ({info.note})' if info.note else ''}")
    if weights:
        print(f"\n{'published weights':34}{'top-1 (%)':>9}  data, publisher")
    for name in weights:
        known = weights_info(name)
        print(f"{name:34}{known.top1:9.2f}  {known.dataset}, {known.source}")
    print("\nrecipe")
    for name in recipes:
        doc = ast.get_docstring(ast.parse(recipe_paths()[name].read_text())) or ""
        print(f"{name:24}{doc.partition(chr(10))[0]}")


def report(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = (Path("results"),),
    readme: Path | None = None,
):
    """Write the results table from the logs of runs.

    Args:
        runs: Run directories, or folders of them.
        readme: A Markdown file to write the table into, between its results markers; by default
            the table is printed.
    """
    from keras_wrn.training import report as reporting

    table = reporting.results_table(runs, readme.parent if readme else Path())
    if readme is None:
        print(table)
    else:
        reporting.write_between_markers(readme, table)
