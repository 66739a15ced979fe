"""Folders of good photos and of defects, in MVTec AD's layout or bare."""

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

from keras_wrn.data.folder import ENDINGS, find_images, left_out_text
from keras_wrn.errors import DataError

GOOD = "good"
MASKS = "ground_truth"


@dataclasses.dataclass(frozen=True)
class TestPhoto:
    """A photo to evaluate on.

    Args:
        path: the file.
        kind: str, the name of its folder: "good", or the kind of the defect.
        mask: path of the picture of what is odd in it, or None.
    """

    path: Path
    kind: str
    mask: Path | None

    @property
    def is_odd(self):
        return self.kind != GOOD


def good_photos(folder):
    """The photos to learn from.

    Args:
        folder: path of a folder with train/good, as MVTec AD has it, or of a bare folder of photos.

    Returns:
        list of paths.

    Raises:
        DataError: there is no such folder, or no photo in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"Expected a folder of good photos. Received: {folder}")
    inside = folder / "train" / GOOD
    if not inside.is_dir():
        if (folder / "train").is_dir() or (folder / "test").is_dir():
            raise DataError(
                f"Expected good photos in {inside}, or a bare folder of them. Received: {folder}, "
                "with a train/ or test/ but without train/good/"
            )
        inside = folder
    return _images(inside, "good photos")


def test_photos(folder):
    """The photos to evaluate on, with their masks.

    Args:
        folder: path of a folder with test/good and test/KIND, and perhaps
            ground_truth/KIND/NAME_mask.png or NAME.png. If a kind has masks, each of its photos
            has one.

    Returns:
        list of `TestPhoto`.

    Raises:
        DataError: there is no such folder, no defect or no good photo in it, a mask is missing,
            is not one of a photo, or has another size.
    """
    folder = Path(folder)
    inside = folder / "test"
    if not inside.is_dir():
        raise DataError(f"Expected a folder with test/good and test/KIND. Received: {folder}")
    found = []
    for kind in sorted(x for x in inside.iterdir() if x.is_dir() and not x.name.startswith(".")):
        photos = _images(kind, "photos")
        masks = {} if kind.name == GOOD else _masks(folder / MASKS / kind.name, photos)
        found += [TestPhoto(path, kind.name, masks.get(path)) for path in photos]
    kinds = {photo.kind for photo in found}
    if GOOD not in kinds or len(kinds) < 2:
        raise DataError(
            f"Expected good photos in {inside / GOOD}, and photos of defects in a folder for each "
            f"kind beside it. Received: {', '.join(sorted(kinds)) or 'none'}"
        )
    return found


def mask_beside(path):
    """The mask of a photo in such a folder, test/KIND/NAME, by its path; None if there is none."""
    path = Path(path)
    folder = path.parents[2] / MASKS / path.parent.name if len(path.parents) > 2 else None
    if folder is None or path.parents[1].name != "test" or not folder.is_dir():
        return None
    return _by_photo(folder).get(path.stem)


def read_mask(path):
    """Where a photo is odd, bool (height, width), from its mask.

    Raises:
        DataError: the mask cannot be read.
    """
    with _opened(path) as image:
        return np.asarray(image.convert("L")) > 127


@contextlib.contextmanager
def _opened(path):
    """An open image file, which any error names."""
    try:
        with Image.open(path) as image:
            yield image
    except Exception as error:  # decoders raise what they like
        raise DataError(f"{path} cannot be read: {error}") from error


def _by_photo(folder):
    """The masks in a folder, by the name of their photo."""
    return {file.stem.removesuffix("_mask"): file for file in find_images(folder)[0]}


def _masks(folder, photos):
    """dict from photo to its mask; empty if there is no folder of them."""
    if not folder.is_dir():
        return {}
    by_name = _by_photo(folder)
    missing = [photo for photo in photos if photo.stem not in by_name]
    if missing:
        raise DataError(
            f"Expected a mask for each photo: {folder / missing[0].stem}_mask.png, or without "
            f"_mask. Missing: {len(missing)} of {len(photos)}, the first that of {missing[0]}"
        )
    masks = {photo: by_name[photo.stem] for photo in photos}
    for photo, mask in masks.items():
        with _opened(photo) as first, _opened(mask) as second:
            sizes = first.size, second.size
        if sizes[0] != sizes[1]:
            raise DataError(
                f"Expected a mask of the photo's size, {sizes[0][0]} x {sizes[0][1]}, in {mask}. "
                f"Received: {sizes[1][0]} x {sizes[1][1]}"
            )
    return masks


def _images(folder, what):
    files, others = find_images(folder)
    if files:
        return files
    more = f". {text}" if (text := left_out_text(others)) else ""
    raise DataError(f"Expected {what} ({', '.join(ENDINGS)}) in {folder}. Received: none{more}")
