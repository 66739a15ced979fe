"""Reads and writes state dicts in files."""

import contextlib
import hashlib
from pathlib import Path

import numpy as np

from keras_wrn.distribution import install_extra
from keras_wrn.errors import WeightsError
from keras_wrn.files import written_aside
from keras_wrn.weights import pickled
from keras_wrn.weights.choosing import choose
from keras_wrn.weights.reading import reading

CHECKSUM = "keras_wrn.sha256"  # in the metadata of files written here
OTHERWISE = "no checkpoint of PyTorch or safetensors"
TYPES = {  # from safetensors' names to those of NumPy and ml_dtypes
    "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "BOOL": "bool",
    "F16": "float16", "F32": "float32", "F64": "float64", "I8": "int8", "I16": "int16",
    "I32": "int32", "I64": "int64", "U8": "uint8", "U16": "uint16", "U32": "uint32",
    "U64": "uint64",
}  # fmt: skip
# Published files, whose names end in the first 8 digits of their SHA-256.
PUBLISHED = (
    "wide_resnet50_2-95faca4d.pth",
    "wide_resnet50_2-9ba9bcbe.pth",
    "wide_resnet50_racm-8234f177.pth",
    "wide_resnet101_2-32ee1156.pth",
    "wide_resnet101_2-d733dc28.pth",
    "wrn16_2_b16x8_cifar10_20220831_204709-446b466e.pth",
    "wrn22-w4_b16x8_cifar10_20221201_170638-1d044c6f.pth",
    "wrn28_4_b16x8_cifar10_20220831_173536-d6f8725c.pth",
    "wrn40-w2_b16x8_cifar10_20221201_170318-761c8c55.pth",
)
ENDINGS = (".safetensors", ".pth", ".pt", ".bin")


def read_state_dict(path, weights=None):
    """Read the tensors of a checkpoint: a safetensors or PyTorch file of any name.

    From a pickled file only tensors are built. Anything else that it names is never called.

    Args:
        path: the file. Its content tells the format; its name may be anything.
        weights: str, the key of the weights to take if there are several, such as "model". None for
            the averaged ones ("state_dict_ema", "ema_model", ...), or if there are none, the usual
            ones ("state_dict", "model", ...).

    Returns:
        dict from name to NumPy array, without prefixes that all names share ("module.", ...).

    Raises:
        OSError: no such file, or no permission to read it.
        WeightsError: (a ValueError) a damaged file, one of another kind, one without tensors or
            without that key, one with a wrong checksum, or a missing package.

    Example:

    ```python
    state = keras_wrn.weights.read_state_dict("wide_resnet50_2-95faca4d.pth")
    state["fc.weight"].shape   # (1000, 2048)
    ```
    """
    return read_checkpoint(path, weights)[0]


def among(what, taken, others):
    """A file's name, and which of several sets of weights were taken from it, for messages."""
    if not others:
        return what
    return f"{what}, of which {taken!r} was taken and not {', '.join(map(repr, others))},"


def read_checkpoint(path, weights=None):
    """The tensors as in `read_state_dict`, their key ("" for the whole file) and the other keys."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Expected a checkpoint file. Received: {path}")
    _check_published(path)
    with reading(path, OTHERWISE):
        if _is_safetensors(path):
            return choose(_read_safetensors(path), path, weights)
        with _package("torch", "pip install torch"):
            return choose(pickled.load(path), path, weights)


def sha256(path):
    """The SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_published(path):
    """Compare a published file with the hash in its name; older ones have no other checksum."""
    digest = path.stem.rpartition("-")[2]
    if path.name in PUBLISHED and not sha256(path).startswith(digest):
        raise WeightsError(
            f"{path} is damaged, or not the file that was published under this name: the checksum "
            f"of it is wrong. Expected a SHA-256 that begins with {digest}."
        )


def _is_safetensors(path):
    """Whether a file is a safetensors file, by its content; by its name if that is unclear."""
    with open(path, "rb") as file:
        begin = file.read(9)
    if begin[8:] == b"{":  # after the length of the header
        return True
    if begin.startswith((pickled.ZIP, pickled.PICKLE)):
        return False
    if path.suffix not in ENDINGS:
        raise WeightsError(
            "Expected a checkpoint of PyTorch or safetensors, whose name as a rule ends in "
            f"{', '.join(ENDINGS)}. Received: {path}"
        )
    return path.suffix == ".safetensors"


def _read_safetensors(path):
    with _package("safetensors", install_extra("weights")):
        import ml_dtypes
        from safetensors import deserialize, safe_open

    def as_array(tensor):
        kind = TYPES.get(tensor["dtype"], tensor["dtype"])
        numbers = np.frombuffer(bytearray(tensor["data"]), getattr(ml_dtypes, kind, kind))
        return numbers.reshape(tensor["shape"])

    with safe_open(path, "numpy") as file:
        stored = (file.metadata() or {}).get(CHECKSUM)
    loaded = {name: as_array(tensor) for name, tensor in deserialize(path.read_bytes())}
    if stored is not None and stored != _checksum(loaded):
        raise WeightsError(
            f"{path} is damaged, or was changed by others: the checksum of its weights is wrong."
        )
    return loaded


def write_state_dict(state, path):
    """Write a dict from name to NumPy array as a `.safetensors` file, aside and then renamed.

    Its metadata has a checksum of the weights, which `read_state_dict` checks.
    """
    if Path(path).suffix != ".safetensors":
        raise WeightsError(f"Expected a path that ends in .safetensors. Received: {path}")
    with _package("safetensors", install_extra("weights")):
        from safetensors.numpy import save_file
    state = {name: np.ascontiguousarray(value) for name, value in state.items()}
    with written_aside(path, overwrite=False, is_ours=Path.is_file, kind="a file") as new:
        save_file(state, new, metadata={CHECKSUM: _checksum(state)})


def _checksum(state):
    """SHA-256 of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(f"{name} {value.dtype.name} {value.shape}\n".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


@contextlib.contextmanager
def _package(name, command):
    try:
        yield
    except ImportError as error:
        raise WeightsError(f"This file needs the package {name}: {command}. {error}") from error
