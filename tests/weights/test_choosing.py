"""Which of a file's dictionaries are taken, by which names, and what is said of it."""

import keras
import numpy as np
import pytest

import keras_wrn
from keras_wrn.catalog import from_checkpoint
from keras_wrn.errors import WeightsError
from keras_wrn.weights import load_torch_weights, read_state_dict, save_torch_weights

torch = pytest.importorskip("torch", reason="needs torch, of the extra `parity`")
pytestmark = pytest.mark.extra("torch", "safetensors")
from networks import CIFAR  # noqa: E402

RAW, AVERAGED = CIFAR["xternalz"](1, 7, seed=1), CIFAR["xternalz"](1, 7, seed=2)


def model(**settings):
    return keras_wrn.WideResNet(16, 1, **{"classes": 7, "classifier_activation": None, **settings})


def assert_same(network, reference):
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    expected = reference(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    found = np.asarray(network(x))
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def saved(path, content):
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("raw", "key"),
    [("model", "ema_model"), ("state_dict", "ema"), ("model", "swa_state_dict"),
     ("student", "averaged_model"), ("state_dict", "state_dict_ema")],
)  # fmt: skip
def test_averaged_weights_come_first_and_the_others_by_their_key(tmp_path, raw, key):
    path = saved(tmp_path / "w.pth", {raw: RAW.state, "epoch": 3, key: AVERAGED.state})
    network = model()
    result = load_torch_weights(network, path)
    assert result == {"layout": "xternalz", "ignored": [], "taken": key, "others": [raw]}
    assert_same(network, AVERAGED)
    result = load_torch_weights(network, path, weights=raw)
    assert (result["taken"], result["others"]) == (raw, [key])
    assert_same(network, RAW)
    name = "conv1.weight"
    np.testing.assert_array_equal(read_state_dict(path)[name], AVERAGED.state[name])
    np.testing.assert_array_equal(read_state_dict(path, raw)[name], RAW.state[name])
    with pytest.raises(WeightsError, match=rf"w\.pth: .*'{key}'. Received: weights='best'"):
        load_torch_weights(network, path, weights="best")


@pytest.mark.parametrize(
    ("keys", "name"),
    [("state_dict", "model_best.pth.tar"), ("net_state_dict", "w.pth"), ("weights", "checkpoint"),
     ("network", "w.ckpt"), ("student", "w.h5"), ("mine", "w.pth"), ("trainer.net.best", "w.pt")],
)  # fmt: skip
def test_weights_are_found_by_what_they_are(tmp_path, keys, name):
    content = RAW.state
    for key in reversed(keys.split(".")):
        content = {key: content}
    optimizer = {"state": {0: {"momentum_buffer": torch.ones(16, 3, 3, 3)}}, "param_groups": []}
    content |= {
        "optimizer": optimizer,
        "optim": {"exp_avg": AVERAGED.state},
        "best_acc": torch.tensor(93.1),
        "epoch": 3,
    }
    network = model()
    assert "taken" not in load_torch_weights(network, saved(tmp_path / name, content))
    assert_same(network, RAW)


def test_averages_of_a_part_are_refused_with_what_else_there_is(tmp_path):
    trained = {name: value for name, value in AVERAGED.state.items() if "running" not in name}
    path = saved(tmp_path / "w.pth", {"model": RAW.state, "ema": {"shadow": trained}})
    message = r"w\.pth, of which 'ema\.shadow' was taken and not 'model', is not(?s:.*)running_mean"
    with pytest.raises(WeightsError, match=message):
        load_torch_weights(model(), path)


def test_where_nothing_tells_the_keys_are_listed(tmp_path):
    path = saved(tmp_path / "w.pth", {"a": RAW.state, "b": AVERAGED.state})
    with pytest.raises(WeightsError, match=r"several sets of weights in .*w\.pth: 'a', 'b'"):
        load_torch_weights(model(), path)
    network = model()
    load_torch_weights(network, path, weights="b")
    assert_same(network, AVERAGED)
    path = saved(tmp_path / "w.pth", {"epoch": 3, "arch": "wrn", "history": [1.0]})
    with pytest.raises(WeightsError, match=r"w\.pth.* Received: the keys epoch, arch, history"):
        load_torch_weights(network, path)


@pytest.mark.parametrize(
    ("layout", "prefix"),
    [("xternalz", "1."), ("xternalz", "backbone."), ("functional", "module.encoder."),
     ("mmrazor", "net.model."), ("mmrazor", "backbone."), ("deepmind", "encoder.")],
)  # fmt: skip
def test_what_stands_before_all_names_is_taken_off(prefix, layout):
    reference = CIFAR[layout](1, 7)
    special = {"deepmind": {"strided_padding": "tf", "activation": "silu"}}.get(layout, {})
    network = model(**special)
    state = {prefix + name: value for name, value in reference.state.items()}
    assert load_torch_weights(network, state)["layout"] == layout
    assert_same(network, reference)


@pytest.mark.parametrize(
    ("prefix", "head"), [("", "linear"), ("", "output"), ("backbone.", "head")]
)
def test_a_classifier_of_another_name_is_known(prefix, head):
    renamed = {f"fc.{part}": f"{head}.{part}" for part in ("weight", "bias")}
    state = {
        renamed.get(name, prefix + name): value for name, value in RAW.state.items()
    }  # the head stands outside of the backbone
    network = model()
    load_torch_weights(network, state)
    assert_same(network, RAW)
    state[f"{head}.weight2"] = torch.zeros(3)
    with pytest.raises(WeightsError, match=rf"1 tensors not of the model: {head}\.weight2"):
        load_torch_weights(network, state)


