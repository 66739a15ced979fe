"""Logs of runs -> curves and tables."""

import json
import os
import statistics
from pathlib import Path

from keras_wrn.anomaly.recipe import AnomalyRecipe
from keras_wrn.detection.recipe import DetectionRecipe
from keras_wrn.recipe import SMOKE, Recipe
from keras_wrn.runs.files import CLASSIFIER_LINE, DETECTOR_LINE, read_log, read_recipe, read_summary
from keras_wrn.runs.published import published_error, settings_of
from keras_wrn.scripts import load_recipe, recipe_paths

USUAL = 0.75  # of a recipe's rows: a setting that so many share is not named in them
OWN_COLUMN = "epochs", "changes", "data.dataset"
COST = "PFLOP", "hours", "machine, precision", "logs"
START = "recipe", "data", "params", "epochs", "seeds"
CLASSIFIERS = (*START, "test error (%)", "published (%)", *COST)  # columns
DETECTORS = (*START, "AP (%)", "AP50 (%)", *COST)
INSPECTORS = (
    "recipe", "data: learned from, tested", "pixels", "kept", "seeds", "AUROC (%)",
    "of pixels (%)", "PRO (%)", "best F1 (%)", "AUROC of brightness (%)", "seconds", "peak GB",
    "machine", "logs",
)  # fmt: skip
MARKED = 10  # up to so many epochs, curves.png marks their points


def markers(name="results"):
    """The lines of a page between which a table is written."""
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def plot_curves(run_dir, test_error):
    """Plot the error, loss and learning rate of a classifier's run, into its curves.png.

    Args:
        run_dir: path with a log.jsonl, whose numbers are in the precision of the training.
        test_error: float, percent, from the summary: the finished network's, in float32.

    Returns:
        The `matplotlib.figure.Figure`.
    """
    lines = read_log(Path(run_dir) / "log.jsonl", also=CLASSIFIER_LINE)
    for line in lines:
        for part in ("", "val_"):
            line[f"{part}error"] = 100 * (1 - line[f"{part}accuracy"])
    title = f"Error in %: {test_error:.2f} of the finished network"
    figure, (errors, *_) = _curves(lines, {title: "error", "Loss": "loss"})
    finished = {"color": "black", "linestyle": "none", "clip_on": False}
    epochs = [line["epoch"] for line in lines]
    errors.plot(epochs[-1:], [test_error], marker="x", label="finished network", **finished)
    errors.set_ylim(0, None)
    return _finished(figure, run_dir)


def plot_detector_curves(run_dir):
    """Plot the losses and the learning rate of a detector's run, into its curves.png."""
    lines = read_log(Path(run_dir) / "log.jsonl", also=DETECTOR_LINE)
    figure, axes = _curves(
        lines, {"Loss of the classes": "classification_loss", "Loss of the boxes": "box_loss"}
    )
    for one in axes[:2]:
        one.set_ylim(0, None)
    return _finished(figure, run_dir)


