"""What a request may cost: refused in a moment, and the largest batch in less than a gigabyte."""

import time

import keras
import numpy as np
import pytest
from encoded import JPEG, PNG
from hostile import largest, png, refused, webp

import keras_wrn
from keras_wrn.cli import main
from keras_wrn.export import export_saved_model
from keras_wrn.export.decode import CLASSIFIED_PIXELS, decode_images

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="artifacts are written on TensorFlow"
)
REFUSED = refused()


@pytest.fixture(scope="module")
def decode():
    import tensorflow as tf

    preprocessing = keras_wrn.Preprocessing(32)

    def make(**arguments):
        signature = [tf.TensorSpec((None,), tf.string)]
        function = tf.function(
            lambda data: decode_images(data, preprocessing, **arguments), signature
        )
        return lambda data: [part.numpy() for part in function(tf.constant(data))]

    return make


@pytest.fixture(scope="module")
def decode_by_default(decode):
    found = decode()
    found([PNG])  # traced
    return found


@pytest.mark.parametrize("name", REFUSED)
def test_a_costly_image_is_refused_in_a_moment_and_alone(decode_by_default, name):
    taken = []
    for _ in range(3):  # of the processor, for others use the machine too
        begun = time.process_time()
        _, valid = decode_by_default([REFUSED[name]])
        taken.append(time.process_time() - begun)
        assert valid.tolist() == [False]
    assert min(taken) < 0.1
    _, valid = decode_by_default([PNG, REFUSED[name], JPEG])
    assert valid.tolist() == [True, False, True]


@pytest.fixture(scope="module")
def decode_small(decode):
    return decode(max_pixels=10_000)


def test_the_limit_is_that_of_an_image_as_declared(decode_small):
    images = [png(100, 100), png(101, 100), png(10_000, 1), png(10_001, 1)]
    _, valid = decode_small(images)
    assert valid.tolist() == [True, False, True, False]


def test_a_batch_of_too_many_pixels_keeps_its_smaller_images(decode_small):
    images = [png(100, 100)] * 10 + [PNG] + [png(100, 100)] * 10
    pixels, valid = decode_small(images)
    assert valid.tolist() == [True] * 10 + [True] + [True] * 5 + [False] * 5  # PNG: 97 x 61
    alone, _ = decode_small([PNG])
    np.testing.assert_array_equal(pixels[10], alone[0])
    _, valid = decode_small([png(100, 100)] * 17)
    assert valid.tolist() == [True] * 16 + [False]


@pytest.mark.usefixtures("unverified")
@pytest.mark.parametrize("way", ["function", pytest.param("command", marks=pytest.mark.slow)])
def test_the_limit_is_the_exports(network, tmp_path, way):
    import tensorflow as tf

    if way == "function":
        export_saved_model(network, tmp_path / "1", max_pixels=5000)
    else:
        network.save(tmp_path / "m.keras")
        settings = ["--format", "saved_model", "--max-pixels", "5000", "--out", str(tmp_path)]
        main(["export", str(tmp_path / "m.keras"), *settings])
    classify = tf.saved_model.load(str(tmp_path / "1")).signatures["classify"]
    valid = classify(image_bytes=tf.constant([png(50, 100), png(51, 100)]))["valid"]
    assert valid.numpy().tolist() == [True, False]


@pytest.mark.parametrize("wrong", [1023, 2**26 + 1, 1e6, None])
def test_another_limit_is_said(network, tmp_path, wrong):
    with pytest.raises(ValueError, match=r"`max_pixels` .* 1,024, .* 67,108,864.*Received"):
        export_saved_model(network, tmp_path / "m", max_pixels=wrong)


MEMORY = """
import pathlib, re, sys
import tensorflow as tf
import keras_wrn
from keras_wrn.export.decode import decode_images

def most():
    return int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])

function = tf.function(lambda data: decode_images(data, keras_wrn.Preprocessing(32)))
files = [path.read_bytes() for path in sorted(pathlib.Path(sys.argv[1]).iterdir())]
small = tf.constant([pathlib.Path(sys.argv[2]).read_bytes()] * 17)
batch = tf.constant((files * 16)[:17])
assert function(small)[1].numpy().all()
before = most()
valid = function(batch)[1].numpy()
print(int(valid.sum()), most() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["every kind", *(pytest.param(name, marks=pytest.mark.large) for name in ("bmp", "gif"))],
)
def test_the_largest_batch_takes_less_than_a_gigabyte(run_python, tmp_path, name):
    files = largest()
    folder = tmp_path / "files"
    folder.mkdir()
    for kind in files if name == "every kind" else [name]:
        (folder / kind).write_bytes(files[kind])
    (tmp_path / "small").write_bytes(PNG)
    said = run_python(MEMORY, folder, tmp_path / "small")
    valid, kilobytes = map(int, said.split())
    assert valid == 16
    assert kilobytes < 10**6


def test_the_largest_image_of_each_kind_is_taken(decode_by_default):
    files = largest()
    assert webp(4096, 4096) in files.values() and CLASSIFIED_PIXELS == 4096 * 4096
    for name, data in files.items():
        assert decode_by_default([data])[1].tolist() == [True], name
