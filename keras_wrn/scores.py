"""Figures of predictions: accuracy, likelihood, calibration, and how well the unknown is told."""

from typing import Any

import numpy as np

CALIBRATION_BINS = 15
COLDEST, HOTTEST = 0.0101, 99.0  # a temperature beyond these was not found, but is the search's end


class Scores:
    """Counts over the predictions, batch by batch."""

    def __init__(self, classes):
        self.confusion = np.zeros((classes, classes), "int64")
        self.loss = 0.0
        self.brier = 0.0
        self.top5 = 0
        # For each bin: images, sum of confidences, correct predictions.
        self.bins = np.zeros((CALIBRATION_BINS, 3))

    def add(self, logs, labels):
        """Count a batch: log probabilities, float64 (batch, classes), and labels, int (batch,)."""
        guesses = np.argmax(logs, axis=-1)
        np.add.at(self.confusion, (labels, guesses), 1)
        rows = np.arange(len(labels))
        self.loss -= logs[rows, labels].sum()
        chances = np.exp(logs)
        chances[rows, labels] -= 1
        self.brier += float((chances**2).sum())
        # How many classes come before the true one in a stable sort, best first.
        own = logs[rows, labels][:, None]
        ahead = (logs > own).sum(axis=-1)
        ahead += ((logs == own) & (np.arange(logs.shape[1]) < labels[:, None])).sum(axis=-1)
        self.top5 += int((ahead < 5).sum())
        confidence = np.exp(logs[rows, guesses])
        # Bins are open below and closed above, as in the paper.
        places = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1, 0, None)
        np.add.at(self.bins, (np.minimum(places, CALIBRATION_BINS - 1), 0), 1)
        np.add.at(self.bins, (np.minimum(places, CALIBRATION_BINS - 1), 1), confidence)
        np.add.at(self.bins, (np.minimum(places, CALIBRATION_BINS - 1), 2), guesses == labels)

    def results(self, names) -> dict[str, Any]:
        """The figures, see `keras_wrn.evaluate`; `names` are those of the classes."""
        count = int(self.confusion.sum())
        right = np.diag(self.confusion)
        accuracy = 100 * right.sum() / count
        gaps = np.abs(self.bins[:, 1] - self.bins[:, 2])
        results: dict[str, Any] = {
            "images": count,
            "accuracy": round(float(accuracy), 4),
            "error": round(float(100 - accuracy), 4),
            "loss": float(self.loss / count),
            "ece": round(float(100 * gaps.sum() / count), 4),
            "brier": round(self.brier / count, 10),
        }
        if len(names) > 5:
            results["top5_accuracy"] = round(100 * self.top5 / count, 4)
        totals = self.confusion.sum(axis=1)
        results["per_class"] = [
            {
                "class": name,
                "images": int(total),
                "accuracy": round(float(100 * hits / total), 4) if total else None,
            }
            for name, total, hits in zip(names, totals, right, strict=True)
        ]
        results["confusion"] = self.confusion.tolist()
        return results


def fit_temperature(logs, labels):
    """The temperature that log probabilities are to be divided by, for the best likelihood.

    Args:
        logs: float (n, classes), of images that the network was not trained on.
        labels: int (n,).

    Returns:
        float, between 1 / 100 and 100.

    Source: Guo et al. 2017, https://arxiv.org/abs/1706.04599.

    Example:

    ```python
    logs = np.log([[0.99, 0.01]] * 4)   # far too sure: a quarter is wrong
    fit_temperature(logs, np.array([0, 0, 0, 1]))   # 4.18
    ```
    """
    from scipy.optimize import minimize_scalar

    def loss(log_temperature):
        scaled = at_temperature(logs, np.exp(log_temperature))
        return -scaled[np.arange(len(labels)), labels].mean()

    limit = np.log(100.0)
    found = minimize_scalar(loss, bounds=(-limit, limit), method="bounded", options={"xatol": 1e-7})
    return float(np.exp(found.x))


def at_temperature(logs, temperature):
    """Log probabilities divided by a temperature, so that the probabilities sum to 1 again."""
    scaled = np.asarray(logs, "float64") / temperature
    scaled = scaled - scaled.max(axis=-1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(axis=-1, keepdims=True))


def told_apart(known, unknown):
    """How well a score tells images of the classes from others.

    Args:
        known: float (n,), the scores of images of the classes, higher for what looks known.
        unknown: float (m,), those of other images.

    Returns:
        dict of `auroc` and `fpr95`, in percent: the area under the receiver operating curve, and
        the share of the others that are taken for known at a threshold that 95 % of the known ones
        reach.
    """
    from sklearn.metrics import roc_auc_score

    truth = np.r_[np.ones(len(known)), np.zeros(len(unknown))]
    area = roc_auc_score(truth, np.r_[known, unknown])
    # The largest threshold that at least 95 % of the known ones reach.
    threshold = np.sort(known)[::-1][int(np.ceil(0.95 * len(known))) - 1]
    return {
        "auroc": round(float(100 * area), 4),
        "fpr95": round(float(100 * np.mean(unknown >= threshold)), 4),
    }