def _curves(lines, parts):
    """A figure of curves over the epochs: in training and held out by title, and the rate."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    epochs = [line["epoch"] for line in lines]
    figure = Figure(figsize=(12, 3.6))
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(parts) + 1)
    marker = "." if len(epochs) <= MARKED else None
    for one, (title, key) in zip(axes, parts.items(), strict=False):
        for name, label in ((key, "training (augmented)"), (f"val_{key}", "held out")):
            values = [line[name] for line in lines]
            one.plot(epochs, values, label=label, marker=marker, clip_on=False)
        one.set_title(title)
    axes[-1].plot(epochs, [line["learning_rate"] for line in lines], marker=marker, clip_on=False)
    axes[-1].set_title("Learning rate")
    for one in axes:
        one.set_xlabel("epoch")
        one.set_xlim(0.5, epochs[-1] + 0.5)
        one.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        one.grid(alpha=0.3)
    return figure, axes


def _finished(figure, run_dir):
    for one in figure.axes[:-1]:
        one.legend()
    figure.suptitle(Path(run_dir).name)
    figure.tight_layout()
    figure.savefig(Path(run_dir) / "curves.png", dpi=100)
    return figure


def results_table(paths, start=".") -> str:
    """Make the Markdown table of finished runs: one row for each recipe and its settings.

    Runs that differ only in the seed share a row. A row names every setting that differs from the
    recipe as it comes with the package. For runs on held-out training images, and for recipes that
    do not come with the package, it names the settings that less than three quarters of the
    recipe's rows have. A row has the published error that belongs to its network, data and recipe,
    if any; see `published_error`. Detectors, and what is learned of good photos, have tables of
    their own below.

    Args:
        paths: run directories, or folders of run directories.
        start: path of the folder that links are relative to.

    Raises:
        ValueError: there is no finished run below the paths, or a file of a run is damaged.
    """
    groups = _grouped(paths)
    if not groups:
        raise ValueError(f"There is no finished run below {', '.join(map(str, paths))}")
    tables = []
    for head, kind, cells in (
        (CLASSIFIERS, Recipe, _classifier_cells),
        (DETECTORS, DetectionRecipe, _detector_cells),
        (INSPECTORS, AnomalyRecipe, _inspector_cells),
    ):
        found = {key: runs for key, runs in groups.items() if isinstance(runs[0][1], kind)}
        if found:
            tables.append("\n".join(_rows(found, head, cells, start)))
    return "\n\n".join(tables)


def _rows(groups, head, cells, start):
    """The lines of a table."""
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for (name, split, _), runs in sorted(groups.items(), key=_place):
        others = [found[0][3] for key, found in groups.items() if key[:2] == (name, split)]
        runs.sort(key=lambda run: run[0]["seed"])
        links = ", ".join(f"[{run[0]['seed']}]({os.path.relpath(run[2], start)})" for run in runs)
        first = " ".join([f"`{name}`", *_differing(name, split, runs[0][3], others)])
        yield "| " + " | ".join((first, *cells(name, runs, others), links)) + " |"


def _place(item):
    """Where a group's row is: by its name and split, the epochs and the other settings."""
    (name, split, how), runs = item
    return name, split, runs[0][0].get("epochs", 0), how


def _seeds(runs):
    return ", ".join(str(run[0]["seed"]) for run in runs)


def _trained_cells(runs, results):
    """The cells of a group of runs that trained in epochs, with those of its results."""
    summary = runs[0][0]
    data = summary["data"]
    hours, machines = _hours_and_machines([run[0] for run in runs])
    return (
        data["dataset"] + ("" if data["split"] == "test" else f" ({data['split']} split)"),
        f"{summary['params']:,}",
        str(summary["epochs"]),
        _seeds(runs),
        *results,
        f"{summary['flops'] / 1e15:.3g}",
        hours,
        machines,
    )


def _classifier_cells(name, runs, others):
    """With the test error of a group of runs, and the published one."""
    summary, recipe, _, settings = runs[0]
    error = _mean_and_each([run[0]["test_error"] for run in runs])
    if "views" in summary:
        several = _mean_and_each([100 - run[0]["views_test_accuracy"] for run in runs])
        error += f"; {summary['views']} views: {several}"
    published = None if settings["changes"] else published_error(recipe)
    if not _shipped(name) and len({_kind(other) for other in others}) > 1:
        published = None  # it is unknown which of them it belongs to
    text = "" if published is None else f"{published[0]:.2f} ({published[1]})"
    return _trained_cells(runs, (error, text))


def _detector_cells(name, runs, others):
    """With the average precisions of a group of runs."""
    return _trained_cells(runs, [_known(runs, name, "none to find") for name in ("ap", "ap50")])


