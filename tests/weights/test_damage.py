"""Damaged files, files that ask for more than they hold, and files that may not be read."""

import errno
import io
import os
import pickle
import tempfile
import tracemalloc
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import keras_wrn
from keras_wrn.catalog import load_model
from keras_wrn.errors import WeightsError
from keras_wrn.weights import load_torch_weights, read_state_dict, save_torch_weights
from keras_wrn.weights.reading import reading

torch = pytest.importorskip("torch", reason="needs torch, of the extra `parity`")
pytestmark = pytest.mark.extra("torch", "safetensors")
SHAPE = {"depth": 10, "width": 1, "input_shape": (8, 8, 3)}
KINDS = ("m.keras", "m.weights.h5", "m.safetensors", "new.pth", "old.pth")
# What carries checksums: in the others a flipped bit in the middle is another weight.
CHECKED = ("m.keras", "m.safetensors", "new.pth")


@pytest.fixture(scope="module")
def network():
    model = keras_wrn.WideResNet(**SHAPE)
    model.preprocessing = keras_wrn.Preprocessing(size=8, class_names=tuple("abcdefghij"))
    return model


@pytest.fixture(scope="module")
def whole(network, tmp_path_factory):
    """A folder with the network in a file of each kind."""
    folder = tmp_path_factory.mktemp("whole")
    network.save(folder / "m.keras")
    network.save_weights(folder / "m.weights.h5")
    save_torch_weights(network, folder / "m.safetensors")
    arrays = read_state_dict(folder / "m.safetensors")
    state = {name: torch.from_numpy(value.copy()) for name, value in arrays.items()}
    torch.save(state, folder / "new.pth")
    torch.save(state, folder / "old.pth", _use_new_zipfile_serialization=False)
    return folder


def read(path):
    """The weights of a file, by the road that its users take."""
    if path.suffix == ".keras":
        return load_model(path).get_weights()
    if path.suffix == ".h5":
        return keras_wrn.WideResNet(**SHAPE, weights=path).get_weights()
    model = keras_wrn.WideResNet(**SHAPE)
    load_torch_weights(model, path)
    return model.get_weights()


def damaged(data, generator):
    """The bytes of a file with bits flipped, cut off, or with zeros or noise in some place."""
    data, size = bytearray(data), len(data)
    where = int(generator.choice([generator.integers(size), generator.integers(min(size, 3000)),
                                  size - 1 - generator.integers(min(size, 3000))]))  # fmt: skip
    how = generator.integers(4)
    if how == 0:
        data[where] ^= 1 << generator.integers(8)
    elif how == 1:
        del data[where:]
    else:
        length = len(data[where : where + 300])
        data[where : where + 300] = generator.bytes(length) if how == 2 else bytes(length)
    return bytes(data)


@pytest.mark.parametrize("name", KINDS)
def test_of_damage_comes_one_error_that_names_the_file(whole, network, tmp_path, name):
    data, path = (whole / name).read_bytes(), tmp_path / name
    generator = np.random.default_rng(0)
    errors = 0
    for _ in range(25):
        path.write_bytes(changed := damaged(data, generator))
        try:
            weights = read(path)
        except ValueError as error:
            assert str(path) in str(error)
            errors += 1
            continue
        if name in CHECKED and changed != data:
            for found, expected in zip(weights, network.get_weights(), strict=True):
                np.testing.assert_array_equal(found, expected)
    assert errors > 5


@pytest.mark.parametrize("name", CHECKED)
def test_a_flipped_bit_of_a_weight_is_found(whole, tmp_path, name):
    data = bytearray((whole / name).read_bytes())
    assert read(whole / name)
    place = len(data) // 2
    if zipfile.is_zipfile(whole / name):  # PyTorch leaves gaps between the tensors
        with zipfile.ZipFile(whole / name) as archive:
            largest = max(archive.infolist(), key=lambda member: member.file_size)
            place = data.index(archive.read(largest)) + largest.file_size // 2
    data[place] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=r"is damaged.*the checksum of .* is wrong"):
        read(tmp_path / name)


@pytest.mark.parametrize("member", ["config.json", "model.weights.h5"])
def test_no_member_of_a_model_may_be_missing(whole, tmp_path, member):
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(whole / "m.keras") as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            if name != member:
                target.writestr(name, source.read(name))
    with pytest.raises(ValueError, match=r"m\.keras cannot be read"):
        load_model(path)


