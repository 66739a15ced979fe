"""The ImageNet family: counts of the paper's tables, and outputs against PyTorch."""

import math

import keras
import numpy as np
import pytest
from tiny import without_values

import keras_wrn
from keras_wrn.catalog import (
    WideResNet18,
    WideResNet34,
    WideResNet50_2,
    WideResNet101_2,
    create_model,
    model_info,
)
from keras_wrn.models import count_macs

# Table 7 with the stem at 64, Table 8, and what follows from the shapes.
COUNTS = [
    (WideResNet18, (1,), 11_689_512),
    (WideResNet18, (1.5,), 25_875_816),
    (WideResNet18, (2,), 45_618_216),
    (WideResNet18, (3,), 101_783_976),
    (WideResNet34, (1,), 21_797_672),
    (WideResNet34, (1.5,), 48_613_608),
    (WideResNet34, (2,), 86_036_008),
    (WideResNet34, (3,), 192_712_872),
    (WideResNet50_2, (), 68_883_240),
    (WideResNet101_2, (), 126_886_696),
]
NAMES = {
    "wide_resnet18_1": 30.4,
    "wide_resnet18_2": 25.58,
    "wide_resnet18_3": 24.06,
    "wide_resnet34_1": 26.77,
    "wide_resnet34_2": 23.39,
    "wide_resnet50_2": 21.9,
    "wide_resnet101_2": None,
}


def trainable(model):
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)


@pytest.mark.parametrize(("builder", "arguments", "params"), COUNTS)
def test_parameters(builder, arguments, params):
    model = without_values(builder, *arguments)
    assert trainable(model) == params
    assert model.output_shape == (None, 1000)


@pytest.mark.parametrize(("builder", "macs"), [(WideResNet50_2, 11.43), (WideResNet101_2, 22.80)])
def test_macs_are_those_of_the_cards(builder, macs):
    assert count_macs(without_values(builder)) / 1e9 == pytest.approx(macs, rel=0.01)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_names_in_the_catalogue(name):
    info = model_info(name)
    model = without_values(create_model, name)
    assert model.name == name
    assert trainable(model) == info.params
    error = NAMES[name]
    assert info.paper_error == ({} if error is None else {"imagenet2012": error})


def test_layer_names_are_regular():
    names = [layer.name for layer in without_values(WideResNet50_2).layers if layer.weights]
    assert names[:2] == ["conv1", "bn1"] and names[-1] == "predictions"
    block = [f"stage2_block1_{kind}{i}" for i in (1, 2, 3) for kind in ("conv", "bn")]
    block += ["stage2_block1_shortcut", "stage2_block1_shortcut_bn"]
    assert set(block) == {name for name in names if name.startswith("stage2_block1_")}
    assert sum(name.endswith("shortcut") for name in names) == 4
    basic = [layer.name for layer in without_values(WideResNet18).layers]
    assert sum(name.endswith("shortcut") for name in basic) == 3  # stage 1 keeps its 64 channels
    wide = [layer.name for layer in without_values(WideResNet18, 2).layers]
    assert sum(name.endswith("shortcut") for name in wide) == 4


def test_the_stride_is_on_the_3x3():
    model = without_values(WideResNet50_2)
    assert model.get_layer("stage2_block1_conv1").strides == (1, 1)
    assert model.get_layer("stage2_block1_conv2").strides == (2, 2)
    assert without_values(WideResNet18).get_layer("stage2_block1_conv1").strides == (2, 2)


def test_gamma_is_one_and_the_head_is_keras_applications():
    model = WideResNet18(0.25, classes=7, input_shape=(64, 64, 3), classifier_activation=None)
    np.testing.assert_array_equal(model.get_layer("stage1_block1_bn2").gamma, 1)
    assert model.output_shape == (None, 7)
    trunk = WideResNet18(0.25, include_top=False, input_shape=(None, None, 1))
    assert trunk.output_shape == (None, None, None, 128)
    assert trunk(np.zeros((1, 65, 96, 1), "float32")).shape == (1, 3, 3, 128)
    for pooling in ("avg", "max"):
        pooled = WideResNet18(0.25, include_top=False, pooling=pooling, input_shape=(64, 64, 3))
        assert pooled.output_shape == (None, 128)
    image = keras.Input((64, 64, 3))
    scaled = keras.layers.Rescaling(1 / 255)(image)
    assert WideResNet18(0.25, input_tensor=scaled).input is image


