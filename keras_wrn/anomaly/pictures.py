"""Pictures of what is odd in photos."""

from pathlib import Path

import numpy as np

SIDE = 5.0  # inches, of a panel's longer side
RANGE = 0.25, 1.75  # of the colours, as multiples of the threshold
OPACITY = 0.55


def draw(photo, result, threshold, path, mask=None):
    """Draw a photo, and beside it the photo under its heat map.

    The colours are those of the same range for all photos, with the threshold in the middle. The
    border of the mask, if there is one, is drawn into both.

    Args:
        photo: uint8 (height, width, 3).
        result: dict of `score`, `map` and `is_anomaly`, as `Inspector.score` returns it.
        threshold: float.
        path: the PNG file to write; its folder is made when needed.
        mask: bool (height, width), where the photo is known to be odd, or None.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = photo.shape[:2]
    scale = SIDE / max(height, width)
    figure = Figure(figsize=(2 * width * scale + 0.8, height * scale + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    plain, heat = figure.subplots(1, 2)
    grey = np.repeat(photo.mean(axis=-1, keepdims=True) / 255, 3, axis=-1)
    for axes, image in ((plain, photo), (heat, grey)):
        axes.imshow(image, interpolation="nearest")
        axes.axis("off")
        if mask is not None and mask.any() and min(mask.shape) > 1:  # else it has no contour
            axes.contour(np.asarray(mask, float), [0.5], colors="white", linewidths=1.5)
    unit = threshold if threshold > 0 else max(float(result["map"].max()), 1e-9)
    low, high = (share * unit for share in RANGE)
    shown = heat.imshow(result["map"], cmap="turbo", vmin=low, vmax=high, alpha=OPACITY)
    bar = figure.colorbar(shown, ax=heat, fraction=0.05, pad=0.02)
    bar.ax.axhline(threshold, color="black", linewidth=2)
    bar.ax.tick_params(labelsize=7)
    plain.set_title("mask outlined" if mask is not None and mask.any() else "photo", fontsize=9)
    word = "odd" if result["is_anomaly"] else "good"
    heat.set_title(f"{word}: score {result['score']:.3g}, threshold {threshold:.3g}", fontsize=9)
    figure.savefig(path, format="png", dpi=100)
