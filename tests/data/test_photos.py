"""Photos that stay on disk: the same batches as from memory and on every backend."""

import os

import keras
import numpy as np
import pytest
import scipy.stats
from photo_files import add_odd_files, make_folder, picture, write
from PIL import Image
from torchvision_here import import_torchvision

from keras_wrn.data import Augmentation, Batches, Preprocessing, eval_dataset
from keras_wrn.data.evaluation import EvalBatches
from keras_wrn.data.folder import read_folder, scan_folder
from keras_wrn.data.images import image_pixels
from keras_wrn.data.photos import Files, Photos
from keras_wrn.data.resized_crop import COLUMNS, resized_box
from keras_wrn.errors import DataError

PREPROCESSING = Preprocessing(32, crop=0.8)
WHOLE = Preprocessing(40)
RESIZED = Augmentation(random_resized_crop=True, crop_padding=0)
on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tf.data is for the TensorFlow backend"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = make_folder(tmp_path_factory.mktemp("photos"))
    add_odd_files(root / "train" / "dog")
    return scan_folder(root / "train")


def make(folder, augmentation=RESIZED, images=None, **settings):
    if images is None:
        whole = PREPROCESSING if augmentation.random_resized_crop else WHOLE
        images = folder.photos(whole)
    settings = {"batch_size": 5, "preprocessing": PREPROCESSING, **settings}
    return Batches(images, np.array(folder.labels), 2, augmentation=augmentation, **settings)


def grey_levels(batches):
    """The distance of each pixel of some batches in grey levels."""
    return np.concatenate([255 * np.abs(x - y) for x, y in batches])


def listed(dataset):
    return list(dataset.as_numpy_iterator())


