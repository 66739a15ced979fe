import keras
import pytest
from test_parameters import COUNTS, TABLE_2, TABLE_3, build, trainable

import keras_wrn
from keras_wrn.catalog import create_model, list_models, model_info
from keras_wrn.catalog.names import CATALOG
from keras_wrn.models import ImageModel, count_macs

SUFFIXED = [(f"wrn_{depth}_2_{block.lower()}", n) for block, depth, n in TABLE_2 if block != "B33"]
SUFFIXED += [(f"wrn_40_2_{block.lower()}", 2_243_546) for block, _ in TABLE_3 if block != "B33"]
PLAIN = [(f"wrn_{depth}_{width}", params) for depth, width, params, _ in COUNTS]


@pytest.mark.parametrize(("name", "params"), PLAIN + SUFFIXED)
def test_every_network_of_the_paper_has_a_name(name, params):
    info = model_info(name)
    assert info.params == params
    depth, width = name.split("_")[1:3]
    assert (info.arguments["depth"], info.arguments["width"]) == (int(depth), int(width))


def test_nothing_else_is_in_the_catalogue():
    imagenet = {name for name in CATALOG if name.startswith("wide_resnet")}  # in test_imagenet.py
    thin = {
        name for name in CATALOG if "resnet_" in name and "retinanet" not in name
    }  # in test_thin_resnet.py
    detectors = {name for name in CATALOG if name.startswith("retinanet")}  # in test_retinanet.py
    others = imagenet | thin | detectors
    assert set(CATALOG) - others == {name for name, _ in PLAIN + SUFFIXED}
    assert (len(imagenet), len(thin), len(detectors)) == (9, 5, 4)


@pytest.mark.parametrize("name", ["wrn_10_1", *(name for name, _ in SUFFIXED)])
def test_arguments_build_the_network_they_describe(name):
    info = model_info(name)
    assert trainable(build(**info.arguments)) == info.params


# Tables 2, 3, 4, 5 and 6 of the paper.
@pytest.mark.parametrize(
    ("name", "errors"),
    [
        ("wrn_28_10", {"cifar10": 4.00, "cifar100": 19.25}),
        ("wrn_40_4", {"cifar10": 4.53, "cifar100": 21.18}),
        ("wrn_16_8", {"cifar10": 4.27, "cifar100": 20.43}),
        ("wrn_16_4", {"cifar10": 5.02, "cifar100": 24.03, "svhn_cropped": 1.85}),
        ("wrn_52_1", {"cifar10": 6.43, "cifar100": 29.89, "svhn_cropped": 2.08}),
        ("wrn_28_12", {"cifar10": 4.33, "cifar100": 20.43}),
        ("wrn_40_8", {"cifar10": 4.66}),
        ("wrn_22_2_b313", {"cifar10": 5.78}),
        ("wrn_40_2_b131", {"cifar10": 6.06}),
        ("wrn_40_2_b3333", {"cifar10": 5.93}),
        ("wrn_16_2", {}),
        ("preact_resnet_164", {"cifar10": 5.46, "cifar100": 24.33}),
        ("preact_resnet_1001", {"cifar10": 4.92, "cifar100": 22.71}),
        ("resnet_1202", {"cifar10": 7.93, "cifar100": 27.82}),
    ],
)
def test_the_papers_error(name, errors):
    assert model_info(name).paper_error == errors


def test_list_models_matches_a_shell_pattern():
    assert list_models("wrn_16_*") == [f"wrn_16_{k}" for k in (1, 10, 2, 4, 8)]
    assert list_models() == sorted(CATALOG)
    assert list_models("resnet*") == ["resnet_110", "resnet_1202"]
    assert list_models("vgg*") == []
    assert "wide_resnet50_2.racm_in1k" in list_models("wide_resnet50_*", pretrained=True)
    assert list_models("wrn_16_2", pretrained=True) == ["wrn_16_2.cifar10",
                                                        "wrn_16_2.mmrazor_cifar10"]  # fmt: skip


