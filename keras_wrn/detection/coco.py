"""Photos with boxes in COCO's format: a folder of images and a file of annotations."""

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from keras_wrn.data.names import checked_names
from keras_wrn.data.photos import Files
from keras_wrn.detection.boxes import with_sizes
from keras_wrn.detection.geometry import as_corners
from keras_wrn.errors import DataError
from keras_wrn.files import printable

NAMED = 5  # the most problems that a message names
LARGEST_SIDE = 2**20  # pixels
FARTHEST = 1e9  # pixels


@dataclasses.dataclass(frozen=True)
class BoxSet:
    """Photos and the boxes in them.

    Args:
        path: path of the file they were read from, or str for messages.
        class_names: tuple of str, in the order of the labels.
        category_ids: tuple of int, COCO's number of each class.
        source: the encoded photos, `keras_wrn.data.photos.Files` or the like.
        image_ids: tuple of int, COCO's number of each photo.
        sizes: int32 (n, 2), height and width of each photo.
        boxes: tuple of float32 (k, 4), x, y, width, height in pixels of the photo, inside it; x and
            y are those of the upper left.
        labels: tuple of int32 (k,), from 0.
        crowds: tuple of bool (k,), whether a box is around many that are not told apart.
        areas: tuple of float32 (k,), in square pixels, of the mask where the file has one.
        dropped: int, how many boxes were left out because nothing of them is inside their photo.
    """

    path: Path | str
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    source: Any
    image_ids: tuple[int, ...]
    sizes: np.ndarray
    boxes: tuple[np.ndarray, ...]
    labels: tuple[np.ndarray, ...]
    crowds: tuple[np.ndarray, ...]
    areas: tuple[np.ndarray, ...]
    dropped: int = 0

    def __len__(self):
        return len(self.image_ids)

    def take(self, indices):
        """The same with some of its photos, by their indices."""
        columns: dict[str, Any] = {
            field: tuple(getattr(self, field)[i] for i in indices)
            for field in ("image_ids", "boxes", "labels", "crowds", "areas")
        }
        return dataclasses.replace(
            self, source=self.source.take(indices), sizes=self.sizes[indices], **columns
        )

    def check_size(self, index, height, width):
        """Raise a ValueError unless a photo has the size that its boxes are for."""
        expected = tuple(int(side) for side in self.sizes[index])
        if (height, width) != expected:
            raise ValueError(
                f"{self.source.name(index)} should be {expected[1]} x {expected[0]}, as "
                f"{self.path} says, and is {width} x {height}"
            )

    @property
    def count(self):
        """The number of boxes, crowds among them."""
        return sum(map(len, self.boxes))


def read_coco(annotations, images=None) -> BoxSet:
    """Read a file of boxes in COCO's format.

    Args:
        annotations: path of the JSON file, with `images` (`id`, `file_name`, `width`, `height`),
            `categories` (`id`, `name`) and `annotations` (`image_id`, `category_id`, `bbox`, and
            maybe `iscrowd` and `area`); a bbox is x, y, width and height in pixels.
        images: path of the folder of the photos, None for images/ beside the file.

    Returns:
        `BoxSet`, its classes in the order of their ids. Photos without boxes are kept. Boxes are
        cut off at the photo's border; those that are outside of it or of no size are left out and
        counted.

    Raises:
        DataError: the file cannot be read, a field is missing or makes no sense, a box has an
            unknown photo or category, an id or a name comes twice, or a photo's file is absent. The
            message names it.

    Example:

    ```python
    photos = read_coco("coco/instances_val.json")
    photos.boxes[0]   # [[1.01, 39.35, 241.48, 329.94], ...]
    ```
    """
    path = Path(annotations)
    images = Path(images) if images is not None else path.parent / "images"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    photos, categories, found = _parts(path, content)
    category_ids = tuple(sorted(categories))
    try:
        names = checked_names([categories[x] for x in category_ids])
    except ValueError as error:
        raise DataError(f"{path} names classes. {error}") from error
    absent = [p["file_name"] for p in photos.values() if not _is_in(images, p["file_name"])]
    if absent:
        raise DataError(f"{path} lists photos that are not in {images}: {_some(absent)}")
    labels = {x: i for i, x in enumerate(category_ids)}
    places = {number: place for place, number in enumerate(photos)}
    sizes = np.array([(p["height"], p["width"]) for p in photos.values()], "int32")
    # Beyond these no photo reaches, and float32 has room for them.
    given = np.array([annotation["bbox"] for annotation in found], "float64").reshape(-1, 4)
    corners = as_corners(np.clip(given, -FARTHEST, FARTHEST), "xywh")
    columns, dropped = by_photo(
        [places[annotation["image_id"]] for annotation in found],
        sizes,
        corners,
        [labels[annotation["category_id"]] for annotation in found],
        [bool(annotation.get("iscrowd", 0)) for annotation in found],
        [annotation.get("area", math.prod(annotation["bbox"][2:])) for annotation in found],
    )
    return BoxSet(
        path=path,
        class_names=names,
        category_ids=category_ids,
        source=Files([images / photo["file_name"] for photo in photos.values()], images),
        image_ids=tuple(photos),
        sizes=sizes,
        **columns,
        dropped=dropped,
    )


