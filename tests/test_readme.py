"""The Python of the README runs as it stands."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="it makes tf.data and exports")
def test_examples_run_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "saved_models").symlink_to(ROOT / "saved_models")
    Image.fromarray(np.full((40, 50, 3), 128, "uint8")).save("photo.jpg")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) >= 3
    names = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert (tmp_path / "exported" / "saved_model.pb").exists()
    assert (tmp_path / "exported.tflite").exists()