def test_create_model_takes_overrides():
    model = create_model("wrn_10_1", classes=7, dropout=0.3, input_shape=(8, 8, 1))
    assert isinstance(model, ImageModel)
    assert model.name == "wrn_10_1"
    assert model.output_shape == (None, 7)
    assert model.get_layer("group3_block1_dropout2").rate == 0.3


def test_an_unknown_name_is_an_error_with_the_nearest_names():
    with pytest.raises(ValueError, match=r"Did you mean wrn_28_10.*Received: 'wrn28_10'"):
        create_model("wrn28_10")
    with pytest.raises(ValueError, match=r"list_models.*Received: 'x'"):
        model_info("x")


@pytest.mark.parametrize(
    ("depth", "width", "giga"),
    [(16, 2, 0.101), (28, 4, 0.846), (40, 4, 1.299), (16, 8, 1.548), (28, 10, 5.243)],
)
def test_multiply_accumulates_of_one_image(depth, width, giga):
    assert round(count_macs(build(depth, width)) / 1e9, 3) == giga


def test_multiply_accumulates_of_what_is_not_frozen():
    model = build(10, 1)
    whole, stem = count_macs(model), 32 * 32 * 9 * 3 * 16
    model.get_layer("conv1").trainable = False
    assert count_macs(model) == whole
    assert count_macs(model, trained_only=True) == whole - stem


def test_multiply_accumulates_need_a_size():
    with pytest.raises(ValueError, match=r"fixed input size.*None"):
        count_macs(build(10, 1, input_shape=(None, None, 3)))


def test_any_size_of_the_cifar_family_has_a_name():
    assert create_model("wrn_10_1.5").name == "wrn_10_1.5"
    assert model_info("wrn_34_20").arguments == {"depth": 34, "width": 20}
    with pytest.raises(ValueError, match="`depth` should be an integer 6 N"):
        create_model("wrn_17_1")
    assert create_model("wide_resnet18_1.5").count_params() > 25_875_816
    assert model_info("wide_resnet34_1.5").params == 48_613_608


def test_no_input_shape_is_what_keras_applications_makes_of_it():
    assert create_model("wrn_10_1", input_shape=None).input_shape == (None, 32, 32, 3)
    trunk = create_model("wide_resnet18_1", input_shape=None, include_top=False)
    assert trunk.input_shape == (None, None, None, 3)
    assert create_model("wide_resnet18_1", input_shape=None).input_shape == (None, 224, 224, 3)


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda: create_model("wrn_16_2"), "wrn_16_2.cifar10"),
        (lambda: create_model("wrn_28_4", classes=3), "wrn_28_4.mmrazor_cifar10"),
        (lambda: create_model("wide_resnet50_2"), "wide_resnet50_2.tv2_in1k"),
        (lambda: keras_wrn.WideResNet(16, 2, dropout=0.3), "wrn_16_2.cifar10"),
        (lambda: keras_wrn.WideResNet50_2(classes=5), "wide_resnet50_2.tv2_in1k"),
        (lambda: keras_wrn.WideResNet101_2(include_top=False), "wide_resnet101_2.tv2_in1k"),
    ],
)
def test_a_published_network_that_starts_at_random_says_so(build, name, capfd):
    with keras.StatelessScope(initialize_variables=False):
        build()
    keras.backend.clear_session()
    out, errors = capfd.readouterr()
    assert not out and errors.count("\n") == 1
    model, _, tag = name.partition(".")
    assert f"{model} starts with random weights" in errors and name in errors and tag in errors


@pytest.mark.parametrize(
    "build",
    [
        lambda: create_model("wrn_16_2.cifar10"),
        lambda: create_model("wrn_16_2", pretrained=True),
        lambda: create_model("wrn_16_2", weights="cifar10"),
        lambda: create_model("wrn_16_2", block="B31"),
        lambda: keras_wrn.WideResNet(16, 2, block="B31"),
        lambda: create_model("wrn_10_1"),
        lambda: create_model("wide_resnet18_1"),
        lambda: keras_wrn.reset_classifier("wrn_16_2", 3),
    ],
)
def test_other_networks_say_nothing(build, capfd):
    build()
    assert "random weights" not in capfd.readouterr().err
