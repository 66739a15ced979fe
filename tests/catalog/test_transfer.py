"""Feature maps, new classifiers and frozen stages."""

import keras
import numpy as np
import pytest

import keras_wrn
from keras_wrn.models.stages import copy_trunk, freeze_stages

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def small():
    model = keras_wrn.WideResNet(16, 2, input_shape=(16, 16, 3))
    model.preprocessing = keras_wrn.Preprocessing(16, class_names=[f"c{i}" for i in range(10)])
    return model


@pytest.fixture(scope="module")
def large():
    return keras_wrn.WideResNet18(1, input_shape=(None, None, 3), classes=7)


def test_cifar_features_are_the_raw_sums(small):
    extractor = keras_wrn.feature_extractor(small, stages=(3, 1))
    x = RNG.normal(size=(2, 16, 16, 3)).astype("float32")
    maps = extractor(x)
    assert list(maps) == ["stage3", "stage1"]
    for stage, name in ((1, "group1_block2_add"), (3, "group3_block2_add")):
        expected = keras.Model(small.input, small.get_layer(name).output)(x)
        np.testing.assert_array_equal(maps[f"stage{stage}"], expected)
    assert extractor.feature_info == {
        "stage3": {"channels": 128, "stride": 4}, "stage1": {"channels": 32, "stride": 1},
    }  # fmt: skip
    assert extractor.preprocessing is small.preprocessing


def test_activated_cifar_features_are_what_the_next_batch_norm_makes_of_them(small):
    x = RNG.normal(size=(2, 16, 16, 3)).astype("float32")
    maps = keras_wrn.feature_extractor(small, (0, 2, 3), activated=True)(x)
    names = {"stem": "group1_block1_act1", "stage2": "group3_block1_act1", "stage3": "act_final"}
    for output, name in names.items():
        expected = keras.Model(small.input, small.get_layer(name).output)(x)
        np.testing.assert_array_equal(maps[output], expected)
        assert np.min(maps[output]) >= 0


