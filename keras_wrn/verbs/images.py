"""The images that `keras-wrn predict` is given, with names and, if known, true classes."""

import dataclasses
import os
import sys
from collections import Counter
from typing import Any

from keras_wrn.data.arrays import load_arrays
from keras_wrn.data.datasets import check_dataset, dataset_info
from keras_wrn.data.folder import find_images, left_out_text
from keras_wrn.data.imagenet import readable_names
from keras_wrn.data.labels import labels_of_folders
from keras_wrn.data.photo_sets import photo_set
from keras_wrn.errors import DataError
from keras_wrn.files import printable


@dataclasses.dataclass(frozen=True)
class Image:
    """An image to classify.

    Args:
        image: a path, URL or array.
        name: str, its name for display.
        label, true: the label and the name of its class if known, else None and "".
        folder: path of the folder that it was found below, if any.
    """

    image: Any
    name: str
    label: int | None = None
    true: str = ""
    folder: str | None = None


def images_of(data, count, data_dir):
    """The first test images of a dataset."""
    if check_dataset(data):
        part = photo_set(data, "test", data_dir)
        names = readable_names(part.class_names)
        return [
            Image(
                bytes(part.source.read(i)),
                part.source.name(i),
                part.labels[i],
                names[part.labels[i]],
            )
            for i in range(min(count, len(part)))
        ]
    arrays, labels = load_arrays(data, "test", data_dir=data_dir)
    names = dataset_info(data).class_names
    return [
        Image(image, f"{data} test {i}", int(label), names[label])
        for i, (image, label) in enumerate(zip(arrays[:count], labels[:count], strict=True))
    ]


def images_below(images):
    """The given files and URLs, with folders replaced by the images in them."""
    found = []
    others: Counter = Counter()
    for image in images:
        if os.path.isdir(image):
            inside, left_out = find_images(image)
            others += left_out
            if not inside:
                more = f". {left_out_text(left_out)}" if left_out else ""
                raise ValueError(f"There are no image files below {image}{more}")
            found += [Image(str(path), printable(str(path)), folder=image) for path in inside]
        else:
            if "://" not in image and not os.path.exists(image):
                raise FileNotFoundError(2, "No such file or directory", image)
            found.append(Image(image, printable(image)))
    if others:
        print(f"keras-wrn: note: {left_out_text(others)}", file=sys.stderr)
    return found


def with_true_classes(found, classifier):
    """The images with their true classes, if the sub-folders they are in, or else the folder they
    were found below, are named after classes."""
    inside: dict = {}
    for item in found:
        inside.setdefault(item.folder, set()).add(_sub_folder(item))
    labels: dict = {None: {}}
    for folder in inside.keys() - {None}:
        own = os.path.basename(os.path.abspath(folder))
        labels[folder] = _known(inside[folder] - {""}, classifier)
        if not labels[folder]:
            label = _known({own}, classifier).get(own)
            labels[folder] = dict.fromkeys(inside[folder], label)
    for item in found:
        label = labels[item.folder].get(_sub_folder(item))
        true = "" if label is None else classifier.class_names[label]
        yield dataclasses.replace(item, label=label, true=true)


def _sub_folder(item):
    """The sub-folder of its folder that an image is in, "" if it is in none."""
    inside = os.path.relpath(item.image, item.folder) if item.folder else ""
    return inside.partition(os.sep)[0] if os.sep in inside else ""


def _known(folders, classifier):
    """The labels of folders by their names, {} unless each is named after a class."""
    folders = sorted(folders)
    names = classifier.preprocessing.class_names
    try:
        labels = labels_of_folders(folders, names, classifier.classes, "")
    except DataError:
        return {}
    return dict(zip(folders, map(int, labels), strict=True))
