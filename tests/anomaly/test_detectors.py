"""PatchCore and PaDiM against plain NumPy and PyTorch, written from the papers."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from anomaly.small import folder, good, network, photo
from anomaly.test_coreset import plain

import keras_wrn
from keras_wrn.anomaly import PaDiM, PatchCore
from keras_wrn.anomaly import patchcore as module
from keras_wrn.anomaly.photos import as_square
from keras_wrn.errors import DataError

SIZE = 32
MODELS = {"patchcore": (PatchCore, {"coreset": 0.05}), "padim": (PaDiM, {"features": 30})}


def squares(count, seed=1, size=SIZE):
    """Images with something odd in them, float32 pixels."""
    random = np.random.default_rng(seed)
    return np.stack([photo(random, size, size, odd=True)[0] for _ in range(count)]).astype(
        "float32"
    )


def fitted(kind, count=6, **settings):
    build, usual = MODELS[kind]
    return build(network(), image_size=SIZE, **{**usual, **settings}).fit(good(count))


def reference_features(model, images, local, network=None):
    """The features of images by PyTorch's pooling and resize, float64 (n, places, channels).

    The maps are those of stages 2 and 3 of a network of timm, or of the model's own trunk.
    """
    torch = pytest.importorskip("torch")
    from torch.nn import functional

    pixels = model.preprocessing.normalize(images)
    if network is None:
        maps = model.trunk.predict_on_batch(pixels).values()
        maps = [torch.from_numpy(np.array(one)).permute(0, 3, 1, 2) for one in maps]
    else:
        with torch.no_grad():
            x = torch.from_numpy(pixels).permute(0, 3, 1, 2)
            x = network.maxpool(network.act1(network.bn1(network.conv1(x))))
            maps = [network.layer2(network.layer1(x))]
            maps.append(network.layer3(maps[0]))
    joined = []
    for one in maps:
        one = one.double()
        one = functional.avg_pool2d(one, 3, 1, 1) if local else one
        joined.append(
            functional.interpolate(one, model.places, mode="bilinear", align_corners=False)
        )
    return torch.cat(joined, 1).flatten(2).permute(0, 2, 1).numpy()


def reference_map(distances, places, size, sigma):
    """A map resized by PyTorch and blurred by SciPy."""
    torch = pytest.importorskip("torch")
    from scipy import ndimage

    grid = torch.from_numpy(distances.reshape(-1, 1, *places))
    grid = torch.nn.functional.interpolate(grid, (size, size), mode="bilinear")[:, 0].numpy()
    return np.stack([
        ndimage.gaussian_filter(one, sigma, mode="mirror", truncate=4.0) for one in grid
    ])  # fmt: skip


@pytest.mark.extra("torch", "timm")
@pytest.mark.parametrize("name", ["wrn", "wide_resnet50_2"])
def test_patchcore_is_that_of_the_paper(name):
    theirs = None
    if name == "wrn":
        model = fitted("patchcore", 5, top_share=0.0)
    else:
        sys.path.append(str(Path(__file__).parents[1] / "weights"))
        from timm_networks import timm_network

        theirs = timm_network(name)
        wide = keras_wrn.WideResNet50_2(input_shape=(64, 64, 3))
        keras_wrn.load_torch_weights(wide, theirs.state_dict())
        wide.preprocessing = keras_wrn.Preprocessing(64, mean=(0.5,) * 3, std=(0.25,) * 3)
        model = PatchCore(wide, image_size=64, coreset=0.3).fit(good(5))
        assert model.channels == 512 + 1024 and model.places == (8, 8) and model.top_share == 0
    size = model.preprocessing.size
    photos = np.stack([as_square(x, size, "bilinear") for x in good(5)])
    order = np.random.default_rng(0).permutation(5)
    features = reference_features(model, photos[np.sort(order[1:])], True, theirs)
    flat = features.reshape(-1, features.shape[-1])
    random = np.random.default_rng([0, 1])
    start = int(random.integers(len(flat)))
    searched = flat
    if flat.shape[1] > 128:
        searched = flat @ (random.standard_normal((flat.shape[1], 128)) / 128**0.5)
    chosen = plain(searched, model.points, start)
    bank = flat[chosen]
    found = model.bank.value.numpy()[:, :-2] + model.center.value.numpy()
    # The features, and the chosen patches; two of them may change places by rounding.
    apart = np.sqrt(((found[:, None] - bank) ** 2).sum(-1))
    assert (apart.argmin(axis=1) == np.arange(len(bank))).mean() > 0.95
    assert apart.min(axis=1).max() < 1e-4 * np.sqrt((bank**2).sum(-1).max())
    assert sorted(apart.argmin(axis=1)) == list(range(len(bank)))

    images = squares(3, size=size)
    patches = reference_features(model, images, True, theirs)
    distances = np.stack(
        [[np.sqrt(((patch - bank) ** 2).sum(-1)) for patch in one] for one in patches]
    )
    nearest = distances.min(axis=2)
    scores = []
    for one, apart in zip(patches, distances, strict=True):
        place = apart.min(axis=1).argmax()
        star = apart[place].argmin()
        around = np.argsort(((bank - bank[star]) ** 2).sum(-1))[:9]
        assert star in around
        lengths = np.sqrt(((bank[around] - one[place]) ** 2).sum(-1))
        powers = np.exp(lengths - lengths.max())
        own = powers[list(around).index(star)]
        scores.append((1 - own / powers.sum()) * apart[place, star])
    answer = model.predict_on_batch(images)
    np.testing.assert_allclose(answer["score"], scores, rtol=1e-4)
    expected = reference_map(nearest, model.places, size, size / 64)
    # The two trunks, both in float32, are apart by as much as the maps.
    share = 1e-4 if theirs is None else 5e-4
    assert np.abs(answer["map"] - expected).max() < share * expected.max()


@pytest.mark.extra("torch")
@pytest.mark.parametrize(("count", "features"), [(6, 30), (40, 8)])
def test_padim_is_that_of_the_paper(count, features):
    model = fitted("padim", count, features=features, top_share=0.0)
    photos = np.stack([as_square(x, SIZE, "bilinear") for x in good(count)])
    order = np.random.default_rng(0).permutation(count)
    known = reference_features(model, photos[np.sort(order[max(1, round(0.2 * count)) :])], False)
    known = known[..., list(model.picked)]
    images = squares(3)
    asked = reference_features(model, images, False)[..., list(model.picked)]
    distances = np.empty(asked.shape[:2])
    for place in range(known.shape[1]):
        covariance = np.cov(known[:, place].T) + 0.01 * np.eye(features)
        apart = asked[:, place] - known[:, place].mean(axis=0)
        inverse = np.linalg.inv(covariance)
        distances[:, place] = np.sqrt(np.einsum("bi,ij,bj->b", apart, inverse, apart))
    expected = reference_map(distances, model.places, SIZE, SIZE / 64)
    answer = model.predict_on_batch(images)
    assert np.abs(answer["map"] - expected).max() < 1e-4 * expected.max()
    np.testing.assert_allclose(answer["score"], expected.max(axis=(1, 2)), rtol=1e-4)


def test_squared_lengths_in_two_parts_are_exact():
    for size in (3.0, 5e4, 9e8):
        lengths = np.random.default_rng(0).uniform(0, size, 1000)
        parts, scale = module.in_two(lengths)
        assert (parts == parts.astype("float16")).all() and scale == 2.0 ** round(np.log2(scale))
        assert np.abs(parts.sum(axis=1, dtype="float64") * scale - lengths).max() < 3e-7 * size


def test_distances_in_blocks_are_those_at_once(monkeypatch):
    model = fitted("patchcore", top_share=0.0)
    images = squares(2)
    expected = model.call(images)
    monkeypatch.setattr(module, "AT_ONCE", 32 * 32 * 40)
    assert model.points > 100  # three blocks or more
    found = model.call(images)
    for name in ("score", "map"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)


@pytest.mark.parametrize("kind", MODELS)
def test_a_saved_model_answers_the_same(kind, tmp_path):
    model = fitted(kind)
    model.save(tmp_path / "model.keras")
    loaded = keras_wrn.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model) and loaded.threshold == model.threshold
    images = squares(2)
    expected, found = model.predict(images, verbose=0), loaded.predict(images, verbose=0)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)
    assert loaded.get_config().keys() == model.get_config().keys()
    assert not loaded.trainable_weights


@pytest.mark.parametrize("kind", MODELS)
def test_what_is_odd_scores_higher_and_where_it_is(kind):
    model = fitted(kind, 12)
    random = np.random.default_rng(9)
    fine = [photo(random)[0] for _ in range(3)]
    odd, masks = zip(*(photo(random, odd=True) for _ in range(9)), strict=True)
    low = model.score(fine)
    high = model.score(list(odd))
    assert max(x["score"] for x in low) < min(x["score"] for x in high)
    for one, mask in zip(high, masks, strict=True):
        assert one["map"].shape == mask.shape and one["map"].dtype == "float32"
        assert one["map"][mask].mean() > 1.5 * one["map"][~mask].mean()
    assert all(x["is_anomaly"] for x in high)
    alone = model.score(odd[0])
    assert alone["score"] == pytest.approx(high[0]["score"], rel=1e-5)


def test_the_threshold_is_a_quantile_or_that_of_the_best_f1():
    photos = good(10)
    model = PatchCore(network(), image_size=SIZE).fit(photos, validation=0.4, quantile=1.0)
    held = np.sort(np.random.default_rng(0).permutation(10)[:4])
    scores = [x["score"] for x in model.score([photos[i] for i in held])]
    assert model.threshold == pytest.approx(max(scores), rel=1e-5)
    odd = [photo(np.random.default_rng(i), odd=True)[0] for i in range(3)]
    told = PatchCore(network(), image_size=SIZE).fit(photos, validation=0.4, defects=odd)
    highest = min(x["score"] for x in told.score(odd))
    assert max(scores) < told.threshold < highest
    told.threshold = 100.0
    assert not told.score(odd[0])["is_anomaly"]


def test_photos_of_any_size_and_kind_are_taken(tmp_path):
    model = fitted("padim")
    root = folder(tmp_path)
    paths = sorted((root / "test").rglob("*.png"))
    results = model.score([paths[0], paths[1].read_bytes(), np.zeros((9, 200), "uint8")])
    assert [x["map"].shape for x in results] == [(40, 60), (41, 59), (9, 200)]
    assert model.score([]) == []
    by_folder = PaDiM(network(), image_size=SIZE, features=30).fit(root)
    by_paths = PaDiM(network(), image_size=SIZE, features=30).fit(
        sorted((root / "train" / "good").iterdir())
    )
    assert by_folder.threshold == by_paths.threshold


def test_what_suits_a_network_comes_with_it():
    assert PatchCore(network()).get_config()["top_share"] == 0.01
    model = PatchCore(network())
    assert model.preprocessing.size == 48 and model.places == (48, 48)
    assert list(model.trunk.output) == ["stage1", "stage2", "stage3"]
    extractor = keras_wrn.feature_extractor(network(), (2, 3))
    model = PatchCore(extractor)
    assert model.preprocessing.size == 32 and list(model.trunk.output) == ["stage2", "stage3"]


@pytest.mark.parametrize(("settings", "message"), [
    ({"coreset": 0}, "`coreset` should be in"),
    ({"neighbours": 1}, "`neighbours` should be 0, or 2 or more"),
    ({"top_share": 2}, "`top_share` should be in 0..1"),
    ({"smoothing": 90}, "`smoothing` should be 0 to 6 pixels"),
    ({"stages": (7,)}, "`stages` should be different ones of"),
    ({"image_size": 0}, "`image_size` should be a positive integer"),
])  # fmt: skip
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        PatchCore(network(), **settings)


def test_bad_photos_are_refused_before_anything_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(PatchCore, "_features", None)  # nothing is computed
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "broken" / f"{name}.png").write_bytes(b"no image")
    (tmp_path / "wrong" / "test").mkdir(parents=True)
    for given, settings, message in (
        (tmp_path / "none", {}, "Expected a folder of good photos"),
        (tmp_path / "empty", {}, "Received: none"),
        (tmp_path / "wrong", {}, "without train/good/"),
        (tmp_path / "broken", {}, "a.png"),
        (good(1), {}, "Expected 2 good photos or more.*Received: 1"),
        ([], {}, "Received: 0"),
        (good(5), {"validation": 1.0}, "`validation`"),
        (good(5), {"quantile": 0}, "`quantile`"),
        (good(5), {"max_memory": 0.001}, r"4 photos need 0\.0.* GB.*`max_memory`"),
        (good(5), {"defects": tmp_path / "empty"}, "Received: none"),
    ):
        with pytest.raises((ValueError, DataError), match=f"(?s){message}"):
            PatchCore(network(), image_size=SIZE).fit(given, **settings)


def test_features_that_are_no_numbers_are_refused():
    broken = network()
    broken.get_layer("conv1").kernel.assign(broken.get_layer("conv1").kernel.value * np.nan)
    with pytest.raises(ValueError, match=r"features of .* have NaN or infinity"):
        PatchCore(broken, image_size=SIZE).fit(good(4))


def test_a_model_is_fitted_once_and_before_it_is_used():
    model = PaDiM(network(), image_size=SIZE)
    for use in (lambda: model.score(good(1)), lambda: model.threshold,
                lambda: model.predict_on_batch(squares(1))):  # fmt: skip
        with pytest.raises(ValueError, match="has seen no photos yet"):
            use()
    model.fit(good(4))
    with pytest.raises(ValueError, match="fitted already"):
        model.fit(good(4))


def test_networks_that_do_not_fit_are_named():
    plain = keras_wrn.WideResNet(10, 1)
    with pytest.raises(ValueError, match=r"to have a `preprocessing`.*Received: none"):
        PatchCore(plain)
    with pytest.raises(ValueError, match="Expected a network of this package"):
        PatchCore(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()]))


@pytest.mark.parametrize("build", [PatchCore, PaDiM])
@pytest.mark.parametrize("stages", [(0, 1), (0, 2), (3, 2), 2])
def test_stages_in_any_order_are_joined_in_the_size_of_the_largest(build, stages):
    model = build(network(), image_size=SIZE, stages=stages).fit(good(6))
    sizes = {0: 32, 1: 32, 2: 16, 3: 8}
    largest = max(sizes[x] for x in np.atleast_1d(stages))
    assert model.places == (largest, largest)
    random = np.random.default_rng(9)
    odd, mask = photo(random, odd=True)
    found = model.score([odd, photo(random)[0], odd])
    assert len(found) == 3 and found[0]["score"] > 1.5 * found[1]["score"]
    assert found[0]["map"][mask].mean() > 1.5 * found[0]["map"][~mask].mean()


def test_a_given_feature_model_is_checked_and_left_as_it_is():
    extractor = keras_wrn.feature_extractor(network(), (3, 2))
    model = PatchCore(extractor).fit(good(5))
    assert extractor.trainable and model.places == (16, 16)
    assert model.score(good(1))[0]["score"] >= 0
    extractor.preprocessing = None
    with pytest.raises(ValueError, match=r"to have a `preprocessing`.*Received: none"):
        PatchCore(extractor)
    anything = keras_wrn.WideResNet(10, 1, input_shape=(None, None, 3))
    anything.preprocessing = network().preprocessing
    with pytest.raises(ValueError, match="for square images of its preprocessing's size, 32"):
        PatchCore(keras_wrn.feature_extractor(anything, 2))


def test_a_lone_patch_has_no_weight():
    model = PatchCore(network(), image_size=SIZE, coreset=1e-9, top_share=0.0).fit(good(5))
    assert model.points == 1
    assert model.score(good(1))[0]["score"] > 0


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_distances_are_in_float32_whatever_the_policy_is(policy, set_policy, tmp_path):
    model = PatchCore(network(), image_size=SIZE, coreset=0.05, top_share=0.0).fit(good(5))
    model.save(tmp_path / "model.keras")
    expected = model.predict_on_batch(squares(2))
    set_policy(policy)
    found = keras_wrn.load_model(tmp_path / "model.keras").predict_on_batch(squares(2))
    np.testing.assert_allclose(found["score"], expected["score"], rtol=1e-5)
    low = PatchCore(network(), image_size=SIZE, coreset=0.05, top_share=0.0).fit(good(5))
    assert low.predict_on_batch(squares(2))["map"].dtype == "float32"


def test_a_fit_that_was_cut_off_leaves_no_model():
    def stop(line):
        if line["step"] == "memory":
            raise KeyboardInterrupt

    model = PaDiM(network(), image_size=SIZE)
    with pytest.raises(KeyboardInterrupt):
        model.fit(good(4), log=stop)
    with pytest.raises(ValueError, match="has seen no photos yet"):
        model.score(good(1))


@pytest.mark.parametrize("settings", [
    {"seed": -1}, {"seed": None}, {"name": "Plätzchen"}, {"top_share": "a"}, {"smoothing": True},
])  # fmt: skip
def test_odd_settings_are_named(settings):
    (name,) = settings
    with pytest.raises(ValueError, match=f"`{name}` should be"):
        PatchCore(network(), **settings)


def test_features_far_from_each_other_are_refused():
    wild = network()
    wild.get_layer("conv1").kernel.assign(wild.get_layer("conv1").kernel.value * 1e7)
    with pytest.raises(ValueError, match="less than 30,000 from their mean"):
        PatchCore(wild, image_size=SIZE, stages=(0,)).fit(good(4))
