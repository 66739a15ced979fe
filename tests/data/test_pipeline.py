"""Order and augmentation as a function of (seed, epoch, index), on tf.data and from arrays."""

import random

import numpy as np
import pytest
from data.helpers import cropped, made_up, make_batches, run, same

from keras_wrn.data import Preprocessing, default_preprocessing
from keras_wrn.data.datasets import DATASETS
from keras_wrn.data.pipeline import epoch_draws

MEANSTD = Preprocessing(8, mean=(0.4, 0.5, 0.6), std=(0.1, 0.2, 0.3))
ROADS = {
    "paper": {"padding": 4},
    "plain": {"padding": 0, "horizontal_flip": False},
    "crop": {"padding": 2, "horizontal_flip": False},
    "alternating": {"padding": 2, "alternating_flip": True},
    "cutout": {"cutout": 4},
    "mixup": {"mixup": 0.2},
    "cutmix": {"cutmix": 1.0},
    "everything": {
        "cutout": 3,
        "mixup": 1.0,
        "cutmix": 1.0,
        "cutmix_rate": 0.5,
        "jitter": 0.2,
        "rand_augment": 0.5,
    },
}


def make(count=70, batch_size=16, seed=0, preprocessing=MEANSTD, **settings):
    images, labels = made_up(count)
    return make_batches(
        images,
        labels,
        10,
        batch_size=batch_size,
        preprocessing=preprocessing,
        seed=seed,
        **settings,
    )


def test_the_numbers_of_a_seed_and_an_epoch_stay_what_they_were():
    """A run that was begun with an older version goes on with the same images."""
    order, draws = epoch_draws(3, 5, 50_000)
    assert order[:4].tolist() == [1137, 44752, 25036, 9338]
    np.testing.assert_allclose(draws[0], [0.2616303, 0.45113146, 0.04776525], rtol=1e-6)


def test_draws_depend_on_seed_and_epoch_and_make_a_permutation():
    order, draws = epoch_draws(3, 5, 100)
    again = epoch_draws(3, 5, 100)
    np.testing.assert_array_equal(order, again[0])
    np.testing.assert_array_equal(draws, again[1])
    np.testing.assert_array_equal(np.sort(order), np.arange(100))
    for other in (epoch_draws(3, 6, 100), epoch_draws(4, 5, 100)):
        assert not np.array_equal(order, other[0])
        assert not np.array_equal(draws, other[1])


def test_alternating_flips_mirror_every_image_in_every_other_epoch():
    batches = make(seed=3, alternating_flip=True, padding=2)
    flips, offsets = [], []
    for epoch in range(3):
        order, draws = batches.draws(epoch)
        by_image = np.zeros((70, 3), "float32")
        by_image[order.ravel()] = draws.reshape(-1, 3)
        seen = np.zeros(70, bool)
        seen[order.ravel()] = True
        flips.append(np.where(seen, by_image[:, 2] < 0.5, -1))
        offsets.append(by_image[:, :2])
        assert (by_image < 1).all() and (by_image >= 0).all()
    both = (flips[0] >= 0) & (flips[1] >= 0)
    assert both.sum() > 50 and 0.3 < flips[0][both].mean() < 0.7
    np.testing.assert_array_equal(flips[1][both], 1 - flips[0][both])
    again = (flips[0] >= 0) & (flips[2] >= 0)
    np.testing.assert_array_equal(flips[2][again], flips[0][again])
    assert not np.array_equal(offsets[0], offsets[2])  # the crops stay new in every epoch


