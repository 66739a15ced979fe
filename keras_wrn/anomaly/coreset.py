"""A few features that stand for many: the greedy choice of those farthest from the ones chosen."""

import numpy as np

from keras_wrn.checks import check_count

ACTIVE = 0.005  # of the points are searched at once
LEAST_ACTIVE = 1024
BLOCK = 2**25  # numbers in a block of a matrix product: 128 MiB


def greedy_coreset(features, count, *, start=0):
    """The indices of points that are far from each other.

    They are those of a plain greedy search, but that two may change places whose distances are the
    same up to rounding. Each point is the one that is farthest from those before it. Distances only
    shrink as points are chosen, so that an old one is a bound. The search runs on the few points
    with the largest bounds, until none of them is farther than the next bound. Then all are brought
    up to date by one matrix product, in blocks.

    Args:
        features: float32 (n, d).
        count: int, at most n.
        start: int, the first point.

    Returns:
        int64 (count,), in the order of the choice.

    Raises:
        ValueError: `count` or `start` is out of range, or a feature is not finite.

    Source: Sener & Savarese 2018, https://arxiv.org/abs/1708.00489, as PatchCore uses it,
    https://arxiv.org/abs/2106.08265. The active set is not in them.

    Example:

    ```python
    points = np.random.default_rng(0).normal(size=(10_000, 128)).astype("float32")
    kept = points[greedy_coreset(points, 100)]   # (100, 128)
    ```
    """
    features = np.ascontiguousarray(features, "float32")
    check_count("count", count, len(features))
    if not 0 <= start < len(features):
        raise ValueError(f"`start` should be in 0..{len(features) - 1}. Received: start={start!r}")
    if not np.isfinite(features).all():
        raise ValueError("Expected finite features. Received: NaN or infinity")
    features = features - features.mean(axis=0)  # far from 0 the distances would be rounded more
    norms = np.einsum("ij,ij->i", features, features)
    chosen = [int(start)]
    bounds = np.full(len(features), np.inf, "float32")
    _bring_up_to_date(features, norms, bounds, chosen)
    size = max(LEAST_ACTIVE, round(ACTIVE * len(features)))
    while len(chosen) < count:
        active = np.argpartition(-bounds, min(size, len(bounds)) - 1)[:size]
        active.sort()  # of several farthest points the first one is chosen
        outside = np.delete(bounds, active).max(initial=-1.0)
        points, lengths, nearest = features[active], norms[active], bounds[active]
        new: list[int] = []
        while len(chosen) + len(new) < count:
            place = int(nearest.argmax())
            if nearest[place] <= outside:
                break
            new.append(int(active[place]))
            distances = lengths - 2 * (points @ points[place]) + lengths[place]
            np.minimum(nearest, np.maximum(distances, 0), out=nearest)
            nearest[place] = -1.0
        if not new:  # a tie with a point outside
            new = [int(bounds.argmax())]
        _bring_up_to_date(features, norms, bounds, new)
        chosen += new
    return np.array(chosen, "int64")


def _bring_up_to_date(features, norms, bounds, new):
    """Lower the squared distances to the nearest chosen point, by some new ones."""
    centers, lengths = features[new], norms[new]
    rows = max(1, BLOCK // max(len(new), features.shape[1]))
    for start in range(0, len(features), rows):
        part = slice(start, start + rows)
        distances = features[part] @ centers.T
        distances *= -2
        distances += lengths
        nearest = distances.min(axis=1) + norms[part]
        np.minimum(bounds[part], np.maximum(nearest, 0), out=bounds[part])
    bounds[new] = -1.0
