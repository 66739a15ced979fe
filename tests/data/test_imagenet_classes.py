"""ImageNet's classes, and the functions that Keras users expect."""

import io
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_wrn
from keras_wrn.data import imagenet_classes
from keras_wrn.data.imagenet import imagenet_names, readable_names
from keras_wrn.data.photo_sets import photo_set
from keras_wrn.errors import DataError

SHARED = Path(__file__).parents[3] / "shared" / "images"


def test_the_classes_are_in_the_order_of_their_ids():
    wnids = [wnid for wnid, _ in imagenet_classes()]
    assert len(set(wnids)) == 1000 and wnids == sorted(wnids)
    assert imagenet_classes()[0] == ("n01440764", "tench, Tinca tinca")
    assert imagenet_classes()[999][0] == "n15075141"
    assert imagenet_names()[207] == "golden retriever"


@pytest.mark.extra
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the photos beside the repository")
def test_the_classes_are_those_of_labelled_photos():
    labels = json.loads((SHARED / "imagenet_samples" / "labels.json").read_text())
    entries = labels.values() if isinstance(labels, dict) else labels
    for entry in entries:
        index = entry.get("imagenet_index", entry.get("index"))
        assert entry.get("wnid", imagenet_classes()[index][0]) == imagenet_classes()[index][0]
        assert entry["name"].lower().replace("_", " ") in imagenet_names()[index].lower()


def test_folders_called_by_ids_get_readable_names():
    assert readable_names(["n01440764", "n02123159"]) == ("tench, Tinca tinca", "tiger cat")
    assert readable_names(["n01440764", "mine"]) == ("n01440764", "mine")


def test_inputs_are_normalised_as_the_networks_were_trained():
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype="uint8")
    expected = (images / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    for x in (images, keras.ops.convert_to_tensor(images)):
        np.testing.assert_allclose(keras_wrn.preprocess_input(x), expected, atol=1e-5)
    np.testing.assert_allclose(keras_wrn.preprocess_input(images[0]), expected[0], atol=1e-5)
    assert images.dtype == "uint8"


def test_other_inputs_are_refused():
    with pytest.raises(ValueError, match="`data_format` should be None or 'channels_last'"):
        keras_wrn.preprocess_input(np.zeros((1, 4, 4, 3)), data_format="channels_first")
    with pytest.raises(ValueError, match=r"Received: shape \(1, 3, 4, 4\)"):
        keras_wrn.preprocess_input(np.zeros((1, 3, 4, 4)))


def test_predictions_are_decoded_as_keras_does():
    scores = np.zeros((2, 1000), "float32")
    scores[0, [282, 0]] = 0.7, 0.2
    decoded = keras_wrn.decode_predictions(scores, top=2)
    assert len(decoded) == 2
    assert decoded[0][0] == ("n02123159", "tiger_cat", pytest.approx(0.7))
    assert decoded[0][1][1] == "tench"
    with pytest.raises(ValueError, match=r"shape \(batch, 1000\). Received: shape \(1, 10\)"):
        keras_wrn.decode_predictions(np.zeros((1, 10)))
    with pytest.raises(ValueError, match="`top` should be in"):
        keras_wrn.decode_predictions(scores, top=0)


def test_imagenet_that_is_not_prepared_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"ILSVRC2012_img_val\.tar, .* into downloads/manual/"):
        photo_set("imagenet2012", data_dir=tmp_path)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Seven photos as TFDS would have prepared the validation split."""
    import tensorflow_datasets as tfds

    data_dir = tmp_path_factory.mktemp("tfds")
    real = tfds.builder("imagenet2012", data_dir=data_dir)
    generator = np.random.default_rng(0)
    examples = []
    for i in range(7):
        file = io.BytesIO()
        Image.fromarray(generator.integers(0, 256, (40, 50, 3), dtype="uint8")).save(file, "JPEG")
        examples.append({"image": file.getvalue(), "label": 100 * i, "file_name": f"{i}.JPEG"})
    import tensorflow as tf

    def generate():
        yield from examples

    signature = {
        "image": tf.TensorSpec((), tf.string), "label": tf.TensorSpec((), tf.int64),
        "file_name": tf.TensorSpec((), tf.string),
    }  # fmt: skip
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=[wnid for wnid, _ in imagenet_classes()]),
            "file_name": tfds.features.Text(),
        }
    )
    builder = tfds.dataset_builders.store_as_tfds_dataset(
        name="imagenet2012", version=str(real.version), data_dir=data_dir, features=features,
        split_datasets={
            "validation": tf.data.Dataset.from_generator(generate, output_signature=signature)
        },
    )  # fmt: skip
    assert builder.info.splits["validation"].num_examples == 7
    return data_dir, examples


def test_validation_images_are_streamed(prepared):
    data_dir, examples = prepared
    preprocessing = keras_wrn.Preprocessing(16, crop=0.8)
    part = photo_set("imagenet2012", data_dir=data_dir)
    photos = part.photos(preprocessing)
    assert len(photos) == 7 and part.class_names == tuple(x for x, _ in imagenet_classes())
    found = dict(zip(part.labels, photos[:], strict=True))
    for example in examples:
        expected = preprocessing.prepare(Image.open(io.BytesIO(example["image"])))
        np.testing.assert_array_equal(found[example["label"]], expected)


def test_an_image_that_cannot_be_decoded_is_named(prepared, monkeypatch):
    monkeypatch.setattr("keras_wrn.data.images.MAX_PIXELS", 100)
    photos = photo_set("imagenet2012", data_dir=prepared[0]).photos(keras_wrn.Preprocessing(16))
    with pytest.raises(DataError, match=r"record 3 of validation of .*imagenet2012.*50 x 40 is"):
        photos[3:4]


def test_a_model_is_evaluated_on_them(prepared):
    model = keras_wrn.WideResNet18(0.125, input_shape=(32, 32, 3))
    model.preprocessing = keras_wrn.Preprocessing(32, class_names=imagenet_names())
    results = keras_wrn.evaluate(model, "imagenet2012", data_dir=prepared[0])
    assert results["images"] == 7
    model.preprocessing = keras_wrn.Preprocessing(32)
    with pytest.raises(DataError, match=r"named by the model's labels, 0 to 999.*n01440764"):
        keras_wrn.evaluate(model, "imagenet2012", data_dir=prepared[0])


def test_numpy_integers_are_integers():
    scores = np.eye(1000, dtype="float32")[:1]
    found = keras_wrn.decode_predictions(scores, np.int32(2))
    assert found == keras_wrn.decode_predictions(scores, 2)


def test_symbolic_tensors_are_normalised_as_arrays_are():
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), "uint8")
    for shape in ((8, 8, 3), (None, None, 3)):
        inputs = keras.Input(shape)
        outputs = keras_wrn.preprocess_input(inputs)
        assert keras.utils.is_keras_tensor(outputs) and outputs.shape == inputs.shape
        found = keras.Model(inputs, outputs)(images)
        np.testing.assert_allclose(found, keras_wrn.preprocess_input(images), atol=1e-6)
    with pytest.raises(ValueError, match="Expected images"):
        keras_wrn.preprocess_input(keras.Input((8, 8, 1)))
