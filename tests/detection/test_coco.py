"""COCO's files and figures: what is read, what is refused, cases of known average precision."""

import json
from pathlib import Path

import numpy as np
import pytest

from keras_wrn.detection.coco import read_coco
from keras_wrn.detection.evaluation import average_precision
from keras_wrn.errors import DataError


def content(**changes):
    return {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 100, "height": 80},
                   {"id": 3, "file_name": "b.jpg", "width": 50, "height": 50}],
        "categories": [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}],
        "annotations": [
            {"image_id": 7, "category_id": 90, "bbox": [10, 20, 30, 40], "area": 900,
             "iscrowd": 0},
            {"image_id": 7, "category_id": 1, "bbox": [90, 70, 20, 20.5], "iscrowd": 1},
        ],
        **changes,
    }  # fmt: skip


@pytest.fixture
def write(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "images" / name).touch()

    def write(value):
        text = value if isinstance(value, str) else json.dumps(value)
        (tmp_path / "instances.json").write_text(text)
        return tmp_path / "instances.json"

    return write


def test_what_is_read(write):
    photos = read_coco(write(content()))
    assert photos.class_names == ("person", "toothbrush") and photos.category_ids == (1, 90)
    assert photos.image_ids == (7, 3) and photos.sizes.tolist() == [[80, 100], [50, 50]]
    assert [Path(x).name for x in photos.source.paths] == ["a.jpg", "b.jpg"]
    np.testing.assert_array_equal(photos.boxes[0], [[10, 20, 30, 40], [90, 70, 10, 10]])
    assert photos.labels[0].tolist() == [1, 0] and photos.crowds[0].tolist() == [False, True]
    np.testing.assert_allclose(photos.areas[0], [900, 410])
    assert photos.boxes[1].shape == (0, 4) and photos.labels[1].shape == (0,)
    assert len(photos) == 2 and photos.dropped == 0


def test_boxes_of_no_size_or_outside_are_left_out_and_counted(write):
    boxes = [[10, 10, 0, 5], [10, 10, 5, -1], [100, 10, 5, 5], [-9, 10, 9, 5], [1, 1, 5, 5],
             [float("nan"), 1, 5, 5]]  # fmt: skip
    annotations = [{"image_id": 7, "category_id": 1, "bbox": box} for box in boxes]
    photos = read_coco(write(content(annotations=annotations)))
    assert photos.dropped == 5
    np.testing.assert_array_equal(photos.boxes[0], [[1, 1, 5, 5]])


@pytest.mark.parametrize(("changes", "message"), [
    ("[1, 2", "instances.json cannot be read"),
    ("[1, 2]", "Expected a JSON object.*list"),
    ({"annotations": None}, "Expected a list `annotations`.*None"),
    ({"images": []}, "There are no images"),
    ({"categories": []}, "There are no categories"),
    ({"images": [{"id": 7, "file_name": "a.jpg", "width": 100}]},
     "Expected int `height` in entry 0 of `images`"),
    ({"categories": [{"id": 1, "name": "x"}] * 2}, "the id 1 twice in `categories`"),
    ({"annotations": [{"image_id": 8, "category_id": 1, "bbox": [1, 1, 1, 1]}]},
     "unknown image_id 8"),
    ({"annotations": [{"image_id": 7, "category_id": 2, "bbox": [1, 1, 1, 1]}]},
     "unknown category_id 2"),
    ({"annotations": [{"image_id": 7, "category_id": 1, "bbox": [1, 1, 1]}]},
     r"x, y, width and height.*\[1, 1, 1\] of image 7"),
    ({"annotations": [{"image_id": 7, "category_id": 1, "bbox": [1, 1, 10**400, 1]}]},
     r"x, y, width and height.*1000"),
    ("[" * 100_000, "instances.json cannot be read"),
    ({"categories": [{"id": 1, "name": "cat"}, {"id": 90, "name": "cat"}]}, "name 'cat' twice"),
    ({"images": [{"id": i, "file_name": "a.jpg", "width": 9, "height": 9} for i in (7, 8)]},
     r"file_name 'a\.jpg' twice"),
    ({"images": [{"id": 7, "file_name": "a.jpg", "width": 0, "height": 9}], "annotations": []},
     r"sides of 1 to .*\(0, 9\) of image 7"),
    ({"images": [{"id": 7, "file_name": "a.jpg", "width": 2**40, "height": 9}],
      "annotations": []}, "sides of 1 to"),
    *(({"images": [{"id": 7, "file_name": name, "width": 9, "height": 9}], "annotations": []},
       "lists photos that are not in") for name in ("/etc/hostname", "../instances.json",
                                                     "x" * 5000, "a\x00.jpg")),
    *(({"annotations": [{"image_id": 7, "category_id": 1, "bbox": [1, 1, 1, 1]} | more]}, text)
      for more, text in (
          ({"iscrowd": "0"}, "iscrowd of 0 or 1.*'0' of a box of image 7"),
          ({"iscrowd": 2}, "iscrowd of 0 or 1"), ({"iscrowd": 1.0}, "iscrowd of 0 or 1"),
          ({"area": None}, "area of 0 or more.*None"), ({"area": -5}, "area of 0 or more"),
          ({"area": float("nan")}, "area of 0 or more"), ({"area": []}, "area of 0 or more"),
          ({"area": 10**400}, "area of 0 or more"))),
    ({"images": [{"id": 7, "file_name": f"{i}.jpg", "width": 9, "height": 9} | {"id": i}
                 for i in range(8)], "annotations": []},
     r"not in .*images: 0.jpg, 1.jpg.* and 3 more"),
])  # fmt: skip
def test_what_cannot_be_read_is_named(write, changes, message):
    value = changes if isinstance(changes, str) else content(**changes)
    with pytest.raises(DataError, match=message):
        read_coco(write(value))