def test_of_two_networks_neither_is_taken():
    state = {f"{who}.{k}": v for who in ("student", "teacher") for k, v in RAW.state.items()}
    with pytest.raises(WeightsError, match=r"of one network.*with 'student\.', 'teacher\.'"):
        load_torch_weights(model(), state)


@pytest.mark.parametrize("kind", ["float8_e4m3fn", "float8_e5m2"])
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_short_floats(tmp_path, kind, ending):
    from safetensors.torch import save_file

    reference = CIFAR["xternalz"](1, 7)
    state = {name: value.to(getattr(torch, kind)) for name, value in reference.state.items()}
    path = tmp_path / f"w{ending}"
    (torch.save if ending == ".pth" else save_file)(state, path)
    network = model()
    load_torch_weights(network, path)
    reference.state = {name: value.float() for name, value in state.items()}
    assert_same(network, reference)


@pytest.mark.parametrize(
    ("mean", "std", "prefix", "scale"),
    [("mu", "sigma", "", 1), ("mean", "std", "", 255), ("0.mean", "0.std", "1.", 1),
     ("normalize.mean", "normalize.std", "model.", 1)],
)  # fmt: skip
def test_the_constants_of_the_input_become_the_preprocessing(tmp_path, mean, std, prefix, scale):
    state = {prefix + name: value for name, value in RAW.state.items()}
    values = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
    for name, value in zip((mean, std), values, strict=True):
        state[name] = torch.tensor(value).reshape(1, 3, 1, 1) * scale
    path = saved(tmp_path / "w.pt", {"state_dict": state})
    result = load_torch_weights(model(), path)
    assert result["ignored"] == sorted((mean, std))
    network, _ = from_checkpoint(path, "wrn_16_1")
    np.testing.assert_allclose(network.preprocessing.mean, values[0], rtol=1e-6)
    np.testing.assert_allclose(network.preprocessing.std, values[1], rtol=1e-6)
    assert network.preprocessing.size == 32
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype="uint8")
    given = torch.from_numpy(pixels.transpose(0, 3, 1, 2) / 255.0).float()
    normalized = (given - state[mean] / scale) / (state[std] / scale)
    expected = torch.softmax(RAW(normalized), -1).numpy()
    found = network(network.preprocessing.normalize(pixels))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("layer", ["predictions", "group1_block1_conv1"])
def test_lora_is_added_to_what_is_written_and_refuses_to_be_loaded_into(tmp_path, layer):
    network = model()
    load_torch_weights(network, RAW.state)
    network.get_layer(layer).enable_lora(2)
    for variable in network.get_layer(layer).weights[-2:]:
        variable.assign(np.random.default_rng(0).normal(0, 0.1, variable.shape))
    save_torch_weights(network, tmp_path / "w.safetensors", "xternalz")
    state = read_state_dict(tmp_path / "w.safetensors")
    assert set(state) == set(RAW.state)
    reference = CIFAR["xternalz"](1, 7)
    reference.state = {name: torch.from_numpy(value) for name, value in state.items()}
    assert_same(network, reference)
    with pytest.raises(WeightsError, match=f"'{layer}' has LoRA"):
        load_torch_weights(network, state)


def test_a_quantized_network_is_refused_by_name(tmp_path):
    network = model()
    network.get_layer("predictions").quantize("int8")
    with pytest.raises(WeightsError, match=r"'predictions' has no name in .* kernel_scale"):
        save_torch_weights(network, tmp_path / "w.safetensors", "xternalz")


class SemiSupervised(type(RAW)):
    """xternalz' names with the activation of the semi-supervised codes."""

    def activation(self, x):
        return torch.nn.functional.leaky_relu(x, 0.1)


def test_converting_says_what_it_took_and_assumed(tmp_path, monkeypatch, capsys):
    from keras_wrn import cli

    monkeypatch.chdir(tmp_path)
    reference = SemiSupervised(1, 7)
    saved("w.pth", {"model": RAW.state, "ema_model": reference.state})

    def call(*arguments):
        cli.main(["convert", "w.pth", "--model", "wrn_16_1", *arguments])
        return capsys.readouterr().out

    told = call("--out", "a.keras", "--activation", "leaky_relu:0.1").splitlines()
    assert told[1] == "Took the weights 'ema_model'; there are also 'model' (--weights KEY)"
    assert told[2].startswith(
        "Assumed, because the file does not say: the activation leaky_relu:0.1 (--activation); "
        "shortcuts"
    )
    assert "epsilon 1e-05" in told[2] and "even padding" in told[2]
    network = keras.models.load_model("a.keras")
    trunk = keras.Model(network.input, network.layers[-1].input)
    weights, bias = network.layers[-1].get_weights()
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    expected = reference(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    np.testing.assert_allclose(trunk(x) @ weights + bias, expected, rtol=1e-4, atol=1e-4)
    told = call("--out", "b.keras", "--weights", "model")
    assert "Took the weights 'model'; there are also 'ema_model'" in told
    assert "the activation relu (--activation)" in told


@pytest.mark.parametrize("wrong", ["leaky_relu:steep", "leaky_relu:-1", "silu:0.1"])
def test_an_activation_that_is_none_is_said(tmp_path, wrong):
    with pytest.raises(ValueError, match=wrong):
        model(activation=wrong)
    path = saved(tmp_path / "w.pth", RAW.state)
    with pytest.raises(ValueError, match=wrong) as error:  # and the file is not called damaged
        from_checkpoint(path, "wrn_16_1", activation=wrong)
    assert str(path) not in str(error.value)


def test_a_slope_is_that_of_the_activation():
    activation = model(activation="leaky_relu:0.1").get_layer("act_final").activation
    np.testing.assert_allclose(activation(np.array([-1.0, 2.0])), [-0.1, 2.0], rtol=1e-6)