def test_batches_are_the_crops_of_a_numpy_reference():
    images, labels = made_up(70)
    steps = run(make(seed=7))
    for epoch in range(2):
        order, draws = epoch_draws(7, epoch, 70)
        offsets = np.floor(draws[:, :2] * 9).astype(int)
        crops = cropped(images, offsets, draws[:, 2] >= 0.5, 4)
        expected = (crops / 255 - MEANSTD.mean) / MEANSTD.std
        for step in range(4):
            x, y = steps[4 * epoch + step]
            chosen = order[16 * step : 16 * (step + 1)]
            np.testing.assert_allclose(x, expected[chosen], atol=2e-6)
            np.testing.assert_array_equal(np.argmax(y, axis=1), labels[chosen])
            assert x.dtype == y.dtype == "float32" and y.shape == (16, 10) and y.sum() == 16


@pytest.mark.parametrize("road", ROADS)
def test_arrays_and_dataset_give_the_same_bits_and_resume_at_any_step(road):
    batches = make(**ROADS[road])
    whole = run(batches)
    assert len(whole) == 8
    arrays = batches.arrays(0, 2)
    assert same(whole, [arrays[i] for i in range(len(arrays))])
    assert all(type(part) is np.ndarray for part in arrays[0])
    for start in (1, 4, 6, 8):
        assert same(whole[start:], run(batches, start))
        arrays = batches.arrays(start, 2)
        assert same(whole[start:], [arrays[i] for i in range(len(arrays))])


@pytest.mark.parametrize("road", ["paper", "everything"])
def test_one_seed_gives_one_run_and_another_seed_another(road):
    settings = ROADS[road]
    first = run(make(seed=1, **settings))
    assert same(first, run(make(seed=1, **settings)))
    other = run(make(seed=2, **settings))
    assert not any(np.array_equal(a[0], b[0]) for a, b in zip(first, other, strict=True))
    for a, b in zip(first[:4], first[4:], strict=True):  # the two epochs
        assert not np.array_equal(a[0], b[0])


@pytest.mark.parametrize("settings", [{}, {"cutout": 3}])
def test_an_epoch_has_the_same_images_for_any_batch_size(settings):
    def images_of(batch_size):
        steps = run(make(64, batch_size, **settings), epochs=1)
        return sorted(image.tobytes() for x, _ in steps for image in x)

    assert images_of(8) == images_of(32) == images_of(64)


@pytest.mark.parametrize("settings", [{}, {"mixup": 1.0, "cutmix": 1.0}])
def test_the_last_short_batch_is_dropped(settings):
    images = np.zeros((50_000, 4, 4, 3), "uint8")
    batches = make_batches(
        images, np.zeros(50_000, int), 10, batch_size=128, preprocessing=MEANSTD, padding=2,
        **settings,
    )  # fmt: skip
    assert batches.steps_per_epoch == 390
    assert batches.dataset(epochs=3).cardinality() == 3 * 390
    assert batches.dataset(400, epochs=3).cardinality() == 3 * 390 - 400
    assert len(batches.arrays(400, epochs=3)) == 3 * 390 - 400
    assert make(70).dataset(epochs=1).element_spec[0].shape == (16, 8, 8, 3)


def test_no_image_comes_twice_in_an_epoch():
    images = np.arange(70, dtype="uint8")[:, None, None, None] * np.ones((1, 8, 8, 3), "uint8")
    batches = make_batches(
        images, np.zeros(70, int), 10, batch_size=16, preprocessing=Preprocessing(8)
    )
    seen = np.concatenate([x[:, 0, 0, 0] for x, _ in run(batches, epochs=1)])
    assert len(np.unique(np.rint(seen * 255))) == 64


