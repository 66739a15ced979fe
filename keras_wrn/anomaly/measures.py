"""How well scores and maps tell what is odd."""

import numpy as np

PRO_LIMIT = 0.3  # the largest false positive rate that PRO counts


def image_auroc(scores, odd):
    """The area under the receiver operating curve, in percent.

    Args:
        scores: float (n,), higher for what looks odd.
        odd: bool (n,), what is odd; some are, and some are not.
    """
    from sklearn.metrics import roc_auc_score

    return round(float(100 * roc_auc_score(odd, scores)), 4)


def best_f1(scores, odd):
    """The best F1 that a threshold on the scores can have, in percent, and such a threshold.

    Args:
        scores: float (n,), higher for what looks odd.
        odd: bool (n,), what is odd; at least one is.

    Returns:
        The F1, and the threshold: half way between the lowest score above it and the highest below,
        so that what is odd is above it.
    """
    scores, odd = np.asarray(scores, "float64"), np.asarray(odd, bool)
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    hits = np.cumsum(odd[order])
    f1 = 2 * hits / (np.arange(1, len(scores) + 1) + odd.sum())
    last = np.r_[ranked[1:] < ranked[:-1], True]  # of equal scores all are above a threshold
    best = int(np.argmax(np.where(last, f1, -1.0)))
    below = ranked[best + 1] if best + 1 < len(ranked) else ranked[best] - 1.0
    return round(float(100 * f1[best]), 4), float((ranked[best] + below) / 2)


class Pixels:
    """Scores of pixels against masks, photo by photo, without a quantisation of the scores.

    Maps and masks are kept, 5 bytes a pixel. Pixels that are fine are not sorted, but counted
    between those that are odd.
    """

    def __init__(self):
        self.parts: list = []  # the scores of the pixels of each connected defect
        self.fine: list = []  # maps and masks, to be counted once all defects are known

    def add(self, scores, mask):
        """Add a photo: float (height, width), and bool (height, width), where it is odd."""
        from scipy import ndimage

        if mask.any():
            parts, count = ndimage.label(mask, np.ones((3, 3)))
            flat, places = scores[mask], parts[mask]
            self.parts += [flat[places == part] for part in range(1, count + 1)]
        self.fine.append((scores, mask))

    def results(self):
        """dict of `pixel_auroc` and `pro`, in percent; None if all pixels are alike.

        PRO is the mean over connected defects of the share of their pixels that are found, averaged
        over false positive rates of 0 to 0.3; of Bergmann et al. 2021,
        https://link.springer.com/article/10.1007/s11263-020-01400-4.
        """
        fine = sum(int((~mask).sum()) for _, mask in self.fine)
        if not self.parts or not fine:
            return {"pixel_auroc": None, "pro": None}
        odd = np.sort(np.concatenate(self.parts))
        # Of each fine pixel, how many odd ones it is above, and how many it is not below.
        above, reached = np.zeros((2, len(odd) + 1), "int64")
        for scores, mask in self.fine:
            values = scores[~mask]
            above += np.bincount(np.searchsorted(odd, values), minlength=len(odd) + 1)
            reached += np.bincount(np.searchsorted(odd, values, "right"), minlength=len(odd) + 1)
        # The false positive rate with each odd pixel's score as the threshold, ties counted half.
        rates = 1 - (np.cumsum(above) + np.cumsum(reached))[:-1] / (2 * fine)
        area = 1 - rates.mean()
        overlap = [
            np.clip(PRO_LIMIT - rates[np.searchsorted(odd, part)], 0, None).mean() / PRO_LIMIT
            for part in self.parts
        ]
        return {
            "pixel_auroc": round(float(100 * area), 4),
            "pro": round(float(100 * np.mean(overlap)), 4),
        }
