"""The Python of the README runs as it stands."""

import contextlib
import re
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]


def stand_in(directory):
    """The server that the README's reader has started with Docker."""
    sys.path.insert(0, str(ROOT / "tests" / "client"))
    try:
        from double import Double
    finally:
        sys.path.pop(0)
    return Double(directory)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="it makes tf.data and exports")
@pytest.mark.parametrize(
    "served", [False, pytest.param(True, marks=pytest.mark.extra("tensorflow_serving"))]
)
def test_examples_run_in_order(tmp_path, monkeypatch, served):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "saved_models").symlink_to(ROOT / "saved_models")
    Image.fromarray(np.full((40, 50, 3), 128, "uint8")).save("photo.jpg")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) >= 3
    names = {}
    with contextlib.ExitStack() as stack:
        for block in blocks:
            if ("export_serving" in block or "ServingClient" in block) and not served:
                continue
            if "ServingClient" in block:
                double = stack.enter_context(stand_in(tmp_path / "serving"))
                block = block.replace("http://localhost:8501", double.rest_url)
            exec(compile(block, "README.md", "exec"), names)
    assert (tmp_path / "exported" / "saved_model.pb").exists()
    assert (tmp_path / "exported.tflite").exists()
