"""RandAugment: for each image, in range, of the stated amounts, and by the seed."""

import numpy as np
import pytest
import tensorflow as tf
from data.helpers import made_up, run, same

from keras_wrn.data import Batches, Preprocessing
from keras_wrn.data.rand_augment import OPERATIONS, RandAugment

COUNT = 64


@pytest.fixture(scope="module")
def strongest():
    return RandAugment(1.0)


def smooth(count=COUNT, size=16):
    """Copies of one image without sharp edges and without black or white, uint8."""
    ramp = np.broadcast_to(np.linspace(64, 190, size), (size, size))
    image = np.stack([ramp.T, ramp, 254 - ramp.T], axis=-1)
    return np.repeat(np.rint(image)[None], count, axis=0).astype("uint8")


def apply(layer, images, name, seed=(1, 2)):
    choice = np.full((len(images), 1), OPERATIONS.index(name), "int32")
    result = layer(tf.constant(images), tf.constant(choice), tf.constant(seed)).numpy()
    assert result.shape == images.shape and result.dtype == "float32"
    assert result.min() >= 0 and result.max() <= 255
    return result


def test_each_image_gets_the_operations_chosen_for_it(strongest):
    images, _ = made_up(len(OPERATIONS), 16)
    choice = np.arange(len(OPERATIONS), dtype="int32")[:, None]
    together = strongest(tf.constant(images), tf.constant(choice), tf.constant([1, 2])).numpy()
    np.testing.assert_array_equal(together[0], images[0])
    for name in ("auto_contrast", "equalize"):  # these draw nothing: alone it comes out the same
        i = OPERATIONS.index(name)
        np.testing.assert_array_equal(together[i], apply(strongest, images[i : i + 1], name)[0])
    changed = np.abs(together - images).max(axis=(1, 2, 3)) > 0.01
    assert changed[1:].sum() >= len(OPERATIONS) - 2  # an amount can be small


def test_two_operations_follow_each_other(strongest):
    images = smooth(8)
    names = ["auto_contrast", "equalize"]
    choice = np.repeat([[OPERATIONS.index(name) for name in names]], 8, axis=0).astype("int32")
    both = strongest(tf.constant(images), tf.constant(choice), tf.constant([1, 2])).numpy()
    one = apply(strongest, images, names[0])
    np.testing.assert_array_equal(both, apply(strongest, one, names[1]))
    assert not np.array_equal(both, one)


@pytest.mark.parametrize("name", [n for n in OPERATIONS if n not in ("identity", "posterize")])
def test_amounts_are_an_images_own(strongest, name):
    results = apply(strongest, smooth(), name)
    distinct = len(np.unique(results.reshape(COUNT, -1), axis=0))
    assert distinct == 1 if name in ("auto_contrast", "equalize") else distinct > COUNT / 3


def test_the_other_images_do_not_matter(strongest):
    images, _ = made_up(8, 16)
    others = images.copy()
    others[1:] = others[1:] // 8
    for name in OPERATIONS:
        one, other = (apply(strongest, x, name)[0] for x in (images, others))
        np.testing.assert_array_equal(one, other, err_msg=name)


