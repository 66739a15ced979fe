"""PyTorch files, read without running their code or allocating the memory they ask for."""

import math
import pickle
import re
import types
import zipfile

from keras_wrn.errors import WeightsError

ZIP, PICKLE = b"PK\x03\x04", b"\x80"  # the first bytes of PyTorch's files since 1.6, and before
UNPACKED = 4  # times a file's size that it may unpack to; PyTorch compresses nothing
TYPES = re.compile(r"\w+Storage$|(bfloat|float|int|uint|complex)\d+\w*$|bool$")
SAFE = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_tensor_v3"),  # for float8
    ("torch.storage", "UntypedStorage"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch.serialization", "_get_layout"),
    ("torch", "Size"),
    ("torch", "device"),
}


class _Inert:
    """Replaces every global in a file that is not a tensor: it takes anything and does nothing."""

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
    """An unpickler that knows tensors and their containers, and makes all else `_Inert`."""

    def find_class(self, module, name):
        known = (module, name) in SAFE or (module == "torch" and TYPES.match(name))
        return super().find_class(module, name) if known else _Inert


class _Survey(pickle.Unpickler):
    """An unpickler that builds nothing, and raises if a file asks for more than it can hold."""

    def __init__(self, file, size):
        super().__init__(file)
        self.size, self.numbers, self.storages = size, 0, {}

    def find_class(self, module, name):
        if name.startswith("_rebuild_tensor"):
            return self._tensor
        return _Inert

    def persistent_load(self, saved):
        _, _, key, _, numbers, *_ = saved
        self.storages[key] = numbers
        self._check(f"{numbers} numbers", sum(self.storages.values()))

    def _tensor(self, storage, offset, shape, *_):
        numbers = math.prod(shape)
        self.numbers += numbers
        self._check(f"a tensor of the shape {tuple(shape)}", numbers)
        # Several tensors may share one storage, but not without limit.
        self._check("all its tensors", self.numbers, UNPACKED)

    def _check(self, what, numbers, times=1):
        if not isinstance(numbers, int) or not 0 <= numbers <= times * self.size:
            raise WeightsError(f"The file has {self.size:,} bytes, too few for {what}.")


def is_zip(path):
    """Whether a file is an archive, as PyTorch has written since 1.6."""
    with open(path, "rb") as file:
        return file.read(len(ZIP)) == ZIP


def load(path):
    """Load what `torch.save` put into a file. What is not a tensor becomes an inert object.

    Raises:
        WeightsError: a wrong checksum, a TorchScript program, or a file that asks for more memory
            than its size. Other damage may raise anything.
    """
    import torch

    size = path.stat().st_size
    if is_zip(path):
        with zipfile.ZipFile(path) as archive:
            check_archive(archive, path)
            names = archive.namelist()
            if any(name.endswith("constants.pkl") for name in names):
                raise WeightsError(
                    f"{path} is a TorchScript program. Expected a checkpoint: save the network's "
                    "state_dict()."
                )
            for name in names:
                if name.endswith("data.pkl"):
                    with archive.open(name) as file:
                        _Survey(file, size).load()
    else:
        with open(path, "rb") as file:
            for _ in range(4):  # a magic number, a version, the system's sizes, and the content
                _Survey(file, size).load()
    reader = types.SimpleNamespace(
        Unpickler=_TensorsOnly,
        load=lambda file, **settings: _TensorsOnly(file, **settings).load(),
        __name__="pickle",
    )
    return torch.load(path, map_location="cpu", pickle_module=reader, weights_only=False)


def check_archive(archive, path):
    """Raise a WeightsError unless a `ZipFile` is intact and not much larger than its file."""
    size = path.stat().st_size
    unpacked = sum(info.file_size for info in archive.infolist())
    if unpacked > UNPACKED * size:
        raise WeightsError(
            f"{path} would be {unpacked:,} bytes once unpacked. Expected at most {UNPACKED} times "
            f"its size, {size:,} bytes."
        )
    damaged = archive.testzip()  # neither Keras nor PyTorch checks all checksums
    if damaged is not None:
        raise WeightsError(f"{path} is damaged: the checksum of {damaged} is wrong.")
