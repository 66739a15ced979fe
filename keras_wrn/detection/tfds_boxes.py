"""Photos with boxes that TFDS has prepared, such as coco/2017."""

import io

import numpy as np

from keras_wrn.data.names import checked_names
from keras_wrn.data.tfds_photos import Records, open_tfds
from keras_wrn.detection.coco import BoxSet, by_photo
from keras_wrn.detection.geometry import as_corners
from keras_wrn.errors import DataError


def read_tfds(name, split, data_dir=None) -> BoxSet:
    """The boxes of a split that TFDS has prepared. This reads all records once.

    Args:
        name: str, such as "tfds:coco/2017".
        split: str, "train" or "validation".
        data_dir: path where TFDS keeps its data, or None.

    Raises:
        DataError: it is not prepared there, or has no photos with boxes.
    """
    builder, features = open_boxes(name, data_dir)
    source = Records(builder, split)
    names = checked_names(features["label"].names)
    numbers, sides, objects = zip(*(_row(source, i) for i in range(len(source))), strict=True)
    columns = {name: np.concatenate([x[name] for x in objects]) for name in objects[0]}
    places = np.repeat(np.arange(len(source)), [len(x["label"]) for x in objects])
    sizes = np.array(sides, "int32")
    corners = as_corners(columns["bbox"], "rel_yxyx") * sizes[places][:, [1, 0, 1, 0]]
    areas = columns.get("area", np.prod(corners[:, 2:] - corners[:, :2], axis=-1))
    crowds = columns.get("is_crowd", np.zeros(len(places), bool))
    found, dropped = by_photo(places, sizes, corners, columns["label"], crowds, areas)
    return BoxSet(
        path=source.root,
        class_names=names,
        category_ids=tuple(range(1, len(names) + 1)),
        source=source,
        image_ids=numbers if len(set(numbers)) == len(numbers) else tuple(range(len(source))),
        sizes=sizes,
        **found,
        dropped=dropped,
    )


def open_boxes(name, data_dir=None):
    """TFDS' builder of a prepared dataset of photos with boxes, and the features of a box.

    Raises:
        DataError: it is not prepared there, or has no photos with boxes.
    """
    import tensorflow_datasets as tfds

    builder = open_tfds(name, data_dir, {"image": tfds.features.Image})
    objects = dict(builder.info.features.items()).get("objects")
    fields = dict(getattr(objects, "feature", {}).items()) if objects is not None else {}
    kinds = {"bbox": tfds.features.BBoxFeature, "label": tfds.features.ClassLabel}
    if not all(isinstance(fields.get(key), kind) for key, kind in kinds.items()):
        raise DataError(
            "Expected a dataset whose `objects` have bbox and label, such as coco/2017. Received: "
            f"{builder.info.full_name} with {', '.join(builder.info.features)}"
        )
    return builder, fields


def _row(source, index):
    """A photo's id, its height and width, and the fields of its boxes."""
    from PIL import Image

    example = source.example(int(source.indices[index]))
    try:
        width, height = Image.open(io.BytesIO(example["image"])).size
    except OSError as error:
        raise DataError(f"{source.name(index)} cannot be read: {error}") from error
    found = example["objects"]
    objects = {
        name: np.asarray(found[name]).reshape((-1, 4) if name == "bbox" else -1)
        for name in ("bbox", "label", "is_crowd", "area")
        if name in found
    }
    return int(example.get("image/id", index)), (height, width), objects
