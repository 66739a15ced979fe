"""A fitted model measured on good and odd photos."""

from pathlib import Path
from typing import Any

import numpy as np

from keras_wrn.anomaly.inspector import BATCH
from keras_wrn.anomaly.measures import Pixels, best_f1, image_auroc
from keras_wrn.anomaly.pictures import draw
from keras_wrn.anomaly.sets import read_mask, test_photos
from keras_wrn.data.images import picture
from keras_wrn.errors import DataError
from keras_wrn.files import distinct


def evaluate_inspector(inspector, folder, directory=None) -> dict[str, Any]:
    """Measure how well odd photos are told from good ones, and where they are odd.

    Args:
        inspector: `Inspector`.
        folder: path of a folder in MVTec AD's layout: test/good, test/KIND, and perhaps masks in
            ground_truth/KIND.
        directory: path of a folder for a picture of each photo, KIND-NAME.png, or None.

    Returns:
        dict of `photos` and `odd`, their numbers; in percent `image_auroc` and `best_f1`, the best
        that any threshold can have; `best_threshold`; at the model's own `threshold` `f1`,
        `false_alarms`, the share of the good photos above it, and `missed`, that of the odd ones
        below; `pixel_auroc` and `pro`, None without masks; `per_kind`, dict from kind to
        `image_auroc` against the good photos; `brightness_auroc`, of a score that looks at nothing
        but how far a photo's brightness is from the mean of the good ones, for comparison.

    Raises:
        DataError: the folder is not as described, or a photo or mask cannot be read.
        ValueError: the model answers with NaN.

    Source: https://doi.org/10.1007/s11263-020-01400-4.
    """
    photos = test_photos(folder)
    names = distinct(f"{photo.kind}-{photo.path.stem}" for photo in photos)
    pixels, answered, brightness = Pixels(), [], []
    for start in range(0, len(photos), BATCH):
        part = photos[start : start + BATCH]
        images = [_pixels(photo.path) for photo in part]
        answers = inspector.inspect(images)
        for number, (photo, image, answer) in enumerate(
            zip(part, images, answers, strict=True), start
        ):
            mask = read_mask(photo.mask) if photo.mask else None
            answered.append(answer["score"])
            brightness.append(image.mean())
            if mask is None and not photo.is_odd:
                mask = np.zeros(image.shape[:2], bool)
            if mask is not None:
                pixels.add(answer["map"], mask)
            if directory is not None:
                path = Path(directory, f"{names[number]}.png")
                draw(image, answer, inspector.threshold, path, mask)
    odd = np.array([photo.is_odd for photo in photos])
    scores, kinds = np.array(answered), np.array([photo.kind for photo in photos])
    f1, best = best_f1(scores, odd)
    above = scores > inspector.threshold
    usual = np.mean(np.array(brightness)[~odd])
    found = int((above & odd).sum())
    return {
        "photos": len(photos),
        "odd": int(odd.sum()),
        "image_auroc": image_auroc(scores, odd),
        "best_f1": f1,
        "best_threshold": best,
        "threshold": inspector.threshold,
        "f1": round(200 * found / int(above.sum() + odd.sum()), 4),
        "false_alarms": round(100 * float(above[~odd].mean()), 4),
        "missed": round(100 * float((~above[odd]).mean()), 4),
        **pixels.results(),
        "per_kind": {
            kind: image_auroc(scores[(kinds == kind) | ~odd], odd[(kinds == kind) | ~odd])
            for kind in sorted({photo.kind for photo in photos if photo.is_odd})
        },
        "brightness_auroc": image_auroc(np.abs(np.array(brightness) - usual), odd),
    }


def check_photos(photos):
    """Decode all photos to evaluate on, `TestPhoto`s; their masks are read when they are listed.

    Raises:
        DataError: one cannot be read.
    """
    for photo in photos:
        _pixels(photo.path)


def _pixels(path):
    try:
        return picture(path)
    except (ValueError, OSError) as error:
        raise DataError(str(error)) from error