@on_tensorflow
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    "augmentation",
    [
        RESIZED,
        Augmentation(random_resized_crop=True, crop_padding=0, crop_scale=(0.5, 0.7)),
        Augmentation(crop_padding=0),
        Augmentation(crop_padding=4, cutout=8, cutmix=1.0),
    ],
)
def test_every_backend_has_the_same_batches(folder, augmentation, interpolation):
    size, crop = (32, 0.8) if augmentation.random_resized_crop else (40, 1.0)
    photos = folder.photos(Preprocessing(size, crop=crop, interpolation=interpolation))
    batches = make(folder, augmentation, images=photos)
    ours = batches.arrays(epochs=2)
    theirs = listed(batches.dataset(epochs=2))
    assert len(ours) == len(theirs) == 2 * (len(folder) // 5)
    pairs = list(zip(ours, theirs, strict=False))
    for (_, labels), (_, expected) in pairs:
        np.testing.assert_allclose(labels, expected, atol=1e-6)
    distances = grey_levels((x, y) for (x, _), (y, _) in pairs)
    assert distances.max() < 2.001 and distances.mean() < 0.1
    assert (distances > 1.001).mean() < 1e-4


def test_photos_on_disk_and_in_memory_make_the_same_batches(folder):
    augmentation = Augmentation(crop_padding=2, mixup=0.2)
    in_memory, labels = read_folder(folder, WHOLE)
    np.testing.assert_array_equal(labels, folder.labels)
    from_disk = make(folder, augmentation).arrays(epochs=2)
    from_memory = make(folder, augmentation, images=in_memory).arrays(epochs=2)
    for (x, y), (a, b) in zip(from_disk, from_memory, strict=True):
        np.testing.assert_array_equal(x, a)
        np.testing.assert_array_equal(y, b)


def test_an_index_a_slice_and_an_array_of_indices(folder):
    photos = folder.photos(PREPROCESSING)
    expected = [image_pixels(path, PREPROCESSING) for path in folder.files]
    assert photos.shape == (len(folder), 32, 32, 3) == np.shape(photos)
    np.testing.assert_array_equal(photos.in_memory(), expected)
    np.testing.assert_array_equal(photos[3], expected[3])
    np.testing.assert_array_equal(photos[2:9:3], expected[2:9:3])
    np.testing.assert_array_equal(photos[np.array([7, 1])], [expected[7], expected[1]])


@on_tensorflow
@pytest.mark.parametrize("start", [1, 4, 11])
def test_batches_are_a_function_of_the_step(folder, start):
    batches = make(folder)
    everything = listed(batches.dataset(epochs=3))
    rest = listed(batches.dataset(start_step=start, epochs=3))
    assert len(rest) == len(everything) - start
    for (x, y), (a, b) in zip(rest, everything[start:], strict=True):
        np.testing.assert_array_equal(x, a)
        np.testing.assert_array_equal(y, b)


def test_an_image_is_cut_anew_in_every_epoch_and_by_every_seed(folder):
    epochs = [make(folder).plan(epoch)["crop"] for epoch in (0, 1)]
    other = make(folder, seed=1).plan(0)["crop"]
    order = make(folder).plan(0)["order"]
    assert epochs[0].shape == (*order.shape, COLUMNS)
    assert (epochs[0] == epochs[1]).mean() < 0.01 and (epochs[0] == other).mean() < 0.01
    # The numbers of an image do not depend on the batch that it is in.
    again = make(folder, batch_size=7).plan(0)
    ours = dict(zip(order.ravel(), epochs[0].reshape(-1, COLUMNS), strict=True))
    theirs = dict(zip(again["order"].ravel(), again["crop"].reshape(-1, COLUMNS), strict=True))
    for index in ours.keys() & theirs.keys():
        np.testing.assert_array_equal(ours[index], theirs[index])


def test_boxes_are_those_of_the_published_algorithm():
    generator = np.random.default_rng(3)
    for _ in range(300):
        height, width = (int(x) for x in generator.integers(3, 400, 2))
        draws = generator.random(COLUMNS, dtype="float32").astype("float64")
        box = resized_box(draws, height, width, (0.08, 1.0), (3 / 4, 4 / 3))
        assert [int(x) for x in box] == _reference(draws, height, width)


def _reference(draws, height, width, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3)):
    """The published algorithm, with given numbers in place of its own draws."""
    logs = np.log(ratio)
    for trial in range(10):
        area = height * width * (scale[0] + (scale[1] - scale[0]) * draws[2 * trial])
        shape = np.exp(logs[0] + (logs[1] - logs[0]) * draws[2 * trial + 1])
        w, h = round(np.sqrt(area * shape)), round(np.sqrt(area / shape))
        if 0 < w <= width and 0 < h <= height:
            return [int(draws[-2] * (height - h + 1)), int(draws[-1] * (width - w + 1)), h, w]
    w, h = width, height
    if width / height < ratio[0]:
        h = round(w / ratio[0])
    elif width / height > ratio[1]:
        w = round(h * ratio[1])
    return [(height - h) // 2, (width - w) // 2, h, w]


@pytest.mark.extra("torchvision")
@pytest.mark.parametrize("size", [(90, 60), (300, 40), (41, 200)])
def test_boxes_are_spread_as_torchvisions(size):
    torchvision = import_torchvision()
    width, height = size
    image = Image.new("RGB", size)
    draws = np.random.default_rng(0).random((3000, COLUMNS))
    crop = torchvision.transforms.RandomResizedCrop
    theirs = [crop.get_params(image, (0.08, 1.0), (3 / 4, 4 / 3)) for _ in range(3000)]
    ours = [resized_box(row, height, width, (0.08, 1.0), (3 / 4, 4 / 3)) for row in draws]
    for one, other in zip(np.transpose(ours), np.transpose(theirs), strict=True):
        assert scipy.stats.ks_2samp(one, other).pvalue > 0.001


def test_boxes_inside_tensorflow_are_the_same():
    tf = pytest.importorskip("tensorflow")
    generator = np.random.default_rng(4)
    function = tf.function(
        lambda draws, height, width: resized_box(
            draws, height, width, (0.08, 1.0), (3 / 4, 4 / 3), tf.experimental.numpy
        )
    )
    for _ in range(200):
        height, width = (float(x) for x in generator.integers(3, 400, 2))
        draws = generator.random(COLUMNS, dtype="float32")
        expected = resized_box(draws, height, width, (0.08, 1.0), (3 / 4, 4 / 3))
        sides = (tf.constant(side, "float64") for side in (height, width))
        np.testing.assert_array_equal(function(tf.constant(draws), *sides), expected)


def test_the_area_and_the_shape_of_boxes_are_spread_as_they_should_be():
    draws = np.random.default_rng(0).random((4000, COLUMNS))
    boxes = np.array([resized_box(row, 500, 500, (0.08, 1.0), (3 / 4, 4 / 3)) for row in draws])
    shares, shapes = boxes[:, 2] * boxes[:, 3] / 500**2, np.log(boxes[:, 3] / boxes[:, 2])
    assert 0.07 < shares.min() < 0.1 and shares.max() < 1.01
    assert abs(shapes.mean()) < 0.02 and np.abs(shapes).max() < np.log(4 / 3) + 0.02
    # Large boxes that are not square do not fit: their share is smaller than drawn.
    assert 0.45 < shares.mean() < 0.54


@on_tensorflow
def test_held_out_photos_come_once_in_order(folder):
    settings = {"batch_size": 8, "preprocessing": PREPROCESSING, "replicas": 2}
    photos, labels = folder.photos(PREPROCESSING), np.array(folder.labels)
    in_memory = photos.in_memory()
    expected = listed(eval_dataset(in_memory, labels, 2, **settings))
    for found in (listed(eval_dataset(photos, labels, 2, **settings)),
                  EvalBatches(photos, labels, 2, **settings)):  # fmt: skip
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=False):
            for part, wanted in zip(ours, theirs, strict=True):
                np.testing.assert_allclose(part, wanted, atol=1e-6)


