"""The figures of scores and maps, against plain definitions."""

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import f1_score, roc_auc_score

from keras_wrn.anomaly.measures import Pixels, best_f1, image_auroc


def maps(seed=0, ties=True):
    random = np.random.default_rng(seed)
    scores = random.normal(size=(5, 20, 30)).astype("float32")
    masks = np.zeros(scores.shape, bool)
    for i in (1, 2, 4):
        masks[i, 2:9, 3:12] = True
        masks[i, 12 : 14 + i, 20:25] = True
    masks[4, 9, 12] = True  # touches the first by a corner
    scores[masks] += 1
    return (np.round(scores, 1) if ties else scores), masks


def plain_pro(scores, masks, limit=0.3):
    """PRO by every threshold there is, the curve between them straight."""
    parts = []
    for one, mask in zip(scores, masks, strict=True):
        labels, count = ndimage.label(mask, np.ones((3, 3)))
        parts += [one[labels == i] for i in range(1, count + 1)]
    fine = scores[~masks]
    points = [(0.0, 0.0)]
    for threshold in np.unique(scores)[::-1]:
        overlap = np.mean([(part >= threshold).mean() for part in parts])
        points.append(((fine >= threshold).mean(), overlap))
    rates, overlaps = np.array(points).T
    grid = np.linspace(0, limit, 200_001)
    return 100 * np.trapezoid(np.interp(grid, rates, overlaps), grid) / limit


def test_figures_of_pixels_are_those_of_every_threshold():
    scores, masks = maps(ties=False)
    pixels = Pixels()
    for one, mask in zip(scores, masks, strict=True):
        pixels.add(one, mask)
    found = pixels.results()
    assert found["pixel_auroc"] == pytest.approx(
        100 * roc_auc_score(masks.ravel(), scores.ravel()), abs=1e-4
    )
    assert found["pro"] == pytest.approx(plain_pro(scores, masks), abs=0.05)


def test_ties_count_half():
    scores, masks = maps()
    pixels = Pixels()
    for one, mask in zip(scores, masks, strict=True):
        pixels.add(one, mask)
    expected = 100 * roc_auc_score(masks.ravel(), scores.ravel())
    assert pixels.results()["pixel_auroc"] == pytest.approx(expected, abs=1e-4)


def test_without_odd_or_without_fine_pixels_there_is_no_figure():
    for value in (False, True):
        pixels = Pixels()
        pixels.add(np.zeros((4, 4), "float32"), np.full((4, 4), value))
        assert pixels.results() == {"pixel_auroc": None, "pro": None}


def test_the_best_threshold_has_the_best_f1():
    random = np.random.default_rng(0)
    for _ in range(20):
        odd = np.arange(30) % 3 == 0
        scores = np.round(random.normal(size=30) + odd, 1)
        f1, threshold = best_f1(scores, odd)
        assert f1 == pytest.approx(100 * f1_score(odd, scores > threshold), abs=1e-4)
        others = [100 * f1_score(odd, scores > x) for x in (*scores, scores.min() - 1)]
        assert f1 >= max(others) - 1e-4
    assert best_f1([1.0, 2.0], [True, True]) == (100.0, 0.5)  # all are odd
    assert image_auroc([1, 2, 3, 4], [False, True, False, True]) == 75.0
