"""Lists of image files with their classes: CSV, and COCO-style JSON."""

import csv
import json
import os
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
        names = checked_names(names)
    except ValueError as error:
        raise DataError(f"{path} names classes. {error}") from error
    labels = {name: label for label, name in enumerate(names)}
    files = tuple(path.parent / file for file, _ in rows)
    return ImageFolder(path, names, files, tuple(labels[name] for _, name in rows))


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
            rows.append((os.path.normpath(row["path"]), one_form(row["label"].strip())))
    return class_order({label for _, label in rows}), rows


def _read_json(path):
    """The classes, and a list of (file, class)."""
    content = json.loads(path.read_text())
    categories = _by_id(path, content, "categories", "name")
    files = _by_id(path, content, "images", "file_name")
    found: dict = {}
    for entry in _entries(path, content, "annotations", "image_id", "category_id"):
        image, category = entry["image_id"], entry["category_id"]
        if image not in files or category not in categories:
            what, value = ("category", category) if image in files else ("image", image)
            raise DataError(f"{path}: an annotation is of the {what} {value!r}, which is not there")
        found.setdefault(image, []).append(category)
    odd = [file for image, file in files.items() if len(found.get(image, ())) != 1]
    if odd:
        raise DataError(
            f"Expected one annotation for each image in {path}. Received: {counts_of(odd)} with "
            "none or several"
        )
    names = {key: one_form(name) for key, name in categories.items()}
    order = [names[key] for key in sorted(names)]
    twice = [name for name, count in Counter(order).items() if count > 1]
    if twice:
        raise DataError(f"Expected different names of categories in {path}. Received twice: "
                        f"{', '.join(twice)}")  # fmt: skip
    return order, [
        (os.path.normpath(files[image]), names[category]) for image, (category,) in found.items()
    ]


def _entries(path, content, part, *fields):
    """The entries of one of a JSON file's lists, each with those fields."""
    entries = content.get(part) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise DataError(f"Expected a list called {part} in {path}, as COCO has it")
    for entry in entries:
        missing = [x for x in fields if not isinstance(entry, dict) or x not in entry]
        if missing:
            raise DataError(
                f"Expected {' and '.join(fields)} in each of the {part} of {path}. Received: "
                f"{entry!s:.80}"
            )
        if not all(isinstance(entry[x], int | str) for x in fields):
            raise DataError(f"Expected numbers or texts in the {part} of {path}. Received: "
                            f"{entry!s:.80}")  # fmt: skip
    return entries


def _by_id(path, content, part, field):
    """What the entries of one of a JSON file's lists have in a field, by their `id`."""
    found = {}
    for entry in _entries(path, content, part, "id", field):
        if entry["id"] in found or not isinstance(entry["id"], int):
            raise DataError(
                f"Expected each of the {part} of {path} to have a number of its own as `id`. "
                f"Received: {entry['id']!r}, twice or not a number"
            )
        found[entry["id"]] = str(entry[field])
    return found


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
