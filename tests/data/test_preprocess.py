"""Preprocessing: the published constants, the image road, and the files it is kept in."""

import json

import keras
import numpy as np
import pytest
from data.helpers import made_up
from PIL import Image

import keras_wrn
from keras_wrn.data import ZCA, Preprocessing, dataset_info, default_preprocessing


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_is_normalised_with_the_authors_constants(name):
    info = dataset_info(name)
    images, _ = made_up(4, 32)
    preprocessing = default_preprocessing(info)
    expected = (images - np.array([125.3, 123.0, 113.9])) / np.array([63.0, 62.1, 66.7])
    for result in (
        preprocessing.normalize(images),
        keras.ops.convert_to_numpy(preprocessing.normalize(keras.ops.convert_to_tensor(images))),
    ):
        assert result.dtype == "float32"
        np.testing.assert_allclose(result, expected, atol=2e-6)
    assert preprocessing.class_names == info.class_names and preprocessing.size == 32


@pytest.mark.parametrize(
    ("name", "kind"), [("svhn_cropped", "meanstd"), ("digits", "meanstd"), ("cifar10", "scale")]
)
def test_other_datasets_and_scale_divide_by_255(name, kind):
    images, _ = made_up(4, 32)
    result = default_preprocessing(dataset_info(name), kind).normalize(images)
    np.testing.assert_allclose(result, images / 255, atol=1e-7)


def test_zca_is_fitted_on_the_training_images(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    images, _ = made_up(50)
    preprocessing = default_preprocessing(dataset_info("cifar10"), "zca", images)
    whitened = ZCA.fit(images, cache_dir=False)(images.astype("float32"))
    np.testing.assert_allclose(preprocessing.normalize(images), whitened, atol=1e-5)
    tensor = preprocessing.normalize(keras.ops.convert_to_tensor(images))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(tensor), whitened, atol=1e-4)


def test_an_unknown_kind_or_zca_without_images_is_an_error():
    info = dataset_info("cifar10")
    with pytest.raises(ValueError, match="kind='std'"):
        default_preprocessing(info, "std")
    with pytest.raises(ValueError, match="`train_images`"):
        default_preprocessing(info, "zca")


def test_save_and_load_keep_everything(tmp_path):
    plain = Preprocessing(
        24, crop=0.875, interpolation="bicubic", mean=(0.1,), std=(0.2,), class_names=("a", "b")
    )
    plain.save(tmp_path / "plain")
    assert Preprocessing.load(tmp_path / "plain") == plain
    stored = json.loads((tmp_path / "plain/preprocessing.json").read_text())
    assert stored == {
        "size": 24, "crop": 0.875, "interpolation": "bicubic", "mean": [0.1], "std": [0.2],
        "zca": None, "class_names": ["a", "b"],
    }  # fmt: skip
    images, _ = made_up(30)
    whitening = Preprocessing(8, zca=ZCA.fit(images, cache_dir=False))
    whitening.save(tmp_path / "zca")
    loaded = Preprocessing.load(tmp_path / "zca")
    np.testing.assert_array_equal(loaded.normalize(images), whitening.normalize(images))


def test_damaged_files_are_named(tmp_path):
    images, _ = made_up(30)
    Preprocessing(8, zca=ZCA.fit(images, cache_dir=False)).save(tmp_path)
    ZCA.fit(images[:20], cache_dir=False).save(tmp_path / "zca.npz")
    with pytest.raises(ValueError, match=r"zca\.npz is not the file.*sha256"):
        Preprocessing.load(tmp_path)
    (tmp_path / "zca.npz").write_bytes((tmp_path / "zca.npz").read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"zca\.npz, the whitening, cannot be read"):
        Preprocessing.load(tmp_path)
    (tmp_path / "zca.npz").unlink()
    with pytest.raises(ValueError, match=r"zca\.npz, the whitening, cannot be read"):
        Preprocessing.load(tmp_path)
    deep = "[" * 100_000
    for text in ("{", "{}", '{"zca": null, "sice": 3}', '{"zca": {"sha256": "ab"}}', deep):
        (tmp_path / "preprocessing.json").write_text(text)
        with pytest.raises(ValueError, match=r"preprocessing\.json is not what"):
            Preprocessing.load(tmp_path)


@pytest.mark.parametrize(
    "field",
    [{"size": 0}, {"crop": 0.0}, {"crop": 1.1}, {"interpolation": "cubic"}, {"std": (1.0, 0.0, 1)},
     {"mean": (0.5,)}, {"mean": (0.5, float("nan"), 0)}, {"class_names": "abc"}],
)  # fmt: skip
def test_a_value_out_of_range_is_an_error_that_names_it(field):
    (name,) = field
    with pytest.raises(ValueError, match=f"`{name}`.*Received.*{name}="):
        Preprocessing(**{"size": 32, **field})


