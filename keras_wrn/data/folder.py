"""A folder of images, one sub-folder per class, as arrays or as a stream of batches."""

import dataclasses
import os
from collections import Counter
from pathlib import Path

import numpy as np

from keras_wrn.data.arrays import held_out_count
from keras_wrn.data.datasets import DATASETS
from keras_wrn.data.labels import label_numbers
from keras_wrn.data.names import checked_names, one_form
from keras_wrn.data.photos import NAMED, Files, Photos
from keras_wrn.errors import DataError
from keras_wrn.files import printable

ENDINGS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")
HELD_OUT = "val", "validation", "test"
MEMORY_SHARE = 0.5


@dataclasses.dataclass(frozen=True)
class ImageFolder:
    """The image files below a folder of class sub-folders.

    Args:
        path: the folder.
        class_names: tuple of str, the sub-folders' names: in numeric order if they are exactly the
            numbers from 0, else sorted.
        files: tuple of paths, sorted within each class.
        labels: tuple of int, the class of each file.
        left_out: dict from extension, in lower case, to the number of other files that are not
            hidden.
    """

    path: Path
    class_names: tuple[str, ...]
    files: tuple[Path, ...]
    labels: tuple[int, ...]
    left_out: dict[str, int] = dataclasses.field(default_factory=dict, hash=False)

    def __len__(self):
        return len(self.files)

    def take(self, indices):
        """The same folder with some of its files, by their indices."""
        return dataclasses.replace(
            self,
            files=tuple(self.files[i] for i in indices),
            labels=tuple(self.labels[i] for i in indices),
        )


def find_images(folder):
    """The image files below a folder, sorted, and the number of other files by extension.

    Files that are hidden, or in a hidden folder below it, are in neither.

    Raises:
        OSError: a folder below it cannot be read.
    """

    def fail(error):
        raise error

    images: list[Path] = []
    others: Counter[str] = Counter()
    for place, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(place, name) for name in names if not name.startswith(".")):
            ending = path.suffix.lower()
            if not path.is_file():  # a link to nowhere, a pipe
                continue
            if ending in ENDINGS:
                images.append(path)
            else:
                others[ending] += 1
    return sorted(images), others


def left_out_text(others):
    """A line on how many files of each extension were left out; "" if there are none.

    Example:

    ```python
    left_out_text({".jfif": 2, "": 1})   # "3 files were left out: 2 .jfif, 1 without ending; ..."
    ```
    """
    if not others:
        return ""
    count = sum(others.values())
    kinds = ", ".join(kinds_of_files(others))
    were = "file was" if count == 1 else "files were"
    return f"{count:,} {were} left out: {kinds}; images end in {', '.join(ENDINGS)}"


def kinds_of_files(others):
    """How many files there are of each extension, in words: a list of str, the most first."""
    kinds = sorted(others.items(), key=lambda item: (-item[1], item[0]))
    words = [f"{count} {printable(ending) or 'without ending'}" for ending, count in kinds]
    return words[:NAMED] + ["..."] * (len(words) > NAMED)


def scan_folder(path):
    """List the images of a folder that has one sub-folder for each class.

    Args:
        path: the folder. Hidden files and folders, and files without an image extension, are left
            out. Sub-folders whose names differ only in Unicode form are one class.

    Returns:
        `ImageFolder`.

    Raises:
        DataError: no such folder, fewer than two classes, a class without images, or a name that is
            not valid for a class.
    """
    path = Path(path)
    if not path.is_dir():
        raise DataError(f"Expected a folder with one sub-folder for each class. Received: {path}")
    found: dict = {}
    left_out: Counter = Counter()
    for child in sorted(path.iterdir()):
        if child.is_dir() and not child.name.startswith("."):
            files, others = find_images(child)
            found.setdefault(one_form(child.name), []).extend(files)
            left_out += others
    if len(found) < 2:
        raise DataError(
            f"Expected at least 2 sub-folders of {path}, one for each class, with images inside. "
            f"Received: {', '.join(found) or 'none'}"
        )
    empty = [name for name, files in found.items() if not files]
    if empty:
        more = f". {text}" if (text := left_out_text(left_out)) else ""
        raise DataError(
            f"Expected images ({', '.join(ENDINGS)}) in each class of {path}. Received: none in "
            f"{', '.join(empty)}{more}"
        )
    try:
        names = checked_names(_ordered(found))
    except ValueError as error:
        raise DataError(f"Sub-folders of {path} name classes. {error}") from error
    files = tuple(file for name in names for file in found[name])
    labels = tuple(label for label, name in enumerate(names) for _ in found[name])
    return ImageFolder(path, names, files, labels, dict(left_out))


