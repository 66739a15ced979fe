"""Checkpoints of every layout: the same logits, nothing silent, nothing run, and back."""

import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_wrn
from keras_wrn.catalog import from_checkpoint, weights_info
from keras_wrn.errors import WeightsError
from keras_wrn.weights import load_torch_weights, read_state_dict, save_torch_weights

torch = pytest.importorskip("torch", reason="needs torch, of the extra `parity`")
pytestmark = pytest.mark.extra("torch", "safetensors")
from networks import CIFAR  # noqa: E402
from reference_torch_resnet import ResNet, randomize  # noqa: E402

PHOTOS = sorted((Path(__file__).parents[2] / "../shared/images/imagenet_samples").glob("*.JPEG"))


def images(size, count=4):
    """Photos where there are some, else noise: normalised, (count, size, size, 3)."""
    preprocessing = keras_wrn.Preprocessing(size=size, mean=(0.45,) * 3, std=(0.25,) * 3)
    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype="uint8")
    if PHOTOS:
        from keras_wrn.data.images import image_pixels

        pixels = np.stack([image_pixels(path, preprocessing) for path in PHOTOS[:10]])
    return preprocessing.normalize(pixels)


def same(model, network, size=32):
    x = images(size)
    with torch.no_grad():
        expected = network(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    found = np.asarray(model.predict(x, verbose=0))
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    assert (found.argmax(-1) == expected.argmax(-1)).all()


def cifar_model(layout, depth=16, width=2, classes=7, **settings):
    special = {"deepmind": {"strided_padding": "tf", "activation": "silu"}}.get(layout, {})
    settings = {"classifier_activation": None, **special, **settings}
    return keras_wrn.WideResNet(depth, width, 0.3, classes=classes, **settings)


def imagenet(kind):
    """A network in PyTorch, and the same here with other weights."""
    settings = {"classes": 20, "input_shape": (64, 64, 3), "classifier_activation": None}
    if kind == "18":
        network = ResNet((2, 2, 2, 2), 0.5, False, 20)
        return randomize(network), keras_wrn.WideResNet18(0.5, **settings)
    return randomize(ResNet((3, 4, 6, 3), 2, True, 20)), keras_wrn.WideResNet50_2(**settings)


@pytest.mark.parametrize("layout", sorted(CIFAR))
@pytest.mark.parametrize("width", [1, 2])
def test_cifar_layouts_give_the_same_logits_and_go_back(layout, width, tmp_path):
    network = CIFAR[layout](width, 7)
    model = cifar_model(layout, width=width)
    assert load_torch_weights(model, network.state) == {"layout": layout, "ignored": []}
    same(model, network)
    path = tmp_path / "back.safetensors"
    save_torch_weights(model, path, layout)
    back = read_state_dict(path)
    assert sorted(back) == sorted(network.state)
    for name, value in network.state.items():
        np.testing.assert_array_equal(back[name], value.numpy())


@pytest.mark.parametrize("kind", ["18", "50_2"])
@pytest.mark.parametrize("layout", ["torchvision", "mmpretrain"])
def test_imagenet_layouts_give_the_same_logits_and_go_back(layout, kind, tmp_path):
    network, model = imagenet(kind)
    state = network.state_dict()
    if layout == "mmpretrain":
        state = {
            f"head.{name}" if name.startswith("fc.") else f"backbone.{name}": value
            for name, value in state.items()
        }
    result = load_torch_weights(model, state)
    assert result["layout"] == layout
    counters = [name for name in state if name.endswith("num_batches_tracked")]
    assert result["ignored"] == sorted(counters) and counters
    same(model, network, 64)
    path = tmp_path / "back.safetensors"
    save_torch_weights(model, path, layout)
    back = {name: torch.from_numpy(value) for name, value in read_state_dict(path).items()}
    assert set(back) == set(state) - set(counters)
    assert all(torch.equal(back[name], state[name]) for name in back)


class History:
    """What mmengine's files hold beside the tensors: a class that a reader may not have."""

    def __init__(self):
        self.values = [1.0, 2.0]


class Runs:
    """A pickle that would run a command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def checkpoint(state, path, kind):
    """Write a state dict as the file of some library."""
    state = OrderedDict(state)
    if kind == "bare":
        torch.save(state, path)
    elif kind == "old":
        torch.save(state, path, _use_new_zipfile_serialization=False)
    elif kind == "parallel":
        torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3}, path)
    elif kind == "mmengine":
        held = {"message_hub": {"loss": History()}, "meta": {"seed": 1}, "state_dict": state}
        torch.save(held, path)
    elif kind == "ema":
        worse = {k: v + 1 for k, v in state.items()}
        torch.save({"state_dict": worse, "state_dict_ema": state}, path)
    elif kind == "half":
        torch.save({k: v.half() for k, v in state.items()}, path)
    elif kind == "parameters":
        torch.save({k: torch.nn.Parameter(v) for k, v in state.items()}, path)


@pytest.mark.parametrize("kind", ["bare", "old", "parallel", "mmengine", "ema", "parameters"])
def test_files_of_every_kind(kind, tmp_path):
    network, path = CIFAR["xternalz"](1, 7), tmp_path / "w.pth"
    checkpoint(network.state, path, kind)
    model = cifar_model("xternalz", width=1)
    load_torch_weights(model, path)
    same(model, network)


def test_half_precision(tmp_path):
    network, path = CIFAR["xternalz"](1, 7), tmp_path / "w.pt"
    checkpoint(network.state, path, "half")
    model = cifar_model("xternalz", width=1)
    load_torch_weights(model, path)
    kernel = network.state["conv1.weight"].numpy().transpose(2, 3, 1, 0)
    np.testing.assert_allclose(model.get_layer("conv1").kernel, kernel, rtol=1e-3, atol=1e-6)


def test_converting_takes_what_the_layout_was_trained_with(tmp_path):
    for layout, network in ((name, CIFAR[name](2, 10)) for name in CIFAR):
        path = tmp_path / f"{layout}.pt"
        constants = {"mean": torch.full((3, 1, 1), 0.25), "std": torch.full((3, 1, 1), 0.5)}
        torch.save(network.state | (constants if layout == "deepmind" else {}), path)
        plain, found = from_checkpoint(path, "wrn_16_2")
        assert found == layout and (plain.preprocessing is None) == (layout != "deepmind")
        same(logits_of(plain), network)
        given = weights_info("wrn_16_2.cifar10").preprocessing
        model, _ = from_checkpoint(path, "wrn_16_2.mmrazor_cifar10")
        assert model.preprocessing.class_names[3] == "cat"
        expected = (0.25,) * 3 if layout == "deepmind" else model.preprocessing.mean
        assert model.preprocessing.mean == expected != given.mean
        model, _ = from_checkpoint(path, "wrn_16_2", preprocessing=given)
        assert (model.preprocessing == given) == (layout != "deepmind")
    model, _ = from_checkpoint(path, "wrn_16_2", activation="relu")
    assert model.get_layer("act_final").activation is keras.activations.relu


def logits_of(model):
    logits = keras_wrn.reset_classifier(model, model.output_shape[-1], classifier_activation=None)
    logits.layers[-1].set_weights(model.layers[-1].get_weights())
    return logits


@pytest.mark.parametrize("steps", [{}, {"steps": torch.tensor(7)}])
def test_of_mmengines_files_the_averaged_weights_are_taken(tmp_path, steps):
    averaged, raw = CIFAR["mmrazor"](1, 7, seed=1), CIFAR["mmrazor"](1, 7, seed=2)
    other = {f"module.{name}": value for name, value in raw.state.items()}
    torch.save(
        {"message_hub": {}, "state_dict": averaged.state, "ema_state_dict": steps | other},
        tmp_path / "w.pth",
    )
    model = cifar_model("mmrazor", width=1)
    load_torch_weights(model, tmp_path / "w.pth")
    same(model, averaged)
    average = {"n_averaged": torch.tensor(3), **other}  # torch's own AveragedModel
    load_torch_weights(model, average)
    same(model, raw)


def test_a_flipped_bit_is_found(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(CIFAR["xternalz"](1, 7).state, path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=r"w\.pth is damaged: the checksum of .* is wrong"):
        read_state_dict(path)


def test_what_is_no_number_is_refused():
    network, model = CIFAR["xternalz"](1, 7), cifar_model("xternalz", width=1)
    network.state["bn1.bias"][0] = float("nan")
    with pytest.raises(WeightsError, match=r"1 tensors with NaN or infinite values: bn1\.bias"):
        load_torch_weights(model, network.state)
    network.state["block1.layer.0.conv1.weight"] = torch.tensor(1.0)
    with pytest.raises(WeightsError, match=r"(?s)have no shape\..*conv1\.weight: \(\)"):
        load_torch_weights(model, network.state)


def test_back_to_torch_has_a_layout_of_its_own(tmp_path):
    for model, expected in ((keras_wrn.WideResNet(10, 1), "xternalz"),
                            (keras_wrn.WideResNet18(0.125), "torchvision")):  # fmt: skip
        assert save_torch_weights(model, tmp_path / f"{expected}.safetensors") == expected


@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_bfloat16(tmp_path, ending):
    from safetensors.torch import save_file

    network, path = CIFAR["xternalz"](1, 7), tmp_path / f"w{ending}"
    network.state = {name: value.bfloat16() for name, value in network.state.items()}
    (torch.save if ending == ".pt" else save_file)(network.state, path)
    model = cifar_model("xternalz", width=1)
    load_torch_weights(model, path)
    network.state = {name: value.float() for name, value in network.state.items()}
    same(model, network)


@pytest.mark.parametrize("new", [True, False])
def test_a_file_that_would_run_code_runs_none(tmp_path, new):
    network, path = CIFAR["xternalz"](1, 7), tmp_path / "w.pth"
    ran = tmp_path / "ran"
    held = {"state_dict": network.state, "trap": Runs(ran), "more": [Runs(ran)]}
    torch.save(held, path, _use_new_zipfile_serialization=new)
    model = cifar_model("xternalz", width=1)
    load_torch_weights(model, path)
    same(model, network)
    assert not ran.exists()
    torch.load(path, weights_only=False)  # the trap is one
    assert ran.exists()


def test_a_torchscript_program_is_refused(tmp_path):
    path = tmp_path / "w.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/constants.pkl", b"")
        archive.writestr("w/data.pkl", b"")
    with pytest.raises(WeightsError, match="TorchScript"):
        read_state_dict(path)


def before_and_after(model, source, message):
    """Loading fails with a message, and the model keeps its weights."""
    before = [np.asarray(value) for value in model.weights]
    with pytest.raises(WeightsError, match=message):
        load_torch_weights(model, source)
    for value, old in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(value, old)


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize("damage", ["cut", "garbage", "empty"])
def test_a_damaged_file_is_said(tmp_path, ending, damage):
    network, path = CIFAR["xternalz"](1, 7), tmp_path / f"w{ending}"
    if ending == ".pth":
        torch.save(network.state, path)
    else:
        from safetensors.torch import save_file

        save_file(network.state, path)
    data = path.read_bytes()
    path.write_bytes({"cut": data[: len(data) // 2], "garbage": b"?" * 99, "empty": b""}[damage])
    before_and_after(cifar_model("xternalz", width=1), path, "damaged or cut off")


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1, 2], "text"])
def test_a_file_without_tensors_is_said(tmp_path, content):
    path = tmp_path / "w.pth"
    path.write_bytes(pickle.dumps(content)) if content == "text" else torch.save(content, path)
    before_and_after(cifar_model("xternalz"), path, "no tensors|no checkpoint")


def test_nothing_is_silent():
    state = dict(CIFAR["xternalz"](2, 7).state)
    del state["block1.layer.0.conv1.weight"]
    state["block9.layer.0.conv1.weight"] = torch.zeros(1)
    state["fc.weight"] = torch.zeros(10, 128)
    message = (
        r"is not of the model 'wrn_16_2'(?s:.*)1 tensors missing in the checkpoint: "
        r"block1\.layer\.0\.conv1\.weight\.\n1 tensors not of the model: "
        r"block9\.layer\.0\.conv1\.weight\.\n1 tensors of another shape: "
        r"fc\.weight: \(10, 128\) in the checkpoint, \(7, 128\) in the model\."
    )
    before_and_after(cifar_model("xternalz"), state, message)


@pytest.mark.parametrize(
    ("width", "blocks", "classes", "words"),
    [
        (4, 2, 7, "it is wrn_16_4, with 7 classes"),
        (2, 3, 7, "it is wrn_22_2, with 7 classes"),
        (2, 2, 100, "it is wrn_16_2, with 100 classes"),
    ],
)
def test_a_checkpoint_says_which_network_it_is(width, blocks, classes, words):
    network = CIFAR["mmrazor"](width, classes, blocks=blocks)
    before_and_after(cifar_model("mmrazor"), network.state, words)


def test_an_imagenet_checkpoint_says_which_network_it_is():
    network, _ = imagenet("50_2")
    model = keras_wrn.WideResNet18(0.5, classes=20, input_shape=(64, 64, 3))
    before_and_after(model, network.state_dict(), "it is wide_resnet50_2, with 20 classes")


def test_the_family_and_the_padding_have_to_fit():
    network, resnet = imagenet("18")
    before_and_after(
        cifar_model("xternalz"), network.state_dict(), "'torchvision'.*imagenet family"
    )
    before_and_after(resnet, CIFAR["xternalz"](1, 7).state, "'xternalz'.*cifar family")
    model = cifar_model("xternalz")
    before_and_after(model, CIFAR["deepmind"](2, 7).state, r"`strided_padding='tf'`.*'torch'")
    model = cifar_model("xternalz", strided_padding="tf")
    before_and_after(model, CIFAR["xternalz"](2, 7).state, r"`strided_padding='torch'`.*'tf'")


def test_without_a_classifier_that_of_the_checkpoint_is_ignored():
    network = CIFAR["xternalz"](1, 7)
    trunk = keras_wrn.WideResNet(16, 1, include_top=False, pooling="avg")
    result = load_torch_weights(trunk, network.state)
    assert result["ignored"] == ["fc.bias", "fc.weight"]
    head = trunk.predict(images(32), verbose=0) @ network.state["fc.weight"].numpy().T
    whole = cifar_model("xternalz", width=1)
    load_torch_weights(whole, network.state)
    expected = whole.predict(images(32), verbose=0)
    found = head + network.state["fc.bias"].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_unused_parts_of_published_codes_are_ignored():
    state = dict(CIFAR["xternalz"](1, 7).state)
    state["sub_block1.layer.0.conv1.weight"] = torch.zeros(3)
    result = load_torch_weights(cifar_model("xternalz", width=1), state)
    assert result["ignored"] == ["sub_block1.layer.0.conv1.weight"]
    state = {**CIFAR["deepmind"](1, 7).state, "mean": torch.zeros(3), "std": torch.ones(3)}
    result = load_torch_weights(cifar_model("deepmind", width=1), state)
    assert result["ignored"] == ["mean", "std"]
    state["layer.0.block.9.batchnorm_0.running_mean"] = torch.zeros(3)
    before_and_after(cifar_model("deepmind", width=1), state, "1 tensors not of the model")


def test_wrong_arguments(tmp_path):
    model = cifar_model("xternalz", width=1)
    state = CIFAR["xternalz"](1, 7).state
    with pytest.raises(WeightsError, match=r"should be one of.*'timm'"):
        load_torch_weights(model, state, layout="timm")
    with pytest.raises(WeightsError, match=r"'mmrazor', such as 'backbone\.layer1"):
        load_torch_weights(model, state, layout="mmrazor")
    with pytest.raises(WeightsError, match="names of one of the layouts"):
        load_torch_weights(model, {"a": np.zeros(3)})
    with pytest.raises(WeightsError, match="There are no tensors"):
        load_torch_weights(model, {"a": "b"})
    with pytest.raises(FileNotFoundError):
        load_torch_weights(model, tmp_path / "absent.pth")
    (tmp_path / "w.h5").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"ends in \.safetensors"):
        load_torch_weights(model, tmp_path / "w.h5")
    with pytest.raises(WeightsError, match=r"ends in \.safetensors"):
        save_torch_weights(model, tmp_path / "w.pth", "xternalz")
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="mine")])
    with pytest.raises(WeightsError, match="'mine' has no name"):
        load_torch_weights(other, state)
    path = tmp_path / "w.safetensors"
    save_torch_weights(model, path, "xternalz")
    with pytest.raises(FileExistsError):
        save_torch_weights(model, path, "xternalz")


def test_the_command_goes_both_ways(tmp_path, monkeypatch, capsys):
    from keras_wrn import cli

    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        try:
            cli.main(["convert", *arguments])
        except SystemExit as stop:
            return stop.code
        return 0

    network = CIFAR["xternalz"](2, 7)
    torch.save(network.state, "w.pth")
    assert call("w.pth", "--model", "wrn_16_2", "--out", "new/w.keras") == 0
    told = capsys.readouterr()
    assert "wrn_16_2, 7 classes, from xternalz" in told.out
    assert "note: the file says nothing of how images are prepared" in told.err
    model = keras.models.load_model("new/w.keras")
    assert model.output_shape == (None, 7)
    back = ("new/w.keras", "--to", "torch", "--out", "w.safetensors")
    assert call(*back, "--layout", "xternals") == 2
    assert "one of" in capsys.readouterr().err
    assert call(*back, "--layout", "mmrazor") == 0
    state = CIFAR["mmrazor"](2, 7, seed=1)
    state.state = {k: torch.from_numpy(v) for k, v in read_state_dict("w.safetensors").items()}
    x = torch.from_numpy(images(32).transpose(0, 3, 1, 2).copy())
    assert torch.equal(state(x), network(x))
    for arguments, message in (
        (("w.pth", "--model", "wrn_28_2", "--out", "x.keras"), "it is wrn_16_2, with 7 classes"),
        (("w.pth", "--model", "wrn_16_9", "--out", "x.keras"), "it is wrn_16_2, with 7 classes"),
        (("w.pth", "--model", "wm_16_2", "--out", "x.keras"), "Unknown model"),
        (("w.pth", "--model", "wrn_16_2", "--preprocessing", "x", "--out", "x.keras"), "weights"),
        (
            ("w.pth", "--model", "wrn_16_2", "--preprocessing", "x.json", "--out", "x.keras"),
            "No such file or directory: x.json",
        ),
        (("w.pth", "--out", "x.keras"), "--model"),
        (("w.pth", "--model", "wrn_16_2", "--out", "new/w.keras"), "a new file"),
        (("absent.pth", "--model", "wrn_16_2", "--out", "x.keras"), "absent.pth"),
    ):
        assert call(*arguments) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "x.keras").exists()
    torch.save(CIFAR["xternalz"](2, 10).state, "ten.pth")
    weights_info("wrn_16_2").preprocessing.save(tmp_path)
    Path("mine.json").write_text(Path("preprocessing.json").read_text())
    files = "preprocessing.json", "mine.json"
    for number, given in enumerate(("cifar10", "wrn_16_2.cifar10", *files)):
        out = f"{number}.keras"
        settings = ["--model", "wrn_16_2", "--preprocessing", given, "--out", out]
        assert call("ten.pth", *settings) == 0
        model = keras.models.load_model(out)
        assert model.preprocessing == weights_info("wrn_16_2").preprocessing
        assert keras_wrn.inference_model(out, images(32)[0].clip(0, 255))["pred_class"]
    assert "note" not in capsys.readouterr().err
    Path("mine.json").write_text('{"size": 32}')
    assert (
        call("ten.pth", "--model", "wrn_16_2", "--preprocessing", "mine.json", "--out", "x.keras")
        == 2
    )
    assert "mine.json is not what" in capsys.readouterr().err


def test_a_missing_package_is_said(tmp_path, monkeypatch):
    import sys

    for package, ending in (("torch", ".pth"), ("safetensors", ".safetensors")):
        path = tmp_path / f"w{ending}"
        path.write_bytes(b"")
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            if package == "safetensors":
                patch.setitem(sys.modules, "safetensors.numpy", None)
            with pytest.raises(WeightsError, match=f"needs the package {package}"):
                read_state_dict(path)