@pytest.mark.parametrize(
    ("size", "crop", "image", "resized", "corner"),
    [
        (224, 0.875, (640, 480), (341, 256), (58, 16)),
        (224, 0.875, (333, 500), (256, 384), (16, 80)),
        (224, 224 / 232, (500, 375), (309, 232), (42, 4)),
        (288, 0.95, (400, 300), (404, 303), (58, 8)),  # 7.5 pixels of 303 go to 8, the even one
        (32, 0.875, (37, 41), (36, 39), (2, 4)),
        (32, 1.0, (35, 33), (33, 32), (0, 0)),
    ],
)
def test_sizes_and_crops_are_those_of_torchvision(size, crop, image, resized, corner):
    """By hand: floor(size / crop); the long side rounded down; round half to even."""
    pixels = np.random.default_rng(0).integers(0, 256, (*image[::-1], 3), dtype="uint8")
    whole = Image.fromarray(pixels).resize(resized, Image.Resampling.BILINEAR)
    left, top = corner
    expected = np.asarray(whole)[top : top + size, left : left + size]
    found = Preprocessing(size, crop).prepare(Image.fromarray(pixels))
    np.testing.assert_array_equal(found, expected)


def test_prepare_resizes_the_short_side_and_crops_the_centre():
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (32, 32, 3), dtype="uint8")
    np.testing.assert_array_equal(Preprocessing(32).prepare(Image.fromarray(pixels)), pixels)
    wide = np.zeros((64, 128, 3), "uint8")
    wide[:, 32:96] = 200  # the centre
    result = Preprocessing(32, interpolation="nearest").prepare(Image.fromarray(wide))
    assert result.shape == (32, 32, 3) and (result == 200).all()
    framed = np.zeros((40, 40, 3), "uint8")
    framed[4:36, 4:36] = pixels
    result = Preprocessing(32, crop=0.8).prepare(Image.fromarray(framed))
    np.testing.assert_array_equal(result, pixels)
    with pytest.raises(ValueError, match=r"1 \(grey\) or 3 \(RGB\) channels. Received: .* of 2"):
        Preprocessing(32, mean=(0.5,) * 2, std=(1,) * 2).prepare(Image.fromarray(pixels))
    grey = Preprocessing(32, mean=(0.5,), std=(1,)).prepare(Image.fromarray(pixels))
    assert grey.shape == (32, 32, 1)


def test_numpy_numbers_are_numbers(tmp_path):
    found = Preprocessing(
        np.int64(8),
        np.float32(0.875),
        mean=np.array([0.25, 0.5, 0.75], "float32"),
        std=np.array([0.5, 0.25, 0.125], "float32"),
    )
    found.save(tmp_path)
    assert Preprocessing.load(tmp_path) == found
    assert found == Preprocessing(8, 0.875, mean=(0.25, 0.5, 0.75), std=(0.5, 0.25, 0.125))


@pytest.mark.parametrize("size", [0, -1, 32.0, True, "32", None])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(ValueError, match="`size` should be a positive integer"):
        Preprocessing(size)


@pytest.mark.parametrize("name", ["two\nlines", "back\r", "tab\tbed", "\x1b[2J", "\u2028", "", " ",
                                  "caf\udce9"])  # fmt: skip
def test_a_class_name_is_a_line_of_text(name):
    with pytest.raises(ValueError, match=r"line of text.*Received: "):
        Preprocessing(8, class_names=("cat", name))
    config = {**Preprocessing(8).get_config(), "class_names": ["cat", name]}
    with pytest.raises(ValueError, match="line of text"):
        Preprocessing.from_config(config)


def test_class_names_have_one_unicode_form():
    assert Preprocessing(8, class_names=["cafe\u0301", "+", "=1"]).class_names == (
        "caf\u00e9", "+", "=1",
    )  # fmt: skip


def test_names_are_checked_where_a_classifier_is_renamed(tmp_path):
    model = keras_wrn.WideResNet(10, 1, input_shape=(8, 8, 3))
    model.preprocessing = Preprocessing(8)
    with pytest.raises(ValueError, match="line of text"):
        keras_wrn.reset_classifier(model, 2, class_names=("cat", "d\nog"))
    with pytest.raises(ValueError, match="line of text"):
        keras_wrn.export_litert(model, tmp_path / "m.tflite", class_names=["d\nog"] * 10)