@pytest.mark.parametrize("mixing", [{}, {"mixup": 0.3, "cutmix": 1.0}])
def test_a_process_reads_the_photos_of_its_own_rows(folder, monkeypatch, mixing):
    augmentation = Augmentation(random_resized_crop=True, crop_padding=0, **mixing)
    batches = make(folder, augmentation, batch_size=6)
    everything = list(batches.arrays())
    read = []
    original = Files.read
    monkeypatch.setattr(Files, "read", lambda self, i: read.append(i) or original(self, i))
    plan = batches.plan(0)
    for rows in (slice(0, 2), slice(4, 6)):
        read.clear()
        for (x, y), (a, b) in zip(batches.arrays(rows=rows), everything, strict=True):
            np.testing.assert_array_equal(x, a[rows])
            np.testing.assert_array_equal(y, b[rows])
        needed = batches.needed(plan, rows)
        assert sorted(read) == sorted(plan["order"][needed])
        assert needed[:, rows].all() and needed.sum() < needed.size
        assert mixing or needed.sum() == 2 * len(everything)
        if keras.backend.backend() == "tensorflow":
            for (x, _), (a, _) in zip(listed(batches.dataset(rows=rows)), everything, strict=True):
                assert 255 * np.abs(x[rows] - a[rows]).max() < 2.001
                assert mixing or not x[2:4].any()