def _ordered(names):
    """The class names in the order of their labels."""
    numbers = label_numbers(names)
    if numbers and sorted(numbers) == list(range(len(numbers))):
        return sorted(names, key=int)
    return sorted(names)


def scan_splits(path, validation=0, seed=0):
    """The training and the held-out images of a folder.

    It has train/ and one of val/, validation/ and test/. With `validation`, part of train/ is held
    out instead, or of the class sub-folders if the folder has only those: stratified by class, by
    `seed`.

    Args:
        path: the folder.
        validation: int, a number of images, or float below 1, a share of them.
        seed: int.

    Returns:
        Two `ImageFolder`s with the same classes.

    Raises:
        DataError: see `scan_folder`; or nothing is held out, or a class is missing from one of
            the two.
    """
    path = Path(path)
    if not path.is_dir():
        raise DataError(
            "Expected a folder that holds train/ and val/, or one sub-folder for each class; or "
            f"one of the datasets {', '.join(DATASETS)}. Received: {path}"
        )
    held_out = next((path / name for name in HELD_OUT if (path / name).is_dir()), None)
    if not (path / "train").is_dir():
        if held_out is not None:
            raise DataError(f"Expected a folder that holds train/ beside {held_out.name}/: {path}")
        where = f"train/ and val/ in {path}"
        return _hold_out(scan_folder(path), validation, seed, where)
    train = scan_folder(path / "train")
    if held_out is not None and not validation:
        test = scan_folder(held_out)
        missing = sorted(set(train.class_names) - set(test.class_names))
        unknown = sorted(set(test.class_names) - set(train.class_names))
        if missing or unknown:
            problems = [f"without {', '.join(missing)}"] * bool(missing)
            problems += [f"with {', '.join(unknown)}, of which there are none in train/"] * bool(
                unknown
            )
            raise DataError(
                f"Expected the classes of {train.path} in {held_out}. Received: it "
                f"{' and '.join(problems)}"
            )
        return train, test
    return _hold_out(train, validation, seed, f"one of {', '.join(HELD_OUT)} beside {train.path}")


def _hold_out(train, validation, seed, otherwise):
    classes = len(train.class_names)
    count = held_out_count(validation, len(train))
    if not classes <= count < len(train):
        raise DataError(
            f"Expected {otherwise}, or `data.validation`, a share of the images such as 0.2 or "
            f"their number: at least one of each of the {classes} classes and fewer than "
            f"{len(train)}. Received: data.validation={validation}"
        )
    from sklearn.model_selection import train_test_split

    try:
        kept, held = train_test_split(
            np.arange(len(train)), test_size=count, stratify=train.labels, random_state=seed
        )
    except ValueError as error:
        raise DataError(f"{train.path} cannot be split: {error}") from error
    parts = train.take(np.sort(kept)), train.take(np.sort(held))
    for part, what in zip(parts, ("for training", "held out"), strict=True):
        missing = [n for i, n in enumerate(train.class_names) if i not in part.labels]
        if missing:
            raise DataError(
                f"Expected images of each class of {train.path} {what}. Received: none of "
                f"{', '.join(missing)} with data.validation={validation}"
            )
    return parts


def folder_photos(folder, preprocessing):
    """The images of a folder, which stay on disk: `Photos` in the folder's order.

    Args:
        folder: `ImageFolder`.
        preprocessing: `Preprocessing`, whose size, crop and interpolation are used.
    """
    return Photos(Files(folder.files, folder.path), preprocessing)


def read_folder(folder, preprocessing):
    """Decode all images of a folder into memory.

    Args:
        folder: `ImageFolder`.
        preprocessing: `Preprocessing`, whose size, crop and interpolation are used.

    Returns:
        images, uint8 (n, size, size, 3), and labels, int32 (n,), in the folder's order.

    Raises:
        DataError: files that cannot be decoded; the message names them.
    """
    return folder_photos(folder, preprocessing).in_memory(), np.asarray(folder.labels, "int32")


def fits_memory(*wanted):
    """Whether images fit into half of this machine's memory.

    Args:
        *wanted: pairs of the number of images and their side in pixels. Each is kept twice, as an
            array and by the framework.
    """
    needed = 2 * sum(count * side * side * 3 for count, side in wanted)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return needed <= MEMORY_SHARE * memory


def stream_folder(folder, preprocessing, batch_size):
    """Yield the images of a folder in batches of arrays and labels, as `read_folder` has them.

    Raises:
        DataError: files that cannot be decoded.
    """
    photos, labels = folder_photos(folder, preprocessing), np.asarray(folder.labels, "int32")
    for start in range(0, len(folder), batch_size):
        part = slice(start, start + batch_size)
        yield photos[part], labels[part]
