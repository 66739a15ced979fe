"""Keras files, checked before Keras reads them: whole, and not larger than they seem."""

import io
import zipfile
from pathlib import Path

import h5py
import keras

from keras_wrn.errors import WeightsError
from keras_wrn.weights.pickled import UNPACKED, check_archive
from keras_wrn.weights.reading import reading

MODEL = "what `model.save` writes"
WEIGHTS = "what `model.save_weights` writes"
HDF5 = b"\x89HDF\r\n\x1a\n"  # the first bytes of such a file
MEMBER = "model.weights.h5"


def read_model(path):
    """The model in a `.keras` file or a legacy Keras 2 `.h5` file, not compiled.

    All checksums of a `.keras` archive are checked first, those of its weights too.

    Raises:
        PermissionError: this user may not read the file.
        WeightsError: (a ValueError) anything else is wrong with the file.
    """
    path = Path(path)
    with reading(path, f"not {MODEL}"):
        _check_model(path)
        return keras.models.load_model(path, compile=False)


def load_weights(model, path):
    """Load a network's weights from a `.weights.h5`, `.weights.json` (sharded) or `.keras` file.

    Raises:
        PermissionError: this user may not read the file.
        WeightsError: (a ValueError) no such file, a damaged one, or one for another network.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"Expected a file with {WEIGHTS}. There is none: {path}")
    if path.suffix == ".keras":
        stored = read_model(path)
    with reading(path, f"not {WEIGHTS}, of the network {model.name!r}"):
        if path.suffix == ".h5":
            _check_h5(path, path)
        model.load_weights(path)
    if path.suffix == ".keras" and getattr(stored, "preprocessing", None) is not None:
        model.preprocessing = stored.preprocessing


def _check_model(path):
    with open(path, "rb"):  # raises if it may not be read
        pass
    if h5py.is_hdf5(path):
        return _check_h5(path, path)
    if not zipfile.is_zipfile(path):
        raise WeightsError(f"{path} is damaged: it is not the archive that `model.save` writes.")
    with zipfile.ZipFile(path) as archive:
        has_weights = MEMBER in archive.namelist()
        if has_weights:
            with archive.open(MEMBER) as member:
                if member.read(len(HDF5)) != HDF5:
                    raise WeightsError(f"{path} is damaged: its {MEMBER} is not of Keras.")
        check_archive(archive, path)
        if has_weights:
            with io.BytesIO(archive.read(MEMBER)) as member:  # in the archive each seek is slow
                _check_h5(member, path)


def _check_h5(file, path):
    """Raise a WeightsError if arrays would be much larger than their file."""
    with h5py.File(file) as opened:
        sizes = []

        def add(_, item):
            if isinstance(item, h5py.Dataset):
                sizes.append(item.size * item.dtype.itemsize)

        opened.visititems(add)
    size = path.stat().st_size
    if sum(sizes) > UNPACKED * size:
        raise WeightsError(
            f"{path} declares {sum(sizes):,} bytes of weights, but the file has only {size:,}."
        )
