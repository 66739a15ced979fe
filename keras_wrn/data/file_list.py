"""Lists of image files with their classes: CSV, and COCO-style JSON."""

import csv
import json
from collections import Counter
from pathlib import Path

from keras_wrn.data.folder import ImageFolder, class_order
from keras_wrn.data.names import checked_names, one_form
from keras_wrn.errors import DataError
from keras_wrn.files import printable

ENDINGS = ".csv", ".json"
NAMED = 5  # the most files that a message names


def is_list(path) -> bool:
    """Whether a path is called as a list of files is."""
    return str(path).lower().endswith(ENDINGS)


def read_list(path):
    """Read a list of image files.

    A CSV file has a line with the names of its columns, `path` and `label` among them, and a line
    for each image. A JSON file has, as for COCO, `images` (`id`, `file_name`), `categories` (`id`,
    `name`) and `annotations` (`image_id`, `category_id`), one for each image.

    Args:
        path: the list. Relative paths in it are below its own folder.

    Returns:
        `ImageFolder`, its files in the list's order. Classes that are exactly the numbers from 0
        are in numeric order, others sorted; those of a JSON file are in the order of their ids.

    Raises:
        DataError: the list cannot be read, an image is absent, listed twice or has no class, a
            class has no image, or there are fewer than two classes. The message names the file.
    """
    path = Path(path)
    read = _read_json if path.suffix.lower() == ".json" else _read_csv
    try:
        names, rows = read(path)
    except (OSError, UnicodeDecodeError, csv.Error, json.JSONDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    _check(path, names, rows)
    try:
        names = checked_names([one_form(name) for name in names])
    except ValueError as error:
        raise DataError(f"{path} names classes. {error}") from error
    labels = {name: label for label, name in enumerate(names)}
    files = tuple(path.parent / file for file, _ in rows)
    return ImageFolder(path, names, files, tuple(labels[one_form(name)] for _, name in rows))


def _read_csv(path):
    """The classes, and a list of (file, class)."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        if not {"path", "label"} <= set(columns):
            raise DataError(
                f"Expected the columns path and label in the first line of {path}. Received: "
                f"{', '.join(columns) or 'an empty file'}"
            )
        rows = []
        for row in reader:
            if not row["path"] or not row["label"]:
                raise DataError(
                    f"Expected a path and a label in line {reader.line_num} of {path}. Received: "
                    f"path={row['path']!r}, label={row['label']!r}"
                )
            rows.append((row["path"], row["label"].strip()))
    return class_order({label for _, label in rows}), rows


def _read_json(path):
    """The classes, and a list of (file, class)."""
    content = json.loads(path.read_text())
    parts = "images", "categories", "annotations"
    if not isinstance(content, dict) or not all(isinstance(content.get(x), list) for x in parts):
        raise DataError(f"Expected lists called {', '.join(parts)} in {path}, as COCO has them")
    try:
        categories = {x["id"]: str(x["name"]) for x in content["categories"]}
        files = {x["id"]: str(x["file_name"]) for x in content["images"]}
        found = [(x["image_id"], x["category_id"]) for x in content["annotations"]]
    except (TypeError, KeyError) as error:
        raise DataError(f"{path}: an entry has no field {error}") from error
    for image, category in found:
        if image not in files or category not in categories:
            what, value = ("category", category) if image in files else ("image", image)
            raise DataError(f"{path}: an annotation is of the {what} {value!r}, which is not there")
    counts = Counter(image for image, _ in found)
    odd = [files[image] for image in files if counts[image] != 1]
    if odd:
        raise DataError(
            f"Expected one annotation for each image in {path}. Received: {counts_of(odd)} with "
            "none or several"
        )
    order = [name for _, name in sorted(categories.items())]
    return order, [(files[image], categories[category]) for image, category in found]


def counts_of(files):
    """How many files these are, and the names of the first."""
    shown = ", ".join(printable(str(file)) for file in files[:NAMED])
    more = f" and {len(files) - NAMED} more" if len(files) > NAMED else ""
    return f"{len(files)} ({shown}{more})"


def _check(path, names, rows):
    if len(names) < 2:
        raise DataError(
            f"Expected at least 2 classes in {path}. Received: {', '.join(names) or 'none'}"
        )
    empty = sorted(set(names) - {name for _, name in rows})
    if empty:
        raise DataError(f"Expected images of each class of {path}. Received: none of "
                        f"{', '.join(empty)}")  # fmt: skip
    twice = [file for file, count in Counter(file for file, _ in rows).items() if count > 1]
    if twice:
        raise DataError(f"Expected each image once in {path}. Received twice: {counts_of(twice)}")
    absent = [file for file, _ in rows if not (path.parent / file).is_file()]
    if absent:
        raise DataError(f"{path} lists files that are not there: {counts_of(absent)}")
