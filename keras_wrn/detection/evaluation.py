"""How good the boxes of a detector are: average precision, as COCO measures it."""

import contextlib
import importlib.util
import io
from typing import Any

import numpy as np

from keras_wrn.data.photos import Photos
from keras_wrn.detection.pictures import draw
from keras_wrn.distribution import install_extra
from keras_wrn.errors import DataError

# The places of pycocotools' figures.
FIGURES = (
    "ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large",
    "ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large",
)  # fmt: skip


DRAWN = 8  # photos in the pictures of an evaluation
READ = 16  # photos that are in memory at once


def evaluate_detector(detector, photos, directory=None):
    """Find things in all photos of a set, and measure how well.

    Args:
        detector: `Detector`.
        photos: `BoxSet` of the detector's classes.
        directory: path to write pictures of the first eight photos with predicted and true boxes
            into, or None.

    Returns:
        dict of `images`, int, and what `average_precision` returns.

    Raises:
        DataError: a photo cannot be read or has another size than the set says, or pycocotools is
            not installed.
        ValueError: the classes are others.
    """
    require_pycocotools()
    if detector.class_names != photos.class_names:
        raise ValueError(
            f"Expected photos with the {len(detector.class_names)} classes of {detector.name!r}: "
            f"{', '.join(detector.class_names[:3])}, ... Received: {len(photos.class_names)} of "
            f"{photos.path}: {', '.join(photos.class_names[:3])}, ..."
        )
    reader, predictions = Photos(photos.source, detector.preprocessing), []
    for start in range(0, len(photos), READ):
        part = range(start, min(start + READ, len(photos)))
        pixels = [reader.decoded(index) for index in part]
        for index, photo in zip(part, pixels, strict=True):
            try:
                photos.check_size(index, *photo.shape[:2])
            except ValueError as error:
                raise DataError(str(error)) from error
        predictions += detector.find(pixels)
        if directory is not None and start == 0:
            shown = range(min(DRAWN, len(pixels)))
            truth = [{"boxes": photos.boxes[i], "labels": photos.labels[i]} for i in shown]
            draw(pixels[:DRAWN], predictions[:DRAWN], photos.class_names, directory, truth)
    return {"images": len(photos), **average_precision(photos, predictions)}


def require_pycocotools():
    """Raise a DataError unless average precision can be measured."""
    if importlib.util.find_spec("pycocotools") is None:
        raise DataError(f"Average precision needs pycocotools: {install_extra('detection')}")


def average_precision(photos, predictions):
    """COCO's figures for predicted boxes, by pycocotools.

    Args:
        photos: `BoxSet`.
        predictions: list, for each photo in turn, of dicts of `boxes` (k, 4), x, y, width, height
            in the photo's pixels, `scores` (k,) and `labels` (k,).

    Returns:
        dict of `ap` (the mean over the overlaps 0.5, 0.55, ..., 0.95 and over the classes), `ap50`,
        `ap75`, by size `ap_small`, `ap_medium`, `ap_large`, the average recalls `ar1`, `ar10`,
        `ar100` (with so many boxes a photo) and by size, in percent, None where there is nothing to
        find; and `per_class`, a dict from the classes' names to their `ap`.

    Raises:
        DataError: pycocotools is not installed.
        ValueError: there are not as many predictions as photos.

    Source: https://cocodataset.org/#detection-eval. A crowd counts neither as found nor as missed.

    Example:

    ```python
    predictions = [{"boxes": b, "scores": np.ones(len(b)), "labels": c}
                   for b, c in zip(photos.boxes, photos.labels)]
    average_precision(photos, predictions)["ap"]   # 100.0
    ```
    """
    require_pycocotools()
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    if len(predictions) != len(photos):
        raise ValueError(
            f"Expected predictions for {len(photos)} photos. Received: {len(predictions)}"
        )
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        truth = COCO()
        truth.dataset = _as_coco(photos)
        truth.createIndex()
        found = _rows(photos, predictions)
        # loadRes refuses an empty list.
        guessed = truth.loadRes(found) if found else _without(truth)
        evaluation = COCOeval(truth, guessed, "bbox")
        evaluation.params.imgIds = list(photos.image_ids)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    results: dict[str, Any] = {
        name: None if value < 0 else round(float(100 * value), 4)
        for name, value in zip(FIGURES, evaluation.stats, strict=True)
    }
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # overlap, recall, class
    results["per_class"] = {
        name: None if (column := precision[:, :, i]).max() < 0 else
        round(float(100 * column[column >= 0].mean()), 4)
        for i, name in enumerate(photos.class_names)
    }  # fmt: skip
    return results


def _as_coco(photos):
    annotations: list[dict] = []
    for number, boxes, labels, crowds, areas in zip(
        photos.image_ids, photos.boxes, photos.labels, photos.crowds, photos.areas, strict=True
    ):
        for box, label, crowd, area in zip(boxes, labels, crowds, areas, strict=True):
            annotations.append({
                "id": len(annotations) + 1,
                "image_id": number,
                "category_id": photos.category_ids[label],
                "bbox": np.asarray(box, "float64").tolist(),
                "area": float(area),
                "iscrowd": int(crowd),
            })  # fmt: skip
    categories = zip(photos.category_ids, photos.class_names, strict=True)
    return {
        "info": {},
        "images": [
            {"id": number, "height": int(height), "width": int(width)}
            for number, (height, width) in zip(photos.image_ids, photos.sizes, strict=True)
        ],
        "categories": [{"id": number, "name": name} for number, name in categories],
        "annotations": annotations,
    }


def _rows(photos, predictions):
    return [
        {
            "image_id": number,
            "category_id": photos.category_ids[int(label)],
            "bbox": np.asarray(box, "float64").tolist(),
            "score": float(score),
        }
        for number, answer in zip(photos.image_ids, predictions, strict=True)
        for box, score, label in zip(
            answer["boxes"], answer["scores"], answer["labels"], strict=True
        )
    ]


def _without(truth):
    from pycocotools.coco import COCO

    empty = COCO()
    empty.dataset = {**truth.dataset, "annotations": []}
    empty.createIndex()
    return empty
