"""The Python of the README and of the pages runs as it stands."""

import contextlib
import re
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))]
MAKES = "--out", "--run-dir", "--show-dir"  # flags whose value is made by the command


def blocks_of(page):
    """The Python of a page, block by block."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def asks_a_server(block):
    return "export_serving" in block or "ServingClient" in block


WITH_PYTHON = [
    pytest.param(page, False, marks=[pytest.mark.slow] * (page != "README.md"))
    for page in PAGES
    if blocks_of(page)
] + [
    pytest.param(page, True, marks=pytest.mark.extra("tensorflow_serving"))
    for page in PAGES
    if any(map(asks_a_server, blocks_of(page)))
]


def stand_in(directory):
    """The server that the README's reader has started with Docker."""
    sys.path.insert(0, str(ROOT / "tests" / "client"))
    try:
        from double import Double
    finally:
        sys.path.pop(0)
    return Double(directory)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="it makes tf.data and exports")
@pytest.mark.parametrize(("page", "served"), WITH_PYTHON)
def test_examples_run_in_order(tmp_path, monkeypatch, page, served):
    blocks = blocks_of(page)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "saved_models").symlink_to(ROOT / "saved_models")
    Image.fromarray(np.full((40, 50, 3), 128, "uint8")).save("photo.jpg")
    names: dict = {}
    with contextlib.ExitStack() as stack:
        for block in blocks:
            if asks_a_server(block) and not served:
                continue
            if "ServingClient" in block:
                double = stack.enter_context(stand_in(tmp_path / "serving"))
                block = block.replace("http://localhost:8501", double.rest_url)
            exec(compile(block, page, "exec"), names)
            if "model.fit(" in block:  # the first that a reader trains looks as if it worked
                accuracy = names["model"].evaluate(names["test"], verbose=0, return_dict=True)
                assert accuracy["accuracy"] > 0.95
            for tensor, shape in SHAPES.items():
                if shape in block:
                    assert str(eval(tensor, names)) == shape
    made = {"README.md": "exported/saved_model.pb", "docs/serving.md": "served/saved_model.pb"}
    assert page not in made or (tmp_path / made[page]).exists()


# What the comments of the blocks say.
SHAPES = {"maps['stage3'].shape": "(4, 8, 8, 128)", "tuple(labels.shape)": "(32, 10)"}


def test_files_in_commands_are_there_made_before_or_the_reader_s():
    commands = []
    for page in PAGES:
        text = (ROOT / page).read_text()
        own = " ".join(re.findall(r"(?s)(?:Files of your own|Below, )(.*?)\n\n", text))
        known = {name.rstrip("/") for name in re.findall(r"`([^`]+)`", own)}
        here = re.findall(r"(?m)^ {4}((?:keras-wrn|python recipes).*)$", text)
        for command in here:
            words = command.partition("#")[0].split()
            made = {words[i + 1] for i, word in enumerate(words[:-1]) if word in MAKES}
            known |= made
            for word in set(words) - made:
                endings = r"\.(jpg|pth?|keras|safetensors|onnx|tflite)$"
                is_path = "/" in word or re.search(endings, word)
                if is_path and word.rstrip("/") not in known:
                    assert (ROOT / word).exists(), (page, command)
        commands += here
    assert len(commands) > 15
