"""Photos with boxes that TFDS has prepared, such as coco/2017."""

import io

import numpy as np

from keras_wrn.data.names import checked_names
from keras_wrn.data.tfds_photos import Records, open_tfds
from keras_wrn.detection.coco import BoxSet, inside
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
    if split not in builder.info.splits:
        raise DataError(
            f"{builder.info.full_name} in {builder.data_path} has no split {split!r}, only "
            f"{', '.join(sorted(builder.info.splits))}"
        )
    source = Records(builder, split)
    names = checked_names(fields["label"].names)
    rows = [_row(source, i) for i in range(len(source))]
    names_of = "id", "size", "boxes", "labels", "crowds", "areas", "lost"
    columns = dict(zip(names_of, zip(*rows, strict=True), strict=True))
    ids = columns["id"] if len(set(columns["id"])) == len(rows) else range(len(rows))
    return BoxSet(
        path=source.root,
        class_names=names,
        category_ids=tuple(range(1, len(names) + 1)),
        source=source,
        image_ids=tuple(ids),
        sizes=np.array(columns["size"], "int32"),
        boxes=columns["boxes"],
        labels=columns["labels"],
        crowds=columns["crowds"],
        areas=columns["areas"],
        dropped=sum(columns["lost"]),
    )


def _row(source, index):
    """A photo's id, size, boxes, labels, crowds and areas, and how many boxes it lost."""
    from PIL import Image

    example = source.example(int(source.indices[index]))
    try:
        width, height = Image.open(io.BytesIO(example["image"])).size
    except OSError as error:
        raise DataError(f"{source.name(index)} cannot be read: {error}") from error
    objects = example["objects"]
    corners = as_corners(objects["bbox"], "rel_yxyx", height, width)
    boxes, kept = inside(corners, height, width)
    labels = np.asarray(objects["label"], "int32").reshape(-1)[kept]
    crowds = np.asarray(objects.get("is_crowd", np.zeros(len(kept))), bool).reshape(-1)[kept]
    whole = np.prod(boxes[:, 2:] - boxes[:, :2], axis=-1)
    areas = objects.get("area")
    areas = whole if areas is None else np.asarray(areas, "float32").reshape(-1)[kept]
    number = int(example.get("image/id", index))
    lost = int((~kept).sum())
    return number, (height, width), boxes, labels, crowds, areas, lost