def test_amounts_go_in_both_directions_up_to_the_stated_range(strongest):
    images = smooth(256)
    plain = images[0].astype("float32")
    half = RandAugment(0.5)

    added = apply(half, images, "brightness") - plain
    assert np.ptp(added, axis=(1, 2, 3)).max() < 1e-3  # the same for each pixel
    assert -63.8 <= added.min() < -50 and 50 < added.max() <= 63.8

    spread = apply(half, images, "contrast").std(axis=(1, 2)) / plain.std(axis=(0, 1))
    assert 0.54 < spread.min() < 0.65 and 1.35 < spread.max() < 1.46

    colour = apply(half, images, "color").std(axis=-1).mean(axis=(1, 2)) / plain.std(axis=-1).mean()
    assert 0.54 < colour.min() < 0.65 and 1.35 < colour.max() < 1.46

    edges, _ = made_up(1, 16)
    edges = np.repeat(edges // 4 + 96, 256, axis=0)
    crisp = apply(half, edges, "sharpness").std(axis=(1, 2, 3)) / edges.std()
    assert crisp.min() < 0.8 and crisp.max() > 1.15


def test_the_largest_moves(strongest):
    images = np.zeros((256, 33, 33, 1), "float32")
    images[:, 16, 16] = 255  # seen where it goes; 128 comes in from outside
    rows, columns = np.meshgrid(np.arange(33), np.arange(33), indexing="ij")

    def shifts(name):
        result = apply(strongest, images, name)[..., 0]
        light = np.where(result > 129, result, 0)
        light[light.sum(axis=(1, 2)) == 0, 16, 16] = 1  # spread below 129: leave out
        total = light.sum(axis=(1, 2))
        return [(light * axis).sum(axis=(1, 2)) / total - 16 for axis in (rows, columns)]

    for name, moved in (("translate_y", 0), ("translate_x", 1)):
        both = shifts(name)
        largest = 33 * 10 / 32
        assert np.abs(both[1 - moved]).max() < 1e-3
        assert -largest <= both[moved].min() < -8 and 8 < both[moved].max() <= largest
    lines = np.zeros((256, 33, 33, 1), "float32")
    lines[:, 16, 4:29] = 255
    turned = apply(strongest, lines, "rotate")[..., 0]
    ends = [np.argmax(turned[:, :, column], axis=1) - 16 for column in (8, 24)]
    slopes = (ends[1] - ends[0]) / 16
    assert 0.4 < slopes.max() <= np.tan(np.deg2rad(30)) + 1 / 16
    assert -0.4 > slopes.min() >= -np.tan(np.deg2rad(30)) - 1 / 16


def test_posterize_and_solarize(strongest):
    ramp = np.repeat(np.arange(256, dtype="uint8").reshape(1, 16, 16, 1), COUNT, axis=0)
    images = np.repeat(ramp, 3, axis=-1)
    levels = [len(np.unique(image)) for image in apply(strongest, images, "posterize")]
    assert set(levels) == {2**4, 2**5, 2**6, 2**7}
    mild = apply(RandAugment(0.2), images, "posterize")
    assert {len(np.unique(image)) for image in mild} == {2**7}

    plain = images.astype("float32")
    result = apply(RandAugment(0.5), images, "solarize")
    turned = result != plain
    np.testing.assert_array_equal(result[turned], 255 - plain[turned])
    lowest = plain.reshape(COUNT, -1)[:, ::3].max(axis=1) - turned[..., 0].sum(axis=(1, 2)) + 1
    assert lowest.min() >= 127 and np.ptp(lowest) > 60  # only above a threshold in 127..255


def make(seed=0, strength=0.7, count=48, **settings):
    images, labels = made_up(count, 16)
    settings = {"batch_size": 16, "preprocessing": Preprocessing(16), "seed": seed, **settings}
    return Batches(images, labels, 10, rand_augment=strength, **settings)


def test_a_run_with_it_repeats_resumes_and_stays_in_range():
    batches = make(cutmix=1.0)
    whole = run(batches)
    assert all(x.min() >= 0 and x.max() <= 1 and x.shape == (16, 16, 16, 3) for x, _ in whole)
    assert same(whole[2:], run(batches, 2))
    assert same(whole[4:], run(make(cutmix=1.0), 4))
    other = run(make(seed=1, cutmix=1.0))
    assert not any(np.array_equal(a[0], b[0]) for a, b in zip(whole, other, strict=True))


def test_it_comes_before_the_crop_which_stays_what_it_was():
    batches = make()
    plan = {name: part[1] for name, part in batches.plan(0).items()}
    layer = RandAugment(0.7)
    augmented = layer(
        tf.constant(batches.images[plan["order"]]), plan["operations"], tf.constant(plan["seed"])
    )
    expected = batches.augment(augmented.numpy(), plan["draws"])
    x, _ = run(batches, epochs=1)[1]
    np.testing.assert_allclose(x, expected, atol=1e-5)
    plain = make(strength=0.0).plan(0)
    np.testing.assert_array_equal(plain["draws"], batches.plan(0)["draws"])


def test_operations_differ_within_a_batch_and_come_equally_often():
    images = np.zeros((2800, 4, 4, 3), "uint8")
    batches = Batches(
        images, np.zeros(2800, int), 10, batch_size=28, preprocessing=Preprocessing(4), padding=0,
        rand_augment=0.5,
    )  # fmt: skip
    plan = batches.plan(0)
    assert plan["operations"].shape == (100, 28, 2) and plan["seed"].shape == (100, 2)
    assert all(len(np.unique(step)) > 7 for step in plan["operations"])
    counts = np.bincount(plan["operations"].ravel(), minlength=len(OPERATIONS))
    assert len(counts) == len(OPERATIONS) and counts.min() > 300 and counts.max() < 500
    assert len(np.unique(plan["seed"], axis=0)) == 100


def test_where_it_cannot_work_it_says_so(tmp_path, monkeypatch):
    from keras_wrn.data import default_preprocessing
    from keras_wrn.data.datasets import DATASETS

    with pytest.raises(ValueError, match="needs the TensorFlow backend"):
        make().arrays()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    whitening = default_preprocessing(DATASETS["cifar10"], "zca", made_up(48, 16)[0][:, :4, :4])
    with pytest.raises(ValueError, match="ZCA"):
        Batches(*made_up(48, 4), 10, batch_size=8, preprocessing=whitening, padding=0,
                rand_augment=0.1)  # fmt: skip
    with pytest.raises(ValueError, match="RGB"):
        Batches(*made_up(48, 4, channels=1), 10, batch_size=8, padding=0,
                preprocessing=Preprocessing(4, mean=(0,), std=(1,)), rand_augment=0.1)  # fmt: skip
