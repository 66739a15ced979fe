"""A folder of images, one sub-folder per class, as arrays or as a stream of batches."""

import dataclasses
import os
from collections import Counter
from pathlib import Path

import numpy as np

from keras_wrn.data.labels import label_numbers
from keras_wrn.data.names import checked_names, one_form
from keras_wrn.data.photos import NAMED, Files, Photos
from keras_wrn.errors import DataError
from keras_wrn.files import printable

ENDINGS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")
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

    @property
    def source(self):
        """The files, to be read by index."""
        return Files(self.files, self.path)

    def photos(self, preprocessing):
        """The `Photos`, as a preprocessing resizes and crops them."""
        return Photos(self.source, preprocessing)

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
            if path.is_symlink() and not path.exists() and ending in ENDINGS:
                images.append(path)  # to be named when it cannot be read
            elif not path.is_file():  # such as a pipe
                continue
            elif ending in ENDINGS:
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
        hidden = child.name.startswith(".")
        if not hidden and child.is_symlink() and not child.exists():
            raise DataError(f"{child} is a link that leads nowhere, or back to itself")
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
        names = checked_names(class_order(found))
    except ValueError as error:
        raise DataError(f"Sub-folders of {path} name classes. {error}") from error
    files = tuple(file for name in names for file in found[name])
    labels = tuple(label for label, name in enumerate(names) for _ in found[name])
    return ImageFolder(path, names, files, labels, dict(left_out))


def class_order(names):
    """The class names in the order of their labels."""
    numbers = label_numbers(names)
    if numbers and sorted(numbers) == list(range(len(numbers))):
        return sorted(names, key=int)
    return sorted(names)


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
    return folder.photos(preprocessing).in_memory(), np.asarray(folder.labels, "int32")


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
    photos, labels = folder.photos(preprocessing), np.asarray(folder.labels, "int32")
    for start in range(0, len(folder), batch_size):
        part = slice(start, start + batch_size)
        yield photos[part], labels[part]