def _parts(path, content):
    """The photos and the names of the categories by id, and the annotations, all checked."""
    if not isinstance(content, dict):
        raise DataError(f"Expected a JSON object in {path}. Received: {type(content).__name__}")
    needed = {
        "images": {"id": int, "file_name": str, "width": int, "height": int},
        "categories": {"id": int, "name": str},
        "annotations": {"image_id": int, "category_id": int, "bbox": list},
    }
    for part, fields in needed.items():
        if not isinstance(content.get(part), list):
            raise DataError(
                f"Expected a list `{part}` in {path}. Received: {content.get(part)!r:.80}"
            )
        for number, entry in enumerate(content[part]):
            for field, kind in fields.items():
                value = entry.get(field) if isinstance(entry, dict) else None
                if not isinstance(value, kind) or isinstance(value, bool):
                    raise DataError(
                        f"Expected {kind.__name__} `{field}` in entry {number} of `{part}` of "
                        f"{path}. Received: {value!r:.80}"
                    )
    photos, categories = (_by(path, x, "id", content[x]) for x in ("images", "categories"))
    if not photos or not categories:
        raise DataError(f"There are no {'images' if not photos else 'categories'} in {path}")
    _by(path, "categories", "name", categories.values())
    _by(path, "images", "file_name", photos.values())
    for photo in photos.values():
        sides = photo["width"], photo["height"]
        if not all(1 <= side <= LARGEST_SIDE for side in sides):
            raise DataError(
                f"Expected sides of 1 to {LARGEST_SIDE:,} pixels in {path}. Received: width and "
                f"height {sides} of image {photo['id']}"
            )
    for annotation in content["annotations"]:
        for field, known in (("image_id", photos), ("category_id", categories)):
            if annotation[field] not in known:
                raise DataError(f"{path} has a box of the unknown {field} {annotation[field]}")
        numbers = annotation["bbox"]
        if len(numbers) != 4 or not all(map(_is_number, numbers)):
            raise DataError(
                f"Expected a bbox of x, y, width and height in {path}. Received: "
                f"{numbers!r:.80} of image {annotation['image_id']}"
            )
        crowd, area = annotation.get("iscrowd", 0), annotation.get("area", 0.0)
        if crowd not in (0, 1) or not isinstance(crowd, int):
            raise DataError(
                f"Expected an iscrowd of 0 or 1 in {path}. Received: {crowd!r:.80} of a box of "
                f"image {annotation['image_id']}"
            )
        if not _is_number(area) or not 0 <= area < math.inf:
            raise DataError(
                f"Expected an area of 0 or more square pixels in {path}. Received: {area!r:.80} of "
                f"a box of image {annotation['image_id']}"
            )
    return (
        photos,
        {number: entry["name"] for number, entry in categories.items()},
        content["annotations"],
    )


def _is_in(folder, name):
    """Whether there is a file of that name in a folder or below it."""
    try:
        inside = not Path(name).is_absolute() and os.pardir not in Path(name).parts
        return inside and (folder / name).is_file()
    except (OSError, ValueError):  # a name too long, or with a null byte
        return False


def _is_number(value):
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or abs(value) < 2**63  # a larger one is no float


def _by(path, part, field, entries):
    """Entries by a field; a DataError if two have the same: what belongs to which is unknown."""
    found = {}
    for entry in entries:
        if entry[field] in found:
            raise DataError(f"{path} has the {field} {entry[field]!r:.80} twice in `{part}`")
        found[entry[field]] = entry
    return found


def by_photo(places, sizes, corners, labels, crowds, areas):
    """All boxes of a dataset, photo by photo, cut off at the borders.

    Args:
        places: int (k,), the photo of each box.
        sizes: int (n, 2), height and width of each photo.
        corners: (k, 4), left, top, right, bottom in pixels of the photo.
        labels, crowds, areas: (k,).

    Returns:
        dict of `boxes`, `labels`, `crowds` and `areas` as `BoxSet` has them; and the number of
        boxes of which nothing is inside their photo, which are left out.
    """
    places = np.asarray(places, "int64")
    corners = np.asarray(corners, "float32").reshape(-1, 4)
    most = np.asarray(sizes)[places][:, [1, 0, 1, 0]]
    finite = np.isfinite(corners).all(axis=-1)
    boxes = np.clip(np.where(finite[:, None], corners, 0), 0, most).astype("float32")
    kept = np.flatnonzero(finite & (boxes[:, 2:] > boxes[:, :2]).all(axis=-1))
    order = kept[np.argsort(places[kept], kind="stable")]
    ends = np.cumsum(np.bincount(places[order], minlength=len(sizes)))[:-1]
    columns = {
        "boxes": with_sizes(boxes),
        "labels": np.asarray(labels, "int32"),
        "crowds": np.asarray(crowds, bool),
        "areas": np.asarray(areas, "float32"),
    }
    split = {name: tuple(np.split(column[order], ends)) for name, column in columns.items()}
    return split, len(places) - len(kept)


def _some(names):
    return ", ".join(printable(name)[:80] for name in names[:NAMED]) + (
        f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    )