def test_a_batch_may_be_all_padding_for_a_process(folder):
    photos, labels = folder.photos(PREPROCESSING), np.array(folder.labels)
    assert photos[[]].shape == (0, 32, 32, 3)
    batches = EvalBatches(
        Photos(Files(folder.files[:9], folder.path), PREPROCESSING), labels[:9], 2, batch_size=8,
        preprocessing=PREPROCESSING, replicas=4, rows=lambda size: slice(size // 2, size),
    )  # fmt: skip
    x, _, weights = batches[1]
    assert not weights.any() and x.shape == (4, 32, 32, 3)


def test_a_file_whose_name_is_not_text_is_read(tmp_path):
    root = make_folder(tmp_path, count=3) / "train"
    name = os.fsdecode(b"caf\xe9.jpg")
    (root / "cat" / "00.jpg").rename(root / "cat" / name)
    found = scan_folder(root)
    photos = found.photos(PREPROCESSING)
    assert any(b"caf\xe9.jpg" in mark for mark in photos.source.marks())
    if keras.backend.backend() == "tensorflow":
        assert len(listed(make(found).dataset())) == 1
    (root / "cat" / name).write_bytes(b"")
    with pytest.raises(DataError, match=r"caf\\xe9\.jpg"):
        photos.check()


def test_a_photo_that_would_become_too_large_is_refused_everywhere(tmp_path):
    root = make_folder(tmp_path, count=3) / "train"
    write(picture(np.random.default_rng(0), 6000, 3), root / "cat" / "00.jpg")
    found = scan_folder(root)
    photos = found.photos(Preprocessing(256))
    for read in (photos.check, photos.in_memory):
        with pytest.raises(DataError, match=r"cat/00\.jpg.*at most 67,108,864 pixels"):
            read()
    if keras.backend.backend() == "tensorflow":
        batches = make(found, Augmentation(crop_padding=0), images=photos)
        with pytest.raises(Exception, match=r"67,108,864"):
            listed(batches.dataset())
    assert make(found).arrays()[0][0].shape == (5, 32, 32, 3)  # a crop of it is no trouble


def test_what_cannot_be_read_is_named(tmp_path):
    root = make_folder(tmp_path, count=4) / "train"
    (root / "cat" / "00.jpg").write_bytes(b"no image")
    whole = (root / "dog" / "01.jpg").read_bytes()
    (root / "dog" / "01.jpg").write_bytes(whole[: len(whole) // 2])
    photos = scan_folder(root).photos(PREPROCESSING)
    for read in (photos.check, photos.in_memory):
        with pytest.raises(DataError, match=r"2 images of .*cat/00\.jpg.*dog/01\.jpg"):
            read()
    (root / "cat" / "02.jpg").unlink()
    with pytest.raises(DataError, match=r"1 image of .*cat/02\.jpg cannot be read: No such file"):
        photos[1:4]


@on_tensorflow
@pytest.mark.parametrize("damage", ["half", "header", "png"])
def test_a_failure_of_tensorflow_is_traced_to_its_file(tmp_path, damage):
    root = make_folder(tmp_path, count=8) / "train"
    found = scan_folder(root)
    batches = make(found, Augmentation(crop_padding=0))
    file = found.files[int(batches.plan(0)["order"][1, 2])]
    if damage == "png":
        write(picture(np.random.default_rng(0), 50, 50), file, format="PNG")
    data = file.read_bytes()
    file.write_bytes(data[:30] if damage == "header" else data[: len(data) // 2])
    with pytest.raises(Exception, match=r"."):
        listed(batches.dataset())
    assert str(file) in batches.problem(0)
    assert batches.problem(2) is None or str(file) in batches.problem(2)  # the epoch after


def test_what_does_not_go_together_is_refused(folder):
    arrays = np.zeros((20, 32, 32, 3), "uint8"), np.zeros(20, "int32")
    with pytest.raises(ValueError, match=r"`random_resized_crop` is for photos.*32 x 32 in memory"):
        Batches(*arrays, 2, batch_size=5, preprocessing=PREPROCESSING, augmentation=RESIZED)
    for changes, words in (
        ({"random_resized_crop": True}, "takes the place of `crop_padding`"),
        ({"crop_scale": (0.5, 0.1)}, r"`crop_scale` should be .* received \(0\.5, 0\.1\)"),
        ({"crop_scale": (0.0, 1.0)}, "`crop_scale` should be"),
        ({"crop_ratio": (-1.0, 1.0)}, "`crop_ratio` should be"),
    ):
        with pytest.raises(ValueError, match=words):
            make(folder, Augmentation(**changes))


def test_marks_tell_files_by_path_and_size(tmp_path):
    root = make_folder(tmp_path, count=3) / "train"
    files = scan_folder(root).files
    before = list(Files(files, root).marks())
    assert before[0] == f"cat/00.jpg {files[0].stat().st_size}\n".encode()
    files[0].write_bytes(b"x")
    assert [a == b for a, b in zip(before, Files(files, root).marks(), strict=True)] == (
        [False] + [True] * 5
    )


def test_grey_networks_take_grey_photos(folder):
    grey = Preprocessing(32, mean=(0.5,), std=(0.5,))
    photos = Photos(Files(folder.files, folder.path), grey)
    batches = make(folder, images=photos, preprocessing=grey)
    assert batches.arrays()[0][0].shape == (5, 32, 32, 1)
    if keras.backend.backend() == "tensorflow":
        np.testing.assert_allclose(listed(batches.dataset())[0][0], batches.arrays()[0][0])
