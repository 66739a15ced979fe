"""WRN-50-2 and WRN-101-2 against timm's own networks and evaluation transforms, on photos."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import keras_wrn
from keras_wrn.catalog import weights_info
from keras_wrn.weights import load_torch_weights

torch = pytest.importorskip("torch", reason="needs torch, of the extra `parity`")
from timm_networks import import_timm, timm_network  # noqa: E402

PHOTOS = sorted(
    (Path(__file__).parents[3] / "shared" / "images" / "imagenet_samples").glob("*.JPEG")
)
pytestmark = pytest.mark.extra("timm")
needs_photos = pytest.mark.skipif(not PHOTOS, reason="needs the photos beside the repository")


def transform(preprocessing):
    import_timm()
    from timm.data import create_transform

    return create_transform(
        (3, preprocessing.size, preprocessing.size), is_training=False,
        interpolation=preprocessing.interpolation, crop_pct=preprocessing.crop,
        mean=preprocessing.mean, std=preprocessing.std,
    )  # fmt: skip


@needs_photos
@pytest.mark.slow
@pytest.mark.parametrize("name", ["wide_resnet50_2", "wide_resnet101_2"])
def test_logits_on_photos_are_those_of_timm(name):
    network = timm_network(name)
    model = keras_wrn.create_model(name, classifier_activation=None)
    assert load_torch_weights(model, network.state_dict())["layout"] == "torchvision"
    preprocessing = weights_info(name).preprocessing
    photos = [Image.open(path).convert("RGB") for path in PHOTOS]
    with torch.no_grad():
        expected = network(torch.stack([transform(preprocessing)(x) for x in photos])).numpy()
    pixels = np.stack([preprocessing.prepare(photo) for photo in photos])
    found = np.asarray(model(preprocessing.normalize(pixels), training=False))
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
    np.testing.assert_array_equal(found.argmax(axis=1), expected.argmax(axis=1))


@needs_photos
@pytest.mark.parametrize("size", [32, 224, 288])
@pytest.mark.parametrize("crop", [0.875, 0.95, 224 / 232, 1.0])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_pixels_are_those_of_timms_evaluation_transform(interpolation, crop, size):
    preprocessing = keras_wrn.Preprocessing(
        size, crop, interpolation, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    )
    theirs = transform(preprocessing)
    for path in PHOTOS:
        photo = Image.open(path).convert("RGB")
        expected = theirs(photo).numpy().transpose(1, 2, 0) * preprocessing.std
        expected = (expected + preprocessing.mean) * 255
        found = preprocessing.prepare(photo).astype("float32")
        assert np.abs(found - expected).max() < 1e-2, path.name  # the same whole numbers
