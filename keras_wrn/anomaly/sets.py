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
        DataError: there is no such folder, no photo in it, or folders of photos in a bare one.
    """
    folder = _folder(folder, "good photos")
    if not (folder / "train").is_dir() and not (folder / "test").is_dir():
        return _bare(folder, "good photos")
    if not (folder / "train" / GOOD).is_dir():
        raise DataError(
            f"Expected good photos in {folder / 'train' / GOOD}, or a bare folder of them. "
            f"Received: {folder}, with a train/ or test/ but without train/good/"
        )
    return _images(folder / "train" / GOOD, "good photos")


def defect_photos(folder):
    """Photos of defects.

    Args:
        folder: path of a folder with test/KIND, as MVTec AD has it, or of a bare folder of photos.

    Returns:
        list of paths, without those in test/good.

    Raises:
        DataError: there is no such folder, no defect in it, or folders of photos in a bare one.
    """
    folder = _folder(folder, "photos of defects")
    if not (folder / "test").is_dir():
        return _bare(folder, "photos of defects")
    found = [
        path for kind in _kinds(folder / "test") if kind.name != GOOD
        for path in _images(kind, "photos")
    ]  # fmt: skip
    if not found:
        raise DataError(f"Expected photos of defects in {folder / 'test'}/KIND. Received: none")
    return found


def test_photos(folder):
    """The photos to evaluate on, with their masks.

    Args:
        folder: path of a folder with test/good and test/KIND, and perhaps
            ground_truth/KIND/NAME_mask.png or NAME.png. If a kind has masks, each of its photos
            has one.

    Returns:
        list of `TestPhoto`.

    Raises:
        DataError: there is no such folder, no defect or no good photo in it; a photo or mask cannot
            be read; or a mask is missing, is that of no photo, has another size, or marks nothing.
    """
    folder = Path(folder)
    inside = folder / "test"
    if not inside.is_dir():
        raise DataError(f"Expected a folder with test/good and test/KIND. Received: {folder}")
    found = []
    for kind in _kinds(inside):
        photos = _images(kind, "photos")
        masks = {} if kind.name == GOOD else _masks(folder / MASKS / kind.name, kind, photos)
        found += [TestPhoto(path, kind.name, masks.get(path)) for path in photos]
    kinds = {photo.kind for photo in found}
    unknown = {x.name for x in _kinds(folder / MASKS)} - kinds
    if unknown:
        raise DataError(
            f"Expected the kinds of {inside} in {folder / MASKS}. Received: "
            f"{', '.join(sorted(unknown))}, of which there are no photos"
        )
    if GOOD not in kinds or len(kinds) < 2:
        raise DataError(
            f"Expected good photos in {inside / GOOD}, and photos of defects in a folder for each "
            f"kind beside it. Received: {', '.join(sorted(kinds)) or 'none'}"
        )
    return found


def mask_beside(path):
    """The mask of a photo in such a folder, test/KIND/NAME, by its path; None if there is none."""
    path = Path(path).absolute()
    for inside in path.parents:
        if inside.name == "test" and inside != path.parent:
            kind = inside / path.relative_to(inside).parts[0]
            folder = inside.parent / MASKS / kind.name
            return _by_photo(folder).get(_key(path, kind)) if folder.is_dir() else None
    return None


def read_mask(path):
    """Where a photo is odd, bool (height, width), from its mask: above half of what it can hold.

    Raises:
        DataError: the mask cannot be read, or marks nothing.
    """
    with _opened(path) as image:
        values = np.asarray(image if image.mode.startswith("I") else image.convert("L"))
        top = 65535 if image.mode.startswith("I") else 255
    mask = values > top // 2
    if not mask.any():
        raise DataError(
            f"Expected white, {top}, where a photo is odd in {path}. Received: a mask without any, "
            f"of {values.min()} to {values.max()}"
        )
    return mask


@contextlib.contextmanager
def _opened(path):
    """An open image file, which any error names."""
    try:
        with Image.open(path) as image:
            yield image
    except Exception as error:  # decoders raise what they like
        raise DataError(f"{path} cannot be read: {error}") from error


def _by_photo(folder):
    """The masks in a folder, by the path of their photo in its own, without the ending."""
    return {_key(file, folder).removesuffix("_mask"): file for file in find_images(folder)[0]}


def _key(file, folder):
    return file.relative_to(folder).with_suffix("").as_posix()


def _masks(folder, kind, photos):
    """dict from photo to its mask; empty if there is no folder of them."""
    if not folder.is_dir():
        return {}
    by_photo = _by_photo(folder)
    keys = {photo: _key(photo, kind) for photo in photos}
    missing = [photo for photo, key in keys.items() if key not in by_photo]
    if missing:
        raise DataError(
            f"Expected a mask for each photo: {folder / keys[missing[0]]}_mask.png, or without "
            f"_mask. Missing: {len(missing)} of {len(photos)}, the first that of {missing[0]}"
        )
    spare = sorted(set(by_photo) - set(keys.values()))
    if spare:
        raise DataError(
            f"Expected a photo in {kind} for each mask in {folder}. Received: {len(spare)} without "
            f"one, the first {by_photo[spare[0]]}"
        )
    masks = {photo: by_photo[key] for photo, key in keys.items()}
    for photo, mask in masks.items():
        with _opened(photo) as image:
            width, height = image.size
        found = read_mask(mask).shape
        if found != (height, width):
            raise DataError(
                f"Expected a mask of the photo's size, {width} x {height}, in {mask}. Received: "
                f"{found[1]} x {found[0]}"
            )
    return masks


def _folder(path, what):
    path = Path(path)
    if not path.is_dir():
        raise DataError(f"Expected a folder of {what}. Received: {path}")
    return path


def _kinds(folder):
    """The folders in a folder, sorted, but for hidden ones."""
    if not folder.is_dir():
        return []
    return sorted(x for x in folder.iterdir() if x.is_dir() and not x.name.startswith("."))


def _bare(folder, what):
    """The photos of a folder without others below it."""
    inside = [kind for kind in _kinds(folder) if find_images(kind)[0]]
    if inside:
        raise DataError(
            f"Expected {what} in {folder} and no folders of photos, or MVTec AD's layout. Received "
            f"there: {', '.join(f'{kind.name}/' for kind in inside[:5])}"
        )
    return _images(folder, what)


def _images(folder, what):
    files, others = find_images(folder)
    if files:
        return files
    more = f". {text}" if (text := left_out_text(others)) else ""
    raise DataError(f"Expected {what} ({', '.join(ENDINGS)}) in {folder}. Received: none{more}")
