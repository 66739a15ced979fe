"""A small SVHN that TFDS itself prepared from made-up files."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

SVHN_SIZES = {"train": 30, "test": 20, "extra": 25}


@pytest.fixture(scope="session")
def svhn_source():
    """Images and labels 1..10 of each split, as SVHN's .mat files hold them."""
    generator = np.random.default_rng(0)
    return {
        split: (
            generator.integers(0, 256, (32, 32, 3, count), dtype="uint8"),
            1 + np.arange(count, dtype="uint8").reshape(-1, 1) % 10,
        )
        for split, count in SVHN_SIZES.items()
    }


@pytest.fixture(scope="session")
def prepared_svhn(svhn_source, tmp_path_factory):
    """A TFDS data directory with svhn_cropped, prepared as on a user's first run."""
    import requests
    import scipy.io
    import tensorflow_datasets as tfds

    from keras_wrn.data import load_arrays

    folder = tmp_path_factory.mktemp("svhn")
    for split, (images, labels) in svhn_source.items():
        scipy.io.savemat(folder / f"{split}_32x32.mat", {"X": images, "y": labels})

    def download(self, urls):
        return {split: str(folder / os.path.basename(url)) for split, url in urls.items()}

    data_dir = folder / "tfds"
    data_dir.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests, "head", lambda url, timeout: None)
        patch.setattr(tfds.download.DownloadManager, "download", download)
        load_arrays("svhn_cropped", "test", data_dir=data_dir)
    return data_dir


@pytest.fixture
def svhn(prepared_svhn, tmp_path):
    """A copy of that directory to break."""
    shutil.copytree(prepared_svhn, tmp_path / "tfds")
    return tmp_path / "tfds"


@pytest.fixture(scope="session")
def tfds_dir():
    """The machine's own TFDS data."""
    path = os.environ.get("TFDS_DATA_DIR")
    if not path or not Path(path).is_dir():
        pytest.skip("TFDS_DATA_DIR does not name a directory with prepared TFDS datasets")
    return Path(path)
