"""The coreset is that of a plain greedy search."""

import numpy as np
import pytest

from keras_wrn.anomaly import coreset
from keras_wrn.anomaly.coreset import greedy_coreset


def plain(points, count, start=0):
    """The farthest point from those chosen, one after the other, in float64."""
    points = points.astype("float64")
    chosen, nearest = [start], np.full(len(points), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(nearest.argmax()))
    return np.array(chosen)


@pytest.mark.parametrize(("number", "size", "count", "start"), [
    (50, 3, 50, 7), (500, 8, 60, 0), (3000, 16, 300, 2999), (5000, 4, 700, 11),
])  # fmt: skip
def test_the_search_with_active_points_chooses_the_same(monkeypatch, number, size, count, start):
    monkeypatch.setattr(coreset, "LEAST_ACTIVE", 32)
    random = np.random.default_rng(number)
    centers = random.normal(0, 3, (9, size))
    points = centers[random.integers(0, 9, number)] + random.normal(size=(number, size))
    points = points.astype("float32")
    found = greedy_coreset(points, count, start=start)
    assert len(set(found.tolist())) == count
    expected = plain(points, count, start)
    assert (found != expected).mean() < 0.01  # two may change places by rounding
    assert set(found) == set(expected)


def test_points_that_are_there_twice_come_last():
    points = np.repeat(np.random.default_rng(0).normal(size=(20, 5)), 3, axis=0).astype("float32")
    found = greedy_coreset(points, 30)
    assert len(set((found[:20] // 3).tolist())) == 20 and len(set(found.tolist())) == 30


def test_blocks_change_nothing(monkeypatch):
    points = np.random.default_rng(0).normal(size=(2000, 6)).astype("float32")
    whole = greedy_coreset(points, 100)
    monkeypatch.setattr(coreset, "BLOCK", 600)
    np.testing.assert_array_equal(greedy_coreset(points, 100), whole)


@pytest.mark.parametrize(("changes", "message"), [
    ({"count": 0}, "`count`"), ({"count": 11}, r"in 1\.\.10"), ({"start": 10}, r"in 0\.\.9"),
    ({"features": np.full((10, 2), np.nan)}, "finite"),
])  # fmt: skip
def test_what_cannot_be_chosen_from_is_said(changes, message):
    settings = {"features": np.eye(10), "count": 3, **changes}
    with pytest.raises(ValueError, match=message):
        greedy_coreset(settings.pop("features"), settings.pop("count"), **settings)
