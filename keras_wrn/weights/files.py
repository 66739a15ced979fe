"""State dicts in files: read without running what the file says, and written."""

import contextlib
import pickle
import types
import zipfile
from pathlib import Path

import numpy as np

from keras_wrn.distribution import with_extra
from keras_wrn.files import written_aside

# Where published checkpoints keep their tensors; averaged weights first, as timm does.
WRAPPERS = (
    "state_dict_ema", "model_ema", "ema_state_dict", "state_dict", "model_state_dict", "model",
    "params", "net",
)  # fmt: skip
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
AVERAGING = ("steps", "n_averaged")  # counters of averaged weights, beside the tensors
SAFE = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch.serialization", "_get_layout"),
    ("torch", "Size"),
    ("torch", "device"),
}


class WeightsError(ValueError):
    """A checkpoint that cannot be read, or that is not of the network."""


class _Inert:
    """What stands for every global of a file that is not a tensor: it takes anything, and does
    nothing."""

    def __new__(cls, *_, **__):
        return object.__new__(cls)

    def __init__(self, *_, **__):
        pass

    def __call__(self, *_, **__):
        return _Inert()

    def __setstate__(self, _):
        pass

    def __setitem__(self, *_):
        pass

    def append(self, _):
        pass

    def extend(self, _):
        pass

    def add(self, _):
        pass

    def update(self, *_, **__):
        pass


class _TensorsOnly(pickle.Unpickler):
    """An unpickler that knows tensors and their containers, and takes all else for `_Inert`."""

    def find_class(self, module, name):
        known = (module, name) in SAFE or (module == "torch" and name.endswith("Storage"))
        return super().find_class(module, name) if known else _Inert


def read_state_dict(path):
    """Read the tensors of a checkpoint: `.safetensors`, `.pth`, `.pt` or `.bin`.

    Of a pickled file only tensors are made. Whatever else it names is never called.

    Args:
        path: the file.

    Returns:
        dict from name to NumPy array, unwrapped: see `unwrap`.

    Raises:
        FileNotFoundError: no such file.
        WeightsError: another ending, a damaged file, one without tensors, or a missing package.

    Example:

    ```python
    state = keras_wrn.weights.read_state_dict("wide_resnet50_2-95faca4d.pth")
    state["fc.weight"].shape   # (1000, 2048)
    ```
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Expected a checkpoint file. Received: {path}")
    if path.suffix == ".safetensors":
        with _damage(path), _package("safetensors", with_extra("weights")):
            import ml_dtypes  # noqa: F401, which teaches NumPy bfloat16
            from safetensors.numpy import load_file

            return unwrap(load_file(path), path)
    if path.suffix not in (".pth", ".pt", ".bin"):
        raise WeightsError(
            f"Expected a file that ends in .safetensors, .pth, .pt or .bin. Received: {path}"
        )
    with _damage(path), _package("torch", "torch"):
        import torch

        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()  # which torch does not look at
                if damaged is not None:
                    raise WeightsError(f"{path} is damaged: the checksum of {damaged} is wrong.")
                if any(name.endswith("constants.pkl") for name in archive.namelist()):
                    raise WeightsError(
                        f"{path} is a TorchScript program. Expected a checkpoint: save the "
                        "network's state_dict()."
                    )
        reader = types.SimpleNamespace(
            Unpickler=_TensorsOnly,
            load=lambda file, **settings: _TensorsOnly(file, **settings).load(),
            __name__="pickle",
        )
        loaded = torch.load(path, map_location="cpu", pickle_module=reader, weights_only=False)
        return unwrap(loaded, path)


def unwrap(loaded, what="the checkpoint"):
    """The tensors of what a checkpoint holds, as NumPy arrays by their bare names.

    Wrappers ("state_dict", "model", ...; averaged weights before others) and prefixes that all
    names share ("module.", ...) are taken off. Of mmengine's files "state_dict" is taken: there it
    holds the averaged weights, and "ema_state_dict" the others.

    Raises:
        WeightsError: there are no tensors.
    """
    found = loaded
    while isinstance(found, dict):
        mmengine = "message_hub" in found or "steps" in (found.get("ema_state_dict") or ())
        order = ("state_dict", *WRAPPERS) if mmengine else WRAPPERS
        inner = next((found[k] for k in order if isinstance(found.get(k), dict)), None)
        if inner is None:
            break
        found = inner
    tensors = {
        str(name): array
        for name, value in (found.items() if isinstance(found, dict) else ())
        if name not in AVERAGING and (array := _array(value)) is not None
    }
    if not tensors:
        raise WeightsError(f"There are no tensors in {what}. Expected a state dict.")
    for prefix in PREFIXES * 2:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def write_state_dict(state, path):
    """Write a dict from name to NumPy array as a `.safetensors` file, aside and then renamed."""
    if Path(path).suffix != ".safetensors":
        raise WeightsError(f"Expected a path that ends in .safetensors. Received: {path}")
    with _package("safetensors", with_extra("weights")):
        from safetensors.numpy import save_file
    with written_aside(path, overwrite=False, is_ours=Path.is_file, kind="a file") as new:
        save_file({name: np.ascontiguousarray(value) for name, value in state.items()}, new)


def _array(value):
    """A tensor as a NumPy array, None when it is something else. bfloat16 becomes float32."""
    if isinstance(value, np.ndarray):
        return value.astype("float32") if value.dtype.name == "bfloat16" else value
    if hasattr(value, "detach") and hasattr(value, "dtype"):
        value = value.detach().cpu()
        return (value.float() if value.is_floating_point() else value).numpy()
    return None


@contextlib.contextmanager
def _damage(path):
    """Say of any failure to read that the file is damaged."""
    try:
        yield
    except (WeightsError, MemoryError):
        raise
    except Exception as error:  # readers of damaged files raise what they like
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise WeightsError(
            f"{path} cannot be read: it is damaged or cut off, or no checkpoint. {reason}"
        ) from error


@contextlib.contextmanager
def _package(name, to_install):
    try:
        yield
    except ImportError as error:
        raise WeightsError(
            f"This file needs the package {name}: pip install '{to_install}'. {error}"
        ) from error
