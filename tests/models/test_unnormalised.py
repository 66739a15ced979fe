"""Images that were plainly not normalised: said once, and only of those."""

import warnings

import keras
import numpy as np
import pytest

import keras_wrn

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), "uint8")
LABELS = np.arange(4)


class Sequence(keras.utils.PyDataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        return PIXELS.astype("float32"), LABELS


def build(**more):
    model = keras_wrn.WideResNet(10, 1, **more)
    model.preprocessing = keras_wrn.create_model("wrn_16_2.cifar10").preprocessing
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    return model


def dataset(images):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((images, LABELS)).batch(2)


def streamed():
    return dataset(PIXELS.astype("float32"))


USES = {
    "predict": lambda model, images: model.predict(images, verbose=0),
    "evaluate": lambda model, images: model.evaluate(images, LABELS, verbose=0),
    "fit": lambda model, images: model.fit(images, LABELS, verbose=0),
    "fit by name": lambda model, images: model.fit(x=images, y=LABELS, verbose=0),
}
STREAMS = {
    "predict": lambda model, data: model.predict(data, verbose=0),
    "evaluate": lambda model, data: model.evaluate(data, verbose=0),
    "fit": lambda model, data: model.fit(data, shuffle=False, verbose=0),
}
MESSAGE = "wrn_10_1.*normalised.*model.preprocessing.normalize.*include_preprocessing=True"


def the_warnings(caught):
    return [str(w.message) for w in caught if "normalised" in str(w.message)]


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_arrays_of_pixels_are_warned_of_once(use, dtype):
    model, images = build(), PIXELS.astype(dtype)
    with pytest.warns(UserWarning, match=MESSAGE):
        USES[use](model, images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        USES[use](model, images)


@pytest.mark.parametrize("use", STREAMS)
@pytest.mark.parametrize(
    "data", [lambda: dataset(PIXELS), streamed, Sequence], ids=["uint8", "float32", "sequence"]
)
def test_datasets_of_pixels_are_warned_of_once(use, data):
    model = build()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        STREAMS[use](model, data())
        STREAMS[use](model, data())
    assert len(the_warnings(caught)) == 1


@pytest.mark.parametrize("use", USES)
def test_normalised_images_are_not(use):
    model = build()
    images = model.preprocessing.normalize(PIXELS)
    noisy = 1.3 * images + 0.3  # as an augmentation may leave them
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for x in (images, noisy):
            USES[use](model, x)
        STREAMS["fit"](model, dataset(images))


def test_whitened_images_and_networks_that_take_pixels_are_not():
    model = keras_wrn.WideResNet(10, 1, input_shape=(8, 8, 3))
    images = PIXELS[:, :8, :8]
    zca = keras_wrn.data.ZCA.fit(images, cache_dir=False)
    model.preprocessing = keras_wrn.Preprocessing(8, zca=zca)
    own = build(include_preprocessing=True)
    bare = keras_wrn.WideResNet(10, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(model.preprocessing.normalize(images), verbose=0)
        own.predict(PIXELS, verbose=0)
        bare.predict(PIXELS, verbose=0)  # nobody knows what it takes


def test_a_dataset_is_read_no_further_than_asked_and_in_its_own_order():
    """The look at the first batch takes nothing from a dataset, and reads nothing twice."""
    import tensorflow as tf

    seen = []

    def generate():
        for index in range(4):
            seen.append(index)
            yield PIXELS[index].astype("float32"), LABELS[index]

    spec = tf.TensorSpec((32, 32, 3)), tf.TensorSpec((), tf.int64)
    data = tf.data.Dataset.from_generator(generate, output_signature=spec).batch(2)
    with pytest.warns(UserWarning, match=MESSAGE):
        build().fit(data, shuffle=False, verbose=0)
    assert seen == [0, 1, 2, 3]


def test_inference_and_evaluation_of_the_package_are_not():
    model = build()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        keras_wrn.inference_model(model, PIXELS[0])
        keras_wrn.evaluate(model, (PIXELS, LABELS))
