"""The runs of a study -> its table, as Markdown and CSV, and its picture."""

import csv
import dataclasses
import io
import os
import re
import statistics
from pathlib import Path
from typing import Any

from keras_wrn.files import replacing
from keras_wrn.recipe import SMOKE, Recipe
from keras_wrn.runs.files import CLASSIFIER_LINE, read_log, read_object, read_recipe, read_summary
from keras_wrn.runs.published import settings_of
from keras_wrn.study import Study, shortened

TIMING = "timing.json"
TABLE, ROWS, CURVES = "table.md", "table.csv", "curves.png"
SCORES = "nll", "ece", "brier"
# Settings that change nothing about what is compared.
FREE = "strategy", "precision", "deterministic", "sync_batch_norm"
COLUMNS = (
    "cell", "params", "epochs", "own_epochs", "rehearsal", "data", "split", "pixels", "seeds",
    "median_error",
    "lowest_error", "highest_error", "published_error", "source", *SCORES, "pflop", "machine",
    "runs",
)  # fmt: skip
TIMES = (
    "cell", "params", "macs", "batch_size", "forward", "backward", "update", "step", "share",
    "quick", "machine", "runs",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Row:
    """A cell of a study at one budget, with its finished runs.

    Args:
        cell: `Recipe` of the study.
        recipe: `Recipe` of the runs, None if there are none.
        runs: list of (path, dict of summary.json or timing.json), by seed.
    """

    cell: Recipe
    recipe: Recipe | None
    runs: list[tuple[Path, dict[str, Any]]]

    @property
    def summaries(self):
        return [summary for _, summary in self.runs]

    @property
    def fastest(self):
        """Of a timing study, the run with the shortest step."""
        return min(self.summaries, key=lambda run: run["step"])


def write_report(study: Study, directory) -> None:
    """Write table.md, table.csv and curves.png of the finished runs of a study.

    Args:
        study: `Study`.
        directory: path of its run directories, made if it is absent.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    rows = study_rows(study, directory)
    _write(directory / TABLE, f"# {study.title}\n\n{study_table(study, rows, directory)}\n")
    _write(directory / ROWS, _csv(study, rows, directory))
    if any(row.runs for row in rows):
        picture = _timing_figure if study.measures == "timing" else _curves_figure
        picture(study, rows, directory / CURVES)


def _write(path, text):
    with replacing(path) as new:
        new.write_text(text, encoding="utf-8")


def _draw(figure, path):
    with replacing(path) as new:
        figure.savefig(new, format="png", dpi=100)


def study_rows(study: Study, directory) -> list[Row]:
    """The finished runs of a study below a directory, in the order of its cells.

    A cell that was run with several budgets has a row for each, one that was not run has one
    without runs.

    Raises:
        ValueError: a file of a run is damaged, or a run had other settings than its cell has.
    """
    found = list(_found(study, Path(directory)))
    rows = []
    for cell in study.cells:
        budgets = {(x.epochs, x.name): x for x, *_ in found if is_cell(cell, x.name)}
        for epochs, name in sorted(budgets, reverse=True):
            runs = [
                (recipe.seed, path, summary)
                for recipe, path, summary in found
                if (recipe.epochs, recipe.name) == (epochs, name)
            ]
            runs.sort(key=lambda run: run[0])
            rows.append(Row(cell, budgets[epochs, name], [run[1:] for run in runs]))
        if not budgets:
            rows.append(Row(cell, None, []))
    return rows


def is_cell(cell, name):
    """Whether a recipe of that name is a cell's: itself, shortened, or a rehearsal."""
    return re.sub(r"-\d+epochs$", "", name.removesuffix(SMOKE)) == cell.name


def _found(study, directory):
    """(recipe, path, summary) of each finished run of the study."""
    for path in sorted(directory.glob("*-seed*")):
        name, _, seed = path.name.rpartition("-seed")
        cell = next((x for x in study.cells if is_cell(x, name)), None)
        if cell is None or not seed.isdecimal():
            continue  # a folder of something else
        if study.measures == "timing" and (path / TIMING).exists():
            yield dataclasses.replace(cell, name=name, seed=int(seed)), path, _timing(path)
        elif study.measures == "training" and (path / "summary.json").exists():
            recipe = read_recipe(path)
            _check_settings(cell, recipe, path)
            yield recipe, path, read_summary(path)


def _timing(path):
    result = read_object(path / TIMING)
    absent = [x for x in (*TIMES[1:8], "flops", "peak", "quick", "versions") if x not in result]
    if absent:
        raise ValueError(f"{path / TIMING} lacks {', '.join(absent)}: move it elsewhere")
    return result


def _check_settings(cell, recipe, path):
    """Raise a ValueError if a run had other settings than its cell has now."""
    if recipe.name.endswith(SMOKE):
        return
    own = cell if recipe.name == cell.name else shortened(cell, recipe.epochs)
    ours, theirs = settings_of(own), settings_of(recipe)
    differing = [x for x in ours if ours[x] != theirs[x] and x not in FREE]
    if own.name != recipe.name or differing:
        texts = "; ".join(f"{x} was {theirs[x]!r}, is {ours[x]!r}" for x in differing)
        raise ValueError(
            f"The run {path} had other settings than the study's cell has now: "
            f"{texts or f'its name was {recipe.name!r}'}. Move it elsewhere."
        )


def study_table(study: Study, rows: list[Row], start=".") -> str:
    """The Markdown table of a study.

    Args:
        study: `Study`.
        rows: list of `Row`.
        start: path of the folder that links are relative to.
    """
    heads, line = _TABLES[study.measures]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    lines += [f"| {' | '.join(line(row, start))} |" for row in rows]
    return "\n".join(lines)


def _trained(row, start):
    cell = row.cell
    published = "" if cell.paper_error is None else f"{cell.paper_error:.2f}"
    published += f" ({cell.source})" * bool(published and cell.source)
    if not row.runs:
        return [f"`{cell.name}`", "", "", published, "not run", "", str(cell.epochs), "", "", ""]
    errors = [run["test_error"] for run in row.summaries]
    summary = row.summaries[0]
    return [
        f"`{cell.name}`",
        f"{summary['params']:,}",
        _data(row),
        published,
        f"{statistics.median(errors):.2f}",
        f"{min(errors):.2f} to {max(errors):.2f}" if len(errors) > 1 else "",
        _budget(row),
        ", ".join(str(run["seed"]) for run in row.summaries),
        f"{summary['flops'] / 1e15:.3g}",
        _links(row, start),
    ]


def _budget(row):
    """The epochs of a row's runs; a shorter budget than the cell's cannot be overlooked."""
    if row.recipe.name.endswith(SMOKE):
        return "**a rehearsal on made-up images**"
    changed = any(run.get("changes") for run in row.summaries)
    more = ", with settings changed in a run" * changed
    if row.recipe.epochs == row.cell.epochs:
        return str(row.cell.epochs) + more
    return f"**{row.recipe.epochs}** instead of {row.cell.epochs}{more}"


def _data(row):
    data = row.summaries[0]["data"]
    pixels = {"original": ", lossless", "other": ", not the published pixels",
              "mixed": ", of some runs not the published pixels"}  # fmt: skip
    split = "" if data["split"] == "test" else f" ({data['split']} split)"
    return data["dataset"] + pixels.get(_pixels(row), "") + split


def _pixels(row):
    kinds = {run["data"].get("pixels", "") for run in row.summaries}
    return kinds.pop() if len(kinds) == 1 else "mixed"


def _links(row, start):
    seeds = [path.name.rpartition("-seed")[2] for path, _ in row.runs]
    return ", ".join(
        f"[{seed}]({os.path.relpath(path, start)})"
        for seed, (path, _) in zip(seeds, row.runs, strict=True)
    )


def _timed(row, start):
    if not row.runs:
        return [f"`{row.cell.name}`", *[""] * 8]
    best = row.fastest
    times = [f"{1e3 * best[x]:.1f}" for x in ("forward", "backward", "update", "step")]
    return [
        f"`{row.cell.name}`" + (" (a rehearsal)" if best["quick"] else ""),
        f"{best['params']:,}",
        f"{best['macs'] / 1e9:.2f}",
        *times,
        f"{100 * _share(best):.0f} %",
        _links(row, start),
    ]


def _share(run):
    """The share of the machine's peak that a step reaches."""
    return run["flops"] / run["step"] / run["peak"]


_TABLES = {
    "training": (
        ("network", "parameters", "data", "published (%)", "median error (%)", "lowest to highest",
         "epochs", "seeds", "PFLOP", "logs"),
        _trained,
    ),
    "timing": (
        ("network", "parameters", "GMAC an image", "forward (ms)", "backward (ms)", "update (ms)",
         "step (ms)", "share of the peak", "logs"),
        _timed,
    ),
}  # fmt: skip


def _csv(study, rows, directory):
    columns, values = (TIMES, _time_values) if study.measures == "timing" else (COLUMNS, _values)
    file = io.StringIO(newline="")
    table = csv.DictWriter(file, columns, lineterminator="\n")
    table.writeheader()
    for row in rows:
        table.writerow({"cell": row.cell.name, **(values(row, directory) if row.runs else {})})
    return file.getvalue()


def _values(row, directory):
    errors = [run["test_error"] for run in row.summaries]
    summary, data = row.summaries[0], row.summaries[0]["data"]
    medians = {
        x: statistics.median(run[x] for run in row.summaries)
        for x in SCORES
        if all(x in run for run in row.summaries)
    }
    return {
        "params": summary["params"],
        "epochs": row.recipe.epochs,
        "own_epochs": row.cell.epochs,
        "data": data["dataset"],
        "split": data["split"],
        "pixels": _pixels(row),
        "rehearsal": row.recipe.name.endswith(SMOKE),
        "seeds": " ".join(str(run["seed"]) for run in row.summaries),
        "median_error": round(statistics.median(errors), 4),
        "lowest_error": min(errors),
        "highest_error": max(errors),
        "published_error": row.cell.paper_error,
        "source": row.cell.source,
        **medians,
        "pflop": summary["flops"] / 1e15,
        "machine": summary["versions"]["machine"],
        "runs": _paths(row, directory),
    }


def _time_values(row, directory):
    best = row.fastest
    return {
        **{x: best[x] for x in TIMES if x in best},
        "share": _share(best),
        "machine": best["versions"]["machine"],
        "runs": _paths(row, directory),
    }


def _paths(row, directory):
    return " ".join(os.path.relpath(path, directory) for path, _ in row.runs)


def _figure(width, height, panels):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * panels, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, panels, squeeze=False)[0]


