"""Photos with boxes in COCO's format: a folder of images and a file of annotations."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from keras_wrn.data.names import checked_names
from keras_wrn.data.photos import Files
from keras_wrn.detection.geometry import as_corners
from keras_wrn.errors import DataError

NAMED = 5  # the most problems that a message names


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
        boxes: tuple of float32 (k, 4), left, top, right, bottom in pixels of the photo, inside it.
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

    @property
    def count(self):
        """The number of boxes, crowds among them."""
        return sum(map(len, self.boxes))


def read_coco(annotations, images=None) -> BoxSet:
    """Read a file of boxes in COCO's format.

    Args:
        annotations: path of the JSON file, with `images` (`id`, `file_name`, `width`, `height`),
            `categories` (`id`, `name`) and `annotations` (`image_id`, `category_id`, `bbox`, and
            maybe `iscrowd` and `area`); a bbox is left, top, width and height in pixels.
        images: path of the folder of the photos, None for images/ beside the file.

    Returns:
        `BoxSet`, its classes in the order of their ids. Photos without boxes are kept. Boxes are
        cut off at the photo's border; those that are outside of it or of no size are left out and
        counted.

    Raises:
        DataError: the file cannot be read, a field is missing, a box has an unknown photo or
            category, an id comes twice, or a photo's file is absent. The message names it.

    Example:

    ```python
    photos = read_coco("coco/instances_val.json")
    photos.boxes[0]   # [[1.01, 39.35, 242.49, 369.29], ...]
    ```
    """
    path = Path(annotations)
    images = Path(images) if images is not None else path.parent / "images"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    photos, categories, found = _parts(path, content)
    category_ids = tuple(sorted(categories))
    try:
        names = checked_names([categories[x] for x in category_ids])
    except ValueError as error:
        raise DataError(f"{path} names classes. {error}") from error
    absent = [p["file_name"] for p in photos.values() if not (images / p["file_name"]).is_file()]
    if absent:
        raise DataError(f"{path} lists photos that are not in {images}: {_some(absent)}")
    labels = {x: i for i, x in enumerate(category_ids)}
    of_photo: dict[int, list] = {number: [] for number in photos}
    all_corners = as_corners([annotation["bbox"] for annotation in found], "xywh")
    for annotation, box in zip(found, all_corners, strict=True):
        *_, width, height = annotation["bbox"]
        of_photo[annotation["image_id"]].append((
            box,
            labels[annotation["category_id"]],
            bool(annotation.get("iscrowd", 0)),
            annotation.get("area", width * height),
        ))  # fmt: skip
    columns, dropped = [], 0
    for number, photo in photos.items():
        corners, *rest = _columns(of_photo[number])
        boxes, kept = inside(corners, photo["height"], photo["width"])
        columns.append((boxes, *(part[kept] for part in rest)))
        dropped += int((~kept).sum())
    boxes, found_labels, crowds, areas = zip(*columns, strict=True)
    return BoxSet(
        path=path,
        class_names=names,
        category_ids=category_ids,
        source=Files([images / photo["file_name"] for photo in photos.values()], images),
        image_ids=tuple(photos),
        sizes=np.array([(p["height"], p["width"]) for p in photos.values()], "int32"),
        boxes=boxes,
        labels=found_labels,
        crowds=crowds,
        areas=areas,
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
    photos, categories = (_by_id(path, part, content[part]) for part in ("images", "categories"))
    if not photos or not categories:
        raise DataError(f"There are no {'images' if not photos else 'categories'} in {path}")
    for annotation in content["annotations"]:
        for field, known in (("image_id", photos), ("category_id", categories)):
            if annotation[field] not in known:
                raise DataError(f"{path} has a box of the unknown {field} {annotation[field]}")
        numbers = annotation["bbox"]
        if len(numbers) != 4 or not all(map(_is_number, numbers)):
            raise DataError(
                f"Expected a bbox of left, top, width and height in {path}. Received: "
                f"{numbers!r:.80} of image {annotation['image_id']}"
            )
    return (
        photos,
        {number: entry["name"] for number, entry in categories.items()},
        content["annotations"],
    )


def _is_number(value):
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or abs(value) < 2**63  # a larger one is no float


def _by_id(path, part, entries):
    found = {}
    for entry in entries:
        if entry["id"] in found:
            raise DataError(f"{path} has the id {entry['id']} twice in `{part}`")
        found[entry["id"]] = entry
    return found


def inside(boxes, height, width):
    """Boxes cut off at their photo's border.

    Args:
        boxes: (k, 4), left, top, right, bottom in pixels of a photo.
        height, width: int, of the photo.

    Returns:
        Those of which something is inside, float32 (at most k, 4); and which these are, bool (k,).
    """
    boxes = np.asarray(boxes, "float64").reshape(-1, 4)
    finite = np.isfinite(boxes).all(axis=-1)
    boxes = np.clip(np.where(finite[:, None], boxes, 0), 0, [width, height] * 2).astype("float32")
    kept = finite & (boxes[:, 2:] > boxes[:, :2]).all(axis=-1)
    return boxes[kept], kept


def _columns(rows):
    kinds = ("float64", (-1, 4)), ("int32", (-1,)), ("bool", (-1,)), ("float32", (-1,))
    columns = zip(*rows, strict=True) if rows else [[]] * 4
    return [
        np.array(list(column), kind).reshape(shape)
        for column, (kind, shape) in zip(columns, kinds, strict=True)
    ]


def _some(names):
    return ", ".join(names[:NAMED]) + (
        f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    )
