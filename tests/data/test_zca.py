"""GCN and ZCA against the definition, in float64, and the cache of the fit."""

import numpy as np
import pytest
import scipy.linalg
from data.helpers import made_up

from keras_wrn.data import ZCA


def correlated(count=300):
    """Images whose neighbouring pixels are alike, as natural ones' are."""
    images, _ = made_up(count)
    return scipy.ndimage.gaussian_filter(images.astype("float32"), (0, 1, 1, 0)).astype("uint8")


def contrast(images):
    x = images.reshape(len(images), -1).astype("float64")
    x -= x.mean(axis=1, keepdims=True)
    return 55 * x / np.sqrt((x**2).sum(axis=1, keepdims=True))


def test_whitening_is_that_of_the_definition():
    images = correlated()
    zca = ZCA.fit(images, cache_dir=False)
    x = contrast(images)
    covariance = (x - x.mean(0)).T @ (x - x.mean(0)) / len(x)
    matrix = scipy.linalg.fractional_matrix_power(covariance + 0.1 * np.eye(192), -0.5)
    np.testing.assert_allclose(zca.matrix, matrix, atol=1e-4 * np.abs(matrix).max())
    np.testing.assert_allclose(zca.mean, x.mean(0), atol=1e-4)

    others = correlated(320)[300:]
    expected = ((contrast(others) - x.mean(0)) @ matrix).reshape(others.shape)
    found = zca(others.astype("float32"))
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


def test_whitened_pixels_are_nearly_uncorrelated():
    images = correlated(3000)
    white = ZCA.fit(images, cache_dir=False)(images.astype("float32")).reshape(3000, -1)
    variances = np.diag(np.cov(white.T))
    off = np.corrcoef(white.T) - np.eye(192)
    before = np.corrcoef(contrast(images).T) - np.eye(192)
    assert np.abs(off).mean() < 0.3 * np.abs(before).mean()
    assert variances.max() < 1.001


def test_an_image_of_one_colour_gives_no_nan():
    images = correlated()
    flat = np.full((2, 8, 8, 3), 200, "float32")
    assert np.isfinite(ZCA.fit(images, cache_dir=False)(flat)).all()


def test_the_fit_is_cached_by_the_images(tmp_path, monkeypatch):
    images = correlated()
    first = ZCA.fit(images, tmp_path / "cache")
    files = list((tmp_path / "cache").iterdir())
    assert len(files) == 1 and files[0].suffix == ".npz"

    def fail(matrix):
        raise AssertionError("fitted again")

    with monkeypatch.context() as patch:
        patch.setattr(np.linalg, "eigh", fail)
        assert ZCA.fit(images, tmp_path / "cache").digest == first.digest
        with pytest.raises(AssertionError, match="fitted again"):
            ZCA.fit(images[1:], tmp_path / "cache")
    assert ZCA.fit(images[1:], tmp_path / "cache").digest != first.digest
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_the_cache_is_in_keras_own_directory_unless_switched_off(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    ZCA.fit(correlated(20), cache_dir=False)
    assert not list(tmp_path.iterdir())
    ZCA.fit(correlated(20))
    assert len(list((tmp_path / "keras_wrn").glob("zca-*.npz"))) == 1


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"x" * 99])
def test_a_damaged_cache_is_made_anew(tmp_path, damage):
    images = correlated(40)
    first = ZCA.fit(images, tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert ZCA.fit(images, tmp_path).digest == first.digest
    assert [*tmp_path.iterdir()] == [file] and ZCA.load(file).digest == first.digest


def test_a_cache_that_cannot_be_written_costs_only_a_warning(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="could not be cached"):
        zca = ZCA.fit(correlated(20), tmp_path / "file" / "cache")
    assert zca.matrix.shape == (192, 192)


def test_images_of_another_size_are_an_error():
    zca = ZCA.fit(correlated(20), cache_dir=False)
    with pytest.raises(ValueError, match=r"192 values.*\(4, 4, 3\)"):
        zca(np.zeros((48, 4, 4, 3), "float32"))