def test_a_builder_looks_at_checksums_too(whole, tmp_path):
    data = bytearray((whole / "m.keras").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "m.keras").write_bytes(data)
    with pytest.raises(ValueError, match=r"m\.keras is damaged: the checksum"):
        keras_wrn.WideResNet(**SHAPE, weights=tmp_path / "m.keras")


def test_files_without_a_checksum_are_read_as_before(whole, network, tmp_path):
    from safetensors.numpy import save_file

    path = tmp_path / "m.safetensors"
    save_file({k: v.copy() for k, v in read_state_dict(whole / "m.safetensors").items()}, path)
    for found, expected in zip(read(path), network.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def peak(function):
    """The most bytes that NumPy and Python had while a function ran."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("old", [True, False])
def test_a_tensor_that_is_larger_than_its_file_is_refused(tmp_path, old):
    kernel = torch.as_strided(torch.zeros(1), (300_000, 100_000), (0, 0))
    path = tmp_path / "w.pth"
    torch.save({"fc.weight": kernel}, path, _use_new_zipfile_serialization=not old)

    def refused():
        with pytest.raises(
            WeightsError,
            match=r"w\.pth.*[\d,]+ bytes, too few for a tensor of the shape \(300000, 100000\)",
        ):
            read_state_dict(path)

    assert peak(refused) < 2**24


def test_many_tensors_of_one_storage_have_an_end(tmp_path):
    kernel, path = torch.zeros(2**16, dtype=torch.float16), tmp_path / "w.pth"
    torch.save({f"{i}.weight": kernel[:] for i in range(3)}, path)
    assert len(read_state_dict(path)) == 3
    torch.save({f"{i}.weight": kernel[:] for i in range(999)}, path)
    with pytest.raises(WeightsError, match=r"w\.pth.*too few for all its tensors"):
        read_state_dict(path)


def test_shapes_are_compared_before_values(whole):
    state = {
        name: torch.from_numpy(v.copy())
        for name, v in read_state_dict(whole / "m.safetensors").items()
    }
    state["fc.weight"] = torch.as_strided(torch.zeros(1), (300_000, 100_000), (0, 0))

    def refused():
        with pytest.raises(WeightsError, match=r"fc\.weight: \(300000, 100000\) in the checkpoint"):
            load_torch_weights(keras_wrn.WideResNet(**SHAPE), state)

    assert peak(refused) < 2**26


class Storage:
    """Pickles to a storage of a trillion numbers, as PyTorch's pickles name them."""


def test_a_storage_that_is_larger_than_its_file_is_refused(tmp_path):
    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if isinstance(value, Storage):
                return ("storage", torch.FloatStorage, "0", "cpu", 10**12, None)

    path = tmp_path / "w.pth"
    with open(path, "wb") as file:
        for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(value, file, 2)
        Pickler(file, 2).dump({"a": Storage()})
        pickle.dump(["0"], file, 2)
    with pytest.raises(WeightsError, match=r"w\.pth.*too few for .*1000000000000 numbers"):
        read_state_dict(path)


@pytest.mark.parametrize(
    ("packed", "message"),
    [("zeros", "is damaged: its model.weights.h5 is not of Keras"), ("archive", "once unpacked"),
     ("weights", "4,000,000,000 bytes of weights")],
)  # fmt: skip
def test_a_model_of_gigabytes_of_zeros_is_refused(whole, tmp_path, packed, message):
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(whole / "m.keras") as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            if name != "model.weights.h5":
                target.writestr(name, source.read(name))
            elif packed != "weights":
                info = zipfile.ZipInfo(name)
                if packed == "archive":
                    info.compress_type = zipfile.ZIP_DEFLATED
                with target.open(info, "w") as file:
                    file.write(source.read(name) if packed == "archive" else b"")
                    for _ in range(64):
                        file.write(bytes(2**20))
            else:
                with io.BytesIO() as file:
                    with h5py.File(file, "w") as weights:
                        # Without a byte in the file until something is written.
                        weights.create_dataset("a", (10**9,), "float32", chunks=(10**6,))
                    target.writestr(name, file.getvalue())

    def refused():
        with pytest.raises(ValueError, match=rf"m\.keras .*{message}"):
            load_model(path)

    assert peak(refused) < 2**24


def test_a_pickle_that_contains_itself_ends(tmp_path):
    level = {"w": torch.zeros(2, 2)}
    for _ in range(60):
        level = {"a": level, "b": level}
    level["self"] = level
    path = tmp_path / "w.pth"
    torch.save(level, path)
    assert list(read_state_dict(path)) == ["w"]


@pytest.mark.parametrize("config", ["[]", "null", '{"class_name": "ImageModel"}', "[" * 9999, "{"])
def test_an_odd_configuration_is_a_damaged_file(whole, tmp_path, config):
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(whole / "m.keras") as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            target.writestr(name, config if name == "config.json" else source.read(name))
    with pytest.raises(ValueError, match=r"m\.keras cannot be read"):
        load_model(path)


@pytest.fixture
def as_nobody():
    """A folder that all may enter, and a function to become a user who may read no file there."""
    if os.geteuid() != 0:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder), lambda: None
        return
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder), lambda: os.seteuid(65534)
        os.seteuid(0)