def _curves_figure(study, rows, path):
    """Test error and training loss over the epochs, a panel for each dataset, as in the paper."""
    import matplotlib
    from matplotlib.ticker import MaxNLocator

    rows = [row for row in rows if row.runs]
    names = list(dict.fromkeys(row.recipe.data.dataset for row in rows))
    figure, panels = _figure(7, 4.5, len(names))
    for name, axes in zip(names, panels, strict=True):
        shown = [row for row in rows if row.recipe.data.dataset == name]
        colors = matplotlib.colormaps["turbo"].resampled(len(shown) + 2)
        losses = axes.twinx()
        for number, row in enumerate(shown, start=1):
            lines = read_log(row.runs[0][0] / "log.jsonl", also=CLASSIFIER_LINE)
            epochs = [line["epoch"] for line in lines]
            errors = [100 * (1 - line["val_accuracy"]) for line in lines]
            color = colors(number)
            axes.plot(epochs, errors, color=color, label=row.recipe.name)
            losses.plot(epochs, [line["loss"] for line in lines], "--", color=color, lw=0.8)
        axes.set_title(name)
        axes.set_xlabel("epoch")
        axes.set_ylabel("test error in % (solid)")
        losses.set_ylabel("training loss (dashed)")
        losses.set_yscale("log")
        axes.set_ylim(0, None)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    figure.suptitle(f"{study.title}: the first seed of each")
    _draw(figure, path)


def _timing_figure(study, rows, path):
    """Bars of the three parts of a step."""
    rows = [row for row in rows if row.runs][::-1]
    figure, (axes,) = _figure(8, 0.4 * len(rows) + 1.5, 1)
    left = [0.0] * len(rows)
    best = [row.fastest for row in rows]
    names = [row.recipe.name for row in rows]
    for part in ("forward", "backward", "update"):
        widths = [1e3 * max(run[part], 0) for run in best]
        axes.barh(names, widths, left=left, label=part)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    for number, run in enumerate(best):
        text = f" {100 * _share(run):.0f} % of the peak"
        axes.text(left[number], number, text, va="center", fontsize=7)
    axes.margins(x=0.2)
    axes.set_xlabel(f"milliseconds a step of {best[0]['batch_size']} images")
    axes.set_title(f"{study.title}\n{best[0]['versions']['machine']}, {best[0]['precision']}")
    figure.legend(loc="outside lower center", ncols=3)
    _draw(figure, path)
