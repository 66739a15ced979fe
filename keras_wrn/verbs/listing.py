"""`keras-wrn list` and `keras-wrn report`."""

import ast
import fnmatch
from pathlib import Path
from typing import Annotated

import tyro

from keras_wrn.catalog import list_models, model_info, weights_info
from keras_wrn.runs import report as reporting
from keras_wrn.runs.study_report import study_rows, study_table
from keras_wrn.scripts import load_study, recipe_paths, study_paths


def list_all(pattern: Annotated[str, tyro.conf.Positional] = "*"):
    """List networks, published weights, recipes and studies.

    Args:
        pattern: A shell pattern of names, such as "wrn_28_*".
    """
    scripts = {
        kind: {name: path for name, path in paths.items() if fnmatch.fnmatch(name, pattern)}
        for kind, paths in (("recipe", recipe_paths()), ("study", study_paths()))
    }
    networks, weights = list_models(pattern), list_models(pattern, pretrained=True)
    if not (any(scripts.values()) or networks or weights):
        raise ValueError(
            f"Expected a pattern of names, such as 'wrn_28_*'; nothing matches {pattern!r}"
        )
    tables = [
        [("network", "parameters", "error of the paper (%)"), *map(_network, networks)],
        [("published weights", "top-1 (%)", "data, publisher"), *map(_published, weights)],
        *(
            [(kind, "", "what it is"), *((x, "", _first_line(path)) for x, path in found.items())]
            for kind, found in scripts.items()
        ),
    ]
    print("\n\n".join(_aligned(table) for table in tables if len(table) > 1))


def _network(name):
    info = model_info(name)
    errors = ", ".join(f"{data} {error:.2f}" for data, error in info.paper_error.items())
    return name, f"{info.params:,}", errors + (f"  ({info.note})" if info.note else "")


def _published(name):
    known = weights_info(name)
    return name, f"{known.top1:.2f}", f"{known.dataset}, {known.source}"


def _first_line(path):
    doc = ast.get_docstring(ast.parse(path.read_text())) or ""
    return doc.partition("\n")[0]


def _aligned(rows):
    """Rows of a name, a number and a text, as lines: each column as wide as needed."""
    name, number = (max(len(row[i]) for row in rows) for i in range(2))
    number += 2 * bool(number)
    return "\n".join(f"{r[0]:{name}}{r[1]:>{number}}  {r[2]}".rstrip() for r in rows)


def report(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = (Path("results"),),
    study: str | None = None,
    readme: Path | None = None,
):
    """Write the results table from the logs of runs.

    Args:
        runs: Run directories, or folders of them; for a study, its directory.
        study: Write the table of this study instead, a name or a script's path.
        readme: A Markdown file to write the table into, between its markers, such as <!-- results:
            begin --> and <!-- results: end --> (with a study, its name in place of results); by
            default the table is printed.
    """
    start = readme.parent if readme else Path()
    if study is None:
        name, table = "results", reporting.results_table(runs, start)
    else:
        found, (directory, *more) = load_study(study), runs
        if more or not directory.is_dir():
            given = ", ".join(map(str, runs))
            raise ValueError(f"A study has one directory of runs. Received: {given}")
        name, table = found.name, study_table(found, study_rows(found, directory), start)
    if readme is None:
        print(table)
    else:
        reporting.write_between_markers(readme, table, name)
        lines = [line for line in table.splitlines() if line.startswith("|")]
        rows = len(lines) - 2 * sum(line.startswith("|--") for line in lines)
        print(f"Wrote the table of {rows} row{'s' * (rows > 1)} into {readme}")