def test_zca_images_are_whitened_once_and_then_cropped(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    images, _ = made_up(70)
    whitening = default_preprocessing(DATASETS["cifar10"], "zca", images)
    batches = make(preprocessing=whitening, padding=0, horizontal_flip=False)
    order, _ = epoch_draws(0, 0, 70)
    x, _ = run(batches, epochs=1)[0]
    np.testing.assert_allclose(x, whitening.normalize(images)[order[:16]], atol=1e-5)
    arrays = batches.arrays()
    np.testing.assert_array_equal(arrays[0][0], x)


def test_heavy_draws_depend_on_seed_and_epoch():
    settings = {"cutout": 4, "mixup": 0.5, "cutmix": 0.5, "rand_augment": 0.5}
    plan = make(seed=3, **settings).plan(5)
    again = make(seed=3, **settings).plan(5)
    others = [make(seed=3, **settings).plan(6), make(seed=5, **settings).plan(3)]
    assert len(plan) == 7
    for name, part in plan.items():
        np.testing.assert_array_equal(part, again[name])
        assert not any(np.array_equal(part, other[name]) for other in others), name


def test_heavy_augmentation_leaves_the_seeds_of_the_weights_alone():
    random.seed(3)
    before = random.getstate()
    make(cutout=2, mixup=0.2, cutmix=0.2, rand_augment=0.5)
    assert random.getstate() == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 71}, "between 1 and the 70 training images.*batch_size=71"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"padding": 8}, r"below the size \(8, 8\).*padding=8"),
        ({"padding": -1}, "padding=-1"),
        ({"cutout": 9}, r"at most the image size \(8, 8\).*cutout=9"),
        ({"cutout": -1}, "`cutout`.*-1"),
        ({"cutout": 2.5}, "`cutout`.*whole number.*2.5"),
        ({"mixup": -0.1}, "`mixup`.*-0.1"),
        ({"cutmix": float("inf")}, "`cutmix`.*inf"),
        ({"rand_augment": 1.5}, r"`rand_augment`.*in \[0, 1\].*1.5"),
        (
            {"alternating_flip": True, "horizontal_flip": False},
            "`alternating_flip` needs `horizontal_flip`",
        ),
    ],
)
def test_a_setting_out_of_range_is_an_error_that_names_it(settings, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)


def test_images_and_labels_are_checked():
    images, labels = made_up(20)
    settings = {"batch_size": 4, "preprocessing": MEANSTD}
    with pytest.raises(ValueError, match=r"field 'label' should be in 0\.\.4.*classes=10"):
        make_batches(images, np.arange(20) % 10, 5, **settings)
    with pytest.raises(ValueError, match="labels -1 to 3"):
        make_batches(images, np.arange(20) % 5 - 1, 5, **settings)
    with pytest.raises(ValueError, match=r"as many labels.*\(19,\)"):
        make_batches(images, labels[:19], 10, **settings)
    with pytest.raises(ValueError, match="at least one"):
        make_batches(images[:0], labels[:0], 10, **settings)


@pytest.mark.parametrize("road", ["dataset", "arrays"])
@pytest.mark.parametrize("start", [-1, 9])
def test_a_step_outside_the_run_is_an_error(road, start):
    with pytest.raises(ValueError, match=rf"0\.\.8, 2 epochs of 4 steps.*start_step={start}"):
        getattr(make(), road)(start, 2)


@pytest.mark.parametrize("padding", [0, 1])
def test_crops_are_cut_out_of_larger_images(padding):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (40, 11, 13, 3), dtype="uint8")
    settings = {"batch_size": 20, "preprocessing": MEANSTD, "padding": padding, "seed": 3}
    batches = make_batches(images, np.arange(40) % 10, 10, **settings)
    order, draws = epoch_draws(3, 0, 40)
    steps = run(batches, epochs=1)
    seen = set()
    for position, index in enumerate(order):
        found = steps[position // 20][0][position % 20]
        padded = np.pad(images[index], [(padding,) * 2, (padding,) * 2, (0, 0)], mode="reflect")
        top, left = (int(draws[index, i] * (2 * padding + 1 + m)) for i, m in ((0, 3), (1, 5)))
        crop = padded[top : top + 8, left : left + 8]
        crop = crop[:, ::-1] if draws[index, 2] >= 0.5 else crop
        np.testing.assert_allclose(found, MEANSTD.normalize(crop[None])[0], atol=1e-5)
        seen.add((top, left))
    assert max(top for top, _ in seen) == 3 + 2 * padding and min(seen)[0] == 0
