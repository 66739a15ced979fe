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
MAKES = "--out", "--run-dir", "--show-dir"  # flags whose value is made by the command


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
            if "model.fit(" in block:  # the first that a reader trains looks as if it worked
                accuracy = names["model"].evaluate(names["test"], verbose=0, return_dict=True)
                assert accuracy["accuracy"] > 0.95
            if "extractor(" in block:
                assert names["extractor"](names["images"])["stage3"].shape == (120, 8, 8, 128)
    assert (tmp_path / "exported" / "saved_model.pb").exists()
    assert (tmp_path / "exported.tflite").exists()


def test_files_in_commands_are_there_made_before_or_the_reader_s():
    text = (ROOT / "README.md").read_text()
    own = re.search(r"(?s)\nFiles of your own, below: (.*?)\n\n", text)[1]
    known = {name.rstrip("/") for name in re.findall(r"`([^`]+)`", own)}
    commands = re.findall(r"(?m)^ {4}((?:keras-wrn|python recipes).*)$", text)
    assert len(commands) > 15
    for command in commands:
        words = command.partition("#")[0].split()
        made = {words[i + 1] for i, word in enumerate(words[:-1]) if word in MAKES}
        known |= made
        for word in set(words) - made:
            is_path = "/" in word or re.search(r"\.(jpg|pth?|keras|safetensors|onnx|tflite)$", word)
            if is_path and word.rstrip("/") not in known:
                assert (ROOT / word).exists(), command