def test_a_box_beyond_all_measure_is_cut_off_at_the_photo(write):
    annotations = [{"image_id": 7, "category_id": 1, "bbox": [0, -5, 1e300, 1e300]}]
    photos = read_coco(write(content(annotations=annotations)))
    assert photos.boxes[0].tolist() == [[0, 0, 100, 80]]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none.json cannot be read.*No such file"):
        read_coco(tmp_path / "none.json")


def guess(boxes, labels, scores=None):
    scores = np.ones(len(boxes)) if scores is None else np.array(scores)
    return {"boxes": np.array(boxes, float).reshape(-1, 4), "labels": labels, "scores": scores}


@pytest.mark.extra("pycocotools")
class TestAveragePrecision:
    """Hand-made cases."""

    @pytest.fixture
    def photos(self, write):
        annotations = [
            {"image_id": 7, "category_id": 1, "bbox": [10, 10, 40, 40], "area": 1600},
            {"image_id": 3, "category_id": 1, "bbox": [5, 5, 40, 40], "area": 1600},
            {"image_id": 7, "category_id": 90, "bbox": [60, 10, 20, 20], "area": 400},
        ]
        return read_coco(write(content(annotations=annotations)))

    def test_the_truth_itself_has_all_points(self, photos):
        pairs = zip(photos.boxes, photos.labels, strict=True)
        found = average_precision(photos, [guess(boxes, labels) for boxes, labels in pairs])
        assert found["ap"] == found["ap50"] == found["ap75"] == 100
        assert found["ap_small"] == 100 and found["ap_medium"] == 100 and found["ap_large"] is None
        assert found["per_class"] == {"person": 100, "toothbrush": 100}

    def test_nothing_found_is_zero(self, photos):
        found = average_precision(photos, [guess([], []), guess([], [])])
        assert found["ap"] == 0 and found["ar100"] == 0

    def test_one_of_two_persons_is_half_of_that_class(self, photos):
        found = average_precision(photos, [guess([[10, 10, 40, 40]], [0]), guess([], [])])
        assert found["per_class"]["toothbrush"] == 0
        # Precision 1 up to a recall of 0.5: 51 of the 101 points.
        assert found["per_class"]["person"] == pytest.approx(100 * 51 / 101, abs=0.01)
        assert found["ap"] == pytest.approx(found["per_class"]["person"] / 2, abs=0.01)

    def test_a_better_scored_wrong_box_halves_the_precision(self, photos):
        found = average_precision(
            photos,
            [guess([[10, 10, 40, 40], [60, 50, 30, 20]], [0, 0], [0.5, 0.9]),
             guess([[5, 5, 40, 40]], [0], [0.6])],
        )  # fmt: skip
        assert found["per_class"]["person"] == pytest.approx(100 * 2 / 3, abs=0.01)

    def test_boxes_a_little_off_count_at_low_overlaps_alone(self, photos):
        # Moved by 5 of 40 pixels: an overlap of 35 / 45 = 0.78, six of the ten thresholds.
        found = average_precision(
            photos, [guess([[15, 10, 40, 40], [60, 10, 20, 20]], [0, 1]),
                     guess([[10, 5, 40, 40]], [0])],
        )  # fmt: skip
        assert found["per_class"] == {"person": pytest.approx(60, abs=0.01), "toothbrush": 100}
        assert found["ap50"] == found["ap75"] == 100

    def test_photos_without_predictions_count(self, photos):
        with pytest.raises(ValueError, match=r"predictions for 2 photos\. Received: 1"):
            average_precision(photos, [guess([], [])])