@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_may_not_be_read_is_not_called_damaged(whole, as_nobody, name):
    folder, become = as_nobody
    path = folder / name
    path.write_bytes((whole / name).read_bytes())
    path.chmod(0)
    keras_wrn.WideResNet(**SHAPE)  # what is imported is imported
    become()
    with pytest.raises(PermissionError) as error:
        read(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5", "m.weights.json"])
def test_a_file_that_is_absent_is_a_wrong_value_to_a_builder(tmp_path, name):
    with pytest.raises(ValueError, match=rf"There is none: .*{name}"):
        keras_wrn.WideResNet(**SHAPE, weights=tmp_path / name)


def test_weights_in_parts_are_taken(network, tmp_path):
    path = tmp_path / "m.weights.json"
    network.save_weights(path, max_shard_size=0.0002)
    assert len(list(tmp_path.iterdir())) > 2
    found = keras_wrn.WideResNet(**SHAPE, weights=path).get_weights()
    for weight, expected in zip(found, network.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)
    next(tmp_path.glob("*00001.weights.h5")).unlink()
    with pytest.raises(ValueError, match=r"m\.weights\.json cannot be read"):
        keras_wrn.WideResNet(**SHAPE, weights=path)


@pytest.mark.parametrize("read_it", [load_model, keras.models.load_model])
def test_a_file_of_keras_2s_kind_is_read(network, tmp_path, read_it):
    path = tmp_path / "m.h5"
    network.save(path)
    model = read_it(path)
    assert model.preprocessing == network.preprocessing
    assert [type(layer) for layer in model.layers] == [type(layer) for layer in network.layers]
    for weight, expected in zip(model.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_an_extractor_is_read_from_a_file_of_keras_2s_kind(network, tmp_path):
    extractor = keras_wrn.feature_extractor(network)
    extractor.save(tmp_path / "m.h5")
    read_back = load_model(tmp_path / "m.h5")
    assert read_back.feature_info == extractor.feature_info
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    for name, expected in extractor(x).items():
        np.testing.assert_array_equal(read_back(x)[name], expected)


def test_a_file_of_keras_2s_kind_runs_nothing(tmp_path):
    ran, path = tmp_path / "ran", tmp_path / "m.h5"

    def trap(x, ran=str(ran)):
        open(ran, "w").close()
        return x

    keras.Sequential([keras.Input((2,)), keras.layers.Lambda(trap)]).save(path)
    ran.unlink()
    with pytest.raises(ValueError, match=r"m\.h5 cannot be read"):
        load_model(path)
    assert not ran.exists()


def test_weights_alone_are_no_model(whole):
    with pytest.raises(ValueError, match=r"m\.weights\.h5 holds weights without their network"):
        load_model(whole / "m.weights.h5")


def test_converting_leaves_no_file_where_the_disk_is_full(whole, tmp_path, monkeypatch):
    from keras_wrn import cli
    from keras_wrn.models import ImageModel

    def full(self, path):
        Path(path).write_bytes(b"")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(ImageModel, "save", full)
    out = tmp_path / "new" / "m.keras"
    arguments = [str(whole / "new.pth"), "--model", "wrn_10_1", "--out", str(out)]
    with pytest.raises(SystemExit) as stop:
        cli.main(["convert", *arguments])
    assert stop.value.code == 1
    assert list(out.parent.iterdir()) == []


def test_what_the_disk_says_is_not_called_damage():
    with pytest.raises(OSError, match="Input/output error"), reading("w.pth", "no checkpoint"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
