"""Figures of predictions, against scikit-learn, torchmetrics and the definitions."""

import numpy as np
import pytest
import sklearn.metrics
from torchvision_here import import_torchvision

from keras_wrn.scores import Scores, at_temperature, fit_temperature, told_apart


def made_up(count=4000, classes=7, sharpness=3.0, seed=0):
    """Log probabilities and labels of a network that is better than chance and too sure."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(count, classes))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) > random.random((count, 1))).argmax(axis=1)
    return at_temperature(sharpness * logits, 1), labels


def scored(logs, labels):
    scores = Scores(logs.shape[1])
    for start in range(0, len(logs), 900):
        scores.add(logs[start : start + 900], labels[start : start + 900])
    return scores.results([str(i) for i in range(logs.shape[1])])


def test_figures_are_scikit_learns():
    logs, labels = made_up()
    results, chances = scored(logs, labels), np.exp(logs)
    truth = np.eye(logs.shape[1])[labels]
    assert results["loss"] == pytest.approx(sklearn.metrics.log_loss(labels, chances), rel=1e-9)
    squares = sklearn.metrics.mean_squared_error(truth, chances) * logs.shape[1]
    assert results["brier"] == pytest.approx(squares, rel=1e-9)
    expected = sklearn.metrics.confusion_matrix(labels, chances.argmax(axis=1))
    np.testing.assert_array_equal(results["confusion"], expected)


@pytest.mark.extra("torchmetrics")
def test_calibration_error_is_torchmetrics():
    import_torchvision()
    import torch
    import torchmetrics

    logs, labels = made_up()
    theirs = torchmetrics.functional.calibration_error(
        torch.from_numpy(np.exp(logs)), torch.from_numpy(labels), "multiclass", n_bins=15,
        norm="l1", num_classes=logs.shape[1],
    )  # fmt: skip
    assert scored(logs, labels)["ece"] == pytest.approx(100 * float(theirs), abs=2e-4)


@pytest.mark.extra("torchmetrics")
def test_the_unknown_is_told_as_by_torchmetrics():
    import_torchvision()
    import torch
    import torchmetrics

    random = np.random.default_rng(0)
    known, unknown = random.normal(1, 1, 3000), random.normal(0, 1.5, 2000)
    found = told_apart(known, unknown)
    scores = torch.from_numpy(np.r_[known, unknown])
    truth = torch.from_numpy(np.r_[np.ones(3000, int), np.zeros(2000, int)])
    # They would squash scores outside of 0..1.
    area = torchmetrics.functional.auroc(torch.sigmoid(scores), truth, "binary")
    assert found["auroc"] == pytest.approx(100 * float(area), abs=1e-3)
    rates, hits, _ = torchmetrics.functional.roc(torch.sigmoid(scores), truth, "binary")
    expected = float(rates[hits >= 0.95][0])
    assert found["fpr95"] == pytest.approx(100 * expected, abs=0.06)


def test_scores_that_part_them_fully_or_not_at_all():
    known, unknown = np.linspace(2, 3, 100), np.linspace(0, 1, 50)
    assert told_apart(known, unknown) == {"auroc": 100.0, "fpr95": 0.0}
    assert told_apart(unknown, known) == {"auroc": 0.0, "fpr95": 100.0}
    assert told_apart(np.ones(20), np.ones(7)) == {"auroc": 50.0, "fpr95": 100.0}
    # 95 of 100 known ones are at least 0.05: so are the unknown at 0.05, not those below.
    found = told_apart(np.arange(100) / 100, np.array([0.04, 0.05, 0.5, 0.0]))
    assert found["fpr95"] == 50.0


def test_the_temperature_is_found_again():
    logs, labels = made_up(20_000, sharpness=3.0)
    temperature = fit_temperature(logs, labels)
    assert temperature == pytest.approx(3.0, rel=0.05)
    before, after = scored(logs, labels), scored(at_temperature(logs, temperature), labels)
    assert after["loss"] < before["loss"] and after["brier"] < before["brier"]
    assert after["ece"] < 2 < before["ece"] and after["error"] == before["error"]
    losses = [scored(at_temperature(logs, t * temperature), labels)["loss"] for t in (0.98, 1.02)]
    assert min(losses) > after["loss"]


def test_the_example_of_a_temperature():
    logs = np.log([[0.99, 0.01]] * 4)
    assert fit_temperature(logs, np.array([0, 0, 0, 1])) == pytest.approx(4.18, abs=0.005)