def test_tf_padding_keeps_the_shapes_and_changes_the_numbers():
    images = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("float32")
    settings = {"input_shape": (64, 64, 3), "classes": 5, "classifier_activation": None}
    keras.utils.set_random_seed(0)
    model, other = (WideResNet18(0.25, strided_padding=p, **settings) for p in ("torch", "tf"))
    for variable, value in zip(other.variables, model.variables, strict=True):
        variable.assign(value)
    outputs = np.asarray(model(images)), np.asarray(other(images))
    assert outputs[0].shape == outputs[1].shape
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, r"at least one channel of the 64.*width=0"),
        ({"width": "2"}, "width='2'"),
        ({"input_shape": (16, 16, 3)}, r"at least 32.*such as \(224, 224, 3\)"),
        ({"input_shape": 224}, r"such as \(224, 224, 3\).*input_shape=224"),
        ({"classes": 0}, "`classes`.*classes=0"),
        ({"pooling": "mean"}, "pooling='mean'"),
        ({"weights": "imagnet"}, "weights='imagnet'"),
    ],
)
def test_what_cannot_be_built_is_said(arguments, message):
    with pytest.raises(ValueError, match=message):
        WideResNet18(**arguments)


def test_saves_and_loads(tmp_path):
    model = WideResNet18(0.25, classes=5, input_shape=(64, 64, 3))
    model.preprocessing = keras_wrn.Preprocessing(size=64, mean=(0.5,) * 3, std=(0.25,) * 3)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    images = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("float32")
    np.testing.assert_array_equal(model(images), loaded(images))
    assert loaded.preprocessing == model.preprocessing


def torch_name(path):
    """The name in a state dict of torchvision or timm: written out, apart from the package's."""
    layer, _, variable = path.rpartition("/")
    kinds = {"gamma": "weight", "kernel": "weight", "beta": "bias", "bias": "bias"}
    kinds |= {"moving_mean": "running_mean", "moving_variance": "running_var"}
    layer = {"predictions": "fc"}.get(layer, layer)
    if layer.startswith("stage"):
        stage, block, part = layer.split("_", 2)
        part = {"shortcut": "downsample.0", "shortcut_bn": "downsample.1"}.get(part, part)
        layer = f"layer{stage[5:]}.{int(block[5:]) - 1}.{part}"
    return f"{layer}.{kinds[variable]}"


@pytest.mark.parametrize(
    ("builder", "layers", "width", "bottleneck"),
    [
        (lambda **s: WideResNet18(0.5, **s), (2, 2, 2, 2), 0.5, False),
        (lambda **s: WideResNet34(0.25, **s), (3, 4, 6, 3), 0.25, False),
        (WideResNet50_2, (3, 4, 6, 3), 2, True),
    ],
    ids=["18", "34", "50_2"],
)
@pytest.mark.extra("torch")
@pytest.mark.parametrize("size", [(64, 64), (65, 97)])
def test_outputs_equal_pytorch(builder, layers, width, bottleneck, size):
    import torch
    from reference_torch import to_torch_images
    from reference_torch_resnet import ResNet, randomize

    network = randomize(ResNet(layers, width, bottleneck, classes=20))
    model = builder(classes=20, input_shape=(*size, 3), classifier_activation=None)
    state = network.state_dict()
    left = {name for name in state if not name.endswith("num_batches_tracked")}
    for variable in model.variables:
        name = torch_name(variable.path)
        value = state[name].numpy()
        axes = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[value.ndim]
        variable.assign(value.transpose(axes))
        left.remove(name)
    assert not left
    images = np.random.default_rng(0).normal(size=(2, *size, 3)).astype("float32")
    with torch.no_grad():
        expected = network(to_torch_images(images)).numpy()
    found = np.asarray(model(images, training=False))
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    assert (found.argmax(-1) == expected.argmax(-1)).all()