@pytest.mark.parametrize("activated", [False, True])
def test_imagenet_features_have_their_strides_and_channels(large, activated):
    extractor = keras_wrn.feature_extractor(large, range(5), activated=activated)
    maps = extractor(RNG.normal(size=(1, 96, 64, 3)).astype("float32"))
    channels = {"stem": 64, "stage1": 64, "stage2": 128, "stage3": 256, "stage4": 512}
    for name, stride in zip(channels, (2, 4, 8, 16, 32), strict=True):
        assert extractor.feature_info[name] == {"channels": channels[name], "stride": stride}
        assert maps[name].shape == (1, 96 // stride, 64 // stride, channels[name])
        assert np.min(maps[name]) >= 0


def test_wide_resnet50_2_has_the_maps_that_anomaly_detection_takes():
    model = keras_wrn.WideResNet50_2(include_top=False, input_shape=(32, 32, 3))
    info = keras_wrn.feature_extractor(model).feature_info
    assert info == {
        "stage2": {"channels": 512, "stride": 8}, "stage3": {"channels": 1024, "stride": 16},
    }  # fmt: skip


def test_an_extractor_is_saved_and_loaded(small, tmp_path):
    extractor = keras_wrn.feature_extractor(small, 2)
    extractor.save(tmp_path / "features.keras")
    loaded = keras.models.load_model(tmp_path / "features.keras")
    x = RNG.normal(size=(2, 16, 16, 3)).astype("float32")
    np.testing.assert_array_equal(loaded(x)["stage2"], extractor(x)["stage2"])
    assert loaded.feature_info == extractor.feature_info
    assert loaded.preprocessing == extractor.preprocessing


@pytest.mark.parametrize("stages", [(4,), (), (1, 1), ("2",), (True,), 7])
def test_a_stage_that_is_not_there_is_refused(small, stages):
    with pytest.raises(ValueError, match=r"`stages` should be different ones of \[0, 1, 2, 3\]"):
        keras_wrn.feature_extractor(small, stages)


def test_the_stem_alone_has_its_stride(small):
    large = keras_wrn.WideResNet18(0.25, input_shape=(64, 64, 3))
    assert keras_wrn.feature_extractor(large, 0).feature_info["stem"]["stride"] == 2
    assert keras_wrn.feature_extractor(small, 0).feature_info["stem"]["stride"] == 1


def test_a_name_stands_for_a_model():
    assert keras_wrn.feature_extractor("wrn_16_2.cifar10", 3).feature_info["stage3"]["stride"] == 4
    assert keras_wrn.reset_classifier("wrn_16_2.cifar10", 3).output_shape == (None, 3)
    with pytest.raises(ValueError, match="Expected a Keras model"):
        keras_wrn.feature_extractor("absent")


def test_thawed_stages_train_again():
    model = keras_wrn.WideResNet(10, 1)
    count = len(model.trainable_variables)
    freeze_stages(model, 3)
    freeze_stages(model, 1)
    assert 2 < len(model.trainable_variables) < count
    freeze_stages(model, 0)
    assert len(model.trainable_variables) == count


def test_other_models_are_refused():
    inputs = keras.Input((8, 8, 3))
    with pytest.raises(ValueError, match="a network of this package"):
        keras_wrn.feature_extractor(keras.Model(inputs, keras.layers.Conv2D(4, 3)(inputs)))


def test_a_new_classifier_has_its_names_and_activation(small):
    names = ["cat", "dog", "owl"]
    model = keras_wrn.reset_classifier(small, 3, class_names=names)
    assert model.output_shape == (None, 3)
    assert model.preprocessing.class_names == ("cat", "dog", "owl")
    assert small.output_shape == (None, 10) and len(small.preprocessing.class_names) == 10
    assert keras_wrn.reset_classifier(small, 3).preprocessing.class_names == ()
    logits = keras_wrn.reset_classifier(small, 3, classifier_activation=None)
    assert logits.layers[-1].activation is keras.activations.linear


def weights_of(model):
    return [np.copy(keras.ops.convert_to_numpy(v)) for v in model.variables]


def train(model, classes):
    model.compile(keras_wrn.SGD(0.1), "sparse_categorical_crossentropy", jit_compile=False)
    x = RNG.normal(size=(8, *model.input_shape[1:])).astype("float32")
    model.fit(x, np.arange(8) % classes, verbose=0)


@pytest.mark.parametrize("source", ["small", "large"])
def test_training_with_a_new_classifier_leaves_the_given_network(source, request):
    given = request.getfixturevalue(source)
    before = weights_of(given)
    model = keras_wrn.reset_classifier(given, 3, frozen_stages=1)
    x = RNG.normal(size=(2, 32, 32, 3)).astype("float32")[:, : given.input_shape[1]]
    x = x[:, :, : given.input_shape[2]]
    features = [keras.Model(m.inputs[0], m.layers[-1].input)(x) for m in (given, model)]
    np.testing.assert_allclose(*features, atol=1e-6)
    assert given.get_layer("conv1").trainable and not model.get_layer("conv1").trainable
    if source == "small":
        train(model, 3)
    for a, b in zip(before, weights_of(given), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_trunk_is_shared_on_request():
    given = keras_wrn.WideResNet(10, 1, input_shape=(8, 8, 3))
    model = keras_wrn.reset_classifier(given, 3, share_layers=True)
    assert model.get_layer("group1_block1_conv1") is given.get_layer("group1_block1_conv1")
    before = weights_of(given)
    train(model, 3)
    assert not np.array_equal(before[0], weights_of(given)[0])


@pytest.mark.parametrize("share", [False, True])
def test_what_the_user_froze_stays_frozen(share):
    given = keras_wrn.WideResNet(10, 1, input_shape=(8, 8, 3))
    norms = [x.name for x in given.layers if isinstance(x, keras.layers.BatchNormalization)]
    for name in norms:
        given.get_layer(name).trainable = False
    for stages in (0, 1):
        model = keras_wrn.reset_classifier(given, 3, frozen_stages=stages, share_layers=share)
        assert not any(model.get_layer(name).trainable for name in norms)
        assert model.get_layer("group2_block1_conv1").trainable
        assert model.get_layer("group1_block1_conv1").trainable == (stages == 0)
    given.trainable = False
    model = keras_wrn.reset_classifier(given, 3, share_layers=share)
    assert [v.path for v in model.trainable_variables] == ["predictions/kernel", "predictions/bias"]


def test_no_classes_take_the_classifier_off(small, large):
    for given, channels in ((small, 128), (large, 512)):
        model = keras_wrn.reset_classifier(given, 0)
        assert model.output_shape == (None, channels)
        assert model.layers[-1].name == "avg_pool"
    features = keras_wrn.reset_classifier(small, 0)
    assert features.preprocessing.class_names == () and features.preprocessing.size == 16
    x = RNG.normal(size=(2, 16, 16, 3)).astype("float32")
    pooled = keras.Model(small.input, small.get_layer("avg_pool").output)
    np.testing.assert_allclose(features(x), pooled(x), atol=1e-6)
    trunk = keras_wrn.WideResNet(10, 1, include_top=False)
    assert keras_wrn.reset_classifier(trunk, 0).output_shape == (None, 64)
    assert keras_wrn.reset_classifier(features, 4).output_shape == (None, 4)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_clone_keeps_the_preprocessing(small, compiled):
    extractor = keras_wrn.feature_extractor(small, 2)
    model = keras_wrn.WideResNet(10, 1, include_preprocessing=True)
    if compiled:
        model.compile("sgd", "categorical_crossentropy", jit_compile=False)
    for given in (small, extractor, model):
        clone = keras.models.clone_model(given)
        assert type(clone) is type(given)
        assert clone.preprocessing == given.preprocessing
    rebuilt = keras.models.clone_model(
        small, clone_function=lambda layer: type(layer).from_config(layer.get_config())
    )
    assert rebuilt.preprocessing == small.preprocessing
    assert keras.models.clone_model(keras_wrn.WideResNet(10, 1)).preprocessing is None


def test_what_is_set_on_a_clone_is_its_own(small):
    clone = keras.models.clone_model(small)
    clone.preprocessing = keras_wrn.Preprocessing(16)
    assert small.preprocessing.class_names and not clone.preprocessing.class_names
    clone = keras.models.clone_model(small)
    clone.preprocessing = None
    assert clone.preprocessing is None


@pytest.mark.parametrize("pooling", [None, "avg"])
def test_a_network_without_its_classifier_gets_one(pooling):
    trunk = keras_wrn.WideResNet(10, 1, include_top=False, pooling=pooling)
    assert keras_wrn.reset_classifier(trunk, 5).output_shape == (None, 5)


def test_a_new_classifier_needs_fitting_arguments(small):
    with pytest.raises(ValueError, match="`class_names` are kept in a model's preprocessing"):
        keras_wrn.reset_classifier(keras_wrn.WideResNet(10, 1), 2, class_names=["a", "b"])
    with pytest.raises(ValueError, match="`class_names` should be 3 names"):
        keras_wrn.reset_classifier(small, 3, class_names=["cat"])
    with pytest.raises(ValueError, match="`classes` should be a positive integer"):
        keras_wrn.reset_classifier(small, -1)
    with pytest.raises(ValueError, match="`classes` should be a positive integer"):
        keras_wrn.reset_classifier(small, False)
    with pytest.raises(ValueError, match=r"`frozen_stages` should be in 0\.\.3"):
        keras_wrn.reset_classifier(small, 3, frozen_stages=4)


@pytest.mark.parametrize(
    ("builder", "stem"),
    [
        (lambda: keras_wrn.WideResNet(10, 1, input_shape=(8, 8, 3)), ("conv1", "group1")),
        (
            lambda: keras_wrn.WideResNet18(0.25, input_shape=(32, 32, 3), classes=10),
            ("conv1", "bn1", "stage1"),
        ),
    ],
)
def test_frozen_stages_stay_as_they_are_in_training(builder, stem):
    model = keras_wrn.reset_classifier(builder(), 4, frozen_stages=1)
    before = {v.path: np.copy(keras.ops.convert_to_numpy(v)) for v in model.variables}
    model.compile(keras_wrn.SGD(0.1), "sparse_categorical_crossentropy", jit_compile=False)
    x = RNG.normal(size=(8, *model.input_shape[1:])).astype("float32")
    model.fit(x, np.arange(8) % 4, verbose=0)
    for variable in model.variables:
        changed = not np.array_equal(keras.ops.convert_to_numpy(variable), before[variable.path])
        name = variable.path.split("/")[0]
        frozen = name in ("conv1", "bn1") or name.startswith(stem[-1] + "_")
        assert changed != frozen, variable.path


def test_all_stages_frozen_leave_the_classifier():
    model = keras_wrn.WideResNet(10, 1)
    freeze_stages(model, 3)
    assert {v.path.split("/")[0] for v in model.trainable_variables} == {"predictions"}
    freeze_stages(keras_wrn.WideResNet(10, 1), 0)


def test_a_trunk_is_copied_but_for_the_classifier():
    source, model = keras_wrn.WideResNet(10, 1), keras_wrn.WideResNet(10, 1, classes=3)
    copy_trunk(source, model)
    for ours, theirs in zip(model.layers[:-1], source.layers[:-1], strict=True):
        for a, b in zip(ours.weights, theirs.weights, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"depth": 16}, r"group1_block2_bn1 absent there, \[\(16,\), .*here"),
        ({"width": 2}, r"group1_block1_conv1 \[\(3, 3, 16, 16\).* there, \[\(3, 3, 16, 32\)"),
        ({"strided_padding": "tf"}, "padding='valid'.* there.*padding='same'"),
        ({"activation": "silu"}, "activation='relu'.* there.*activation='silu'"),
    ],
)
def test_a_trunk_of_another_network_is_refused_whole(other, message):
    model = keras_wrn.WideResNet(**{"depth": 10, "width": 1, **other})
    before = [np.copy(keras.ops.convert_to_numpy(v)) for v in model.variables]
    with pytest.raises(ValueError, match=message):
        copy_trunk(keras_wrn.WideResNet(10, 1), model)
    for a, b in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(a, b)