def _inspector_cells(name, runs, others):
    """The cells of what was learned of good photos."""
    summary = runs[0][0]
    data = summary["data"]
    figures = "image_auroc", "pixel_auroc", "pro", "best_f1", "brightness_auroc"
    return (
        f"{data['dataset']}: {data['train_images']}, {data['test_images']}",
        str(summary["image_size"]),
        f"{summary['points']:,}",
        _seeds(runs),
        *(_known(runs, figure, "") for figure in figures),
        f"{statistics.mean(run[0]['seconds'] for run in runs):.3g}",
        f"{max(run[0]['peak_gb'] for run in runs):.1f}",
        "; ".join(dict.fromkeys(run[0]["versions"]["machine"] for run in runs)),
    )


def _known(runs, figure, missing):
    """The mean of a figure over runs, and each; or a text, if one of them has none."""
    values = [run[0].get(figure) for run in runs]
    return missing if None in values else _mean_and_each(values)


def _grouped(paths):
    """Finished runs, in groups that differ only in the seed: (summary, recipe, path, settings)."""
    groups: dict = {}
    for path in paths:
        for found in sorted([*Path(path).glob("summary.json"), *Path(path).glob("*/summary.json")]):
            summary = read_summary(found.parent)
            if summary["recipe"].endswith(SMOKE):
                continue  # a trial on made-up images is no result
            # Through a Recipe, which adds the fields that an earlier version did not have.
            recipe = read_recipe(found.parent)
            settings = {**settings_of(recipe), "changes": summary.get("changes", [])}
            if not getattr(recipe, "scale_lr", True):
                del settings["rate_batch"]  # it had no effect
            how = json.dumps([settings, summary.get("views", 1)])
            key = summary["recipe"], summary["data"]["split"], how
            groups.setdefault(key, []).append((summary, recipe, found.parent, settings))
    return groups


def _differing(name, split, settings, others):
    """What a row says about its settings: how they differ from the recipe's, or the others'."""
    shipped = _shipped(name) if split == "test" else {}
    for field, value in settings.items():
        if field in OWN_COLUMN:
            continue
        if shipped:
            is_usual = shipped[field] == value
        else:
            is_usual = sum(x.get(field) == value for x in others) >= USUAL * len(others)
        if not is_usual:
            yield f"`{field}={value}`"
    for change in settings["changes"]:
        yield f"after step {change['after_step']}: {'; '.join(change['changes'])}"


def _mean_and_each(errors):
    each = ", ".join(f"{error:.2f}" for error in errors)
    return f"{statistics.mean(errors):.2f} ({each})" if len(errors) > 1 else each


def _hours_and_machines(summaries):
    """The mean hours for each machine and precision, and those with the seeds of their runs."""
    kinds: dict = {}
    for summary in summaries:
        machine = summary["versions"]["machine"].replace(" 1 cores", " 1 core")  # in old logs
        kind = f"{machine}, {summary['precision']}"
        kinds.setdefault(kind, []).append(summary)
    hours = "; ".join(
        f"{statistics.mean(run['seconds'] for run in runs) / 3600:.2g}" for runs in kinds.values()
    )
    if len(kinds) == 1:
        return hours, *kinds
    seeds = [", ".join(str(run["seed"]) for run in runs) for runs in kinds.values()]
    return hours, "; ".join(f"{kind} ({each})" for kind, each in zip(kinds, seeds, strict=True))


def _kind(settings):
    """The settings of a row except for the number of epochs, to compare."""
    return json.dumps({**settings, "epochs": None}, sort_keys=True)


def _shipped(name):
    """The settings of a recipe that comes with the package, {} for any other."""
    return settings_of(load_recipe(name)) if name in recipe_paths() else {}


def write_between_markers(path, table, name="results"):
    """Put a table between two markers of a Markdown file, such as <!-- results: begin -->.

    Raises:
        ValueError: the file has no such markers.
    """
    begin, end = markers(name)
    text = Path(path).read_text()
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"{path} should have the markers {begin} and {end} once each")
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    Path(path).write_text(f"{before}{begin}\n\n{table}\n\n{end}{after}")
