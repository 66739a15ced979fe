"""Pictures of boxes in photos."""

from pathlib import Path

import numpy as np

from keras_wrn.data.names import first_word

MOST_DRAWN = 20  # boxes in a photo, the best
LEAST_SCORE = 0.3  # of a box that is drawn


def draw(photos, results, class_names, directory, truth=None, names=None):
    """Draw boxes, with their classes and scores, into photos.

    Args:
        photos: list of uint8 arrays (height, width, 3).
        results: list of dicts of `boxes`, `scores` and `labels`, as `detect` returns them. Boxes
            with a score below 0.3 are left out, and all but the best 20.
        class_names: tuple of str.
        directory: path of an existing or new folder. Each photo becomes a PNG in it.
        truth: list of dicts of `boxes` and `labels`, drawn beside the results, or None.
        names: list of str, the names of the files without an ending; None for numbers.

    Returns:
        The paths of the files, a list.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    digits = len(str(len(photos)))
    paths = []
    for number, (photo, result) in enumerate(zip(photos, results, strict=True)):
        panels = [("found", _best(result))]
        if truth is not None:
            panels.append(("labelled", {**truth[number], "scores": None}))
        height, width = photo.shape[:2]
        panel = 6 * width / max(height, width), 6 * height / max(height, width) + 0.4
        seen = sorted({int(x) for _, found in panels for x in found["labels"]})
        colors = {label: f"C{place % 10}" for place, label in enumerate(seen)}
        figure = Figure(figsize=(panel[0] * len(panels), panel[1]), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, (title, found) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
        ):
            axes.imshow(photo, interpolation="nearest")
            axes.axis("off")
            if truth is not None:
                axes.set_title(title, fontsize=9)
            _boxes(axes, found, class_names, colors, height)
        stem = f"{number:0{digits}d}" if names is None else names[number]
        paths.append(directory / f"{stem}.png")
        figure.savefig(paths[-1], format="png", dpi=100)
    return paths


def _best(result):
    kept = np.flatnonzero(result["scores"] >= LEAST_SCORE)[:MOST_DRAWN]
    return {name: np.asarray(result[name])[kept] for name in ("boxes", "scores", "labels")}


def _boxes(axes, found, class_names, colors, height):
    from matplotlib.patches import Rectangle

    scores = found["scores"]
    for i, (box, label) in enumerate(zip(found["boxes"], found["labels"], strict=True)):
        left, top, width, tall = (float(side) for side in box)
        color = colors[int(label)]
        axes.add_patch(Rectangle((left, top), width, tall, fill=False, color=color, linewidth=2))
        text = first_word(class_names[int(label)])
        if scores is not None:
            text += f" {100 * scores[i]:.0f} %"
        axes.text(
            left, max(top, 0.03 * height), text, fontsize=7, color="white", clip_on=True,
            verticalalignment="bottom",
            bbox={"facecolor": color, "edgecolor": "none", "pad": 1, "alpha": 0.8},
        )  # fmt: skip
