"""The speed benchmark: who takes part, what a ratio is, and that its page is what it measured."""

import gc
import json
from pathlib import Path

import pytest
import tensorflow as tf

from benchmarks import rows, speed, speed_page
from keras_wrn.models.convolution import REWRITE
from keras_wrn.training.report import BEGIN, END

ROOT = Path(__file__).parents[1]
MEASURED = ROOT / "benchmarks/results/speed.json"


def test_a_ratio_is_of_one_round():
    ours, theirs = {"rounds": [1.0, 4.0, 9.0]}, {"rounds": [2.0, 4.0, 6.0]}
    assert rows.ratio(ours, theirs) == {"median": 1.0, "quartiles": [0.75, 1.25]}


def test_a_row_measured_again_takes_the_place_of_the_old_one():
    old = [
        {"network": "wrn_16_4", "size": 32, "batch": batch, "precision": "float32", "of": "old"}
        for batch in (32, 128)
    ]
    rows_now = speed.with_row(old, {**old[0], "of": "new"})
    assert rows_now == [old[1], {**old[0], "of": "new"}]
    other = {**old[0], "precision": "bfloat16"}
    assert speed.with_row(old, other) == [*old, other]


def test_contestants_take_turns_in_processes_of_their_own():
    row = {"side": 64, "precision": "float32"}
    found = speed.compete("matmul", row, 2, ["tensorflow", "nobody"])
    assert len(found["tensorflow"]["rounds"]) == 2
    assert 0 < found["tensorflow"]["seconds"] == min(found["tensorflow"]["rounds"]) < 1
    assert 50 < found["tensorflow"]["peak_memory_mb"] < 4000
    assert "KeyError: 'nobody'" in found["nobody"]["error"]


def test_a_contestant_stays_in_its_precision():
    rows.compute_in("bfloat16")
    try:
        gc.collect()  # a scope that nobody holds would be left now
        assert tf.config.optimizer.get_experimental_options()[REWRITE]
    finally:
        rows._FOR_LIFE.close()


def measured():
    """A result as speed.py writes it, with numbers that can be followed."""
    turn = {"rounds": [0.2, 0.2], "seconds": 0.2, "peak_memory_mb": 900}
    slow = {"rounds": [0.4, 0.4], "seconds": 0.4, "peak_memory_mb": 1200}
    half = {"median": 0.5, "quartiles": [0.4, 0.6]}
    row = {"network": "wrn_16_4", "size": 32, "batch": 32, "precision": "bfloat16",
           "flops": 20e9, "best_peer": "pytorch"}  # fmt: skip
    training = {"ours": turn, "pytorch": slow, "pytorch compiled": {"error": "no compiler"}}
    inference = {"ours onnx": slow, "ours litert int8": turn, "pytorch float32": slow}
    return {
        "matmul": {"bfloat16": {"gflops": 200.0, "of": "tensorflow, 1024"}},
        "training": [{**row, "contestants": training, "ratios": {"ours": half}}],
        "inference": [{**row, "contestants": inference, "best_peer": "pytorch float32",
                       "ratios": {"ours onnx": half, "ours litert int8": half}}],
        "fit": {"ratio": half},
        "input": {"images": 1000, "batch": 100, "contestants": {"ours": turn, "pytorch": slow},
                  "ratio": half},
        "start_up": {"import keras_wrn": 3.5},
        "versions": {"machine": "a machine", "keras": "3"},
    }  # fmt: skip


def test_the_tables_say_what_was_measured(tmp_path):
    text = speed_page.page(measured())
    row = "| WRN-16-4, batch 32, bfloat16 | 200 | 400 | - | 0.50 (0.40 to 0.60) "
    assert row + "| 50 % | 25 % | 900 | 1,200 |" in text
    assert "| ours onnx | 400 (0.50) |" in text and "| pytorch float32 | **400** |" in text
    assert "float32, ours litert int8: WRN-16-4, batch 32 2.00 (2.00 to 2.00)." in text
    assert "5,000 images a second, PyTorch's loader 2,500" in text
    assert "import keras_wrn 3.5 s" in text
    speed_page.plot(measured(), tmp_path / "speed.png")
    partly = measured()
    del partly["inference"]
    assert "### Inference\n\nNot measured yet." in speed_page.page(partly)
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(not MEASURED.exists(), reason="not measured yet")
def test_the_page_is_made_from_the_log():
    text = (ROOT / "docs/speed.md").read_text()
    part = text.split(BEGIN)[1].split(END)[0].strip()
    assert part == speed_page.page(json.loads(MEASURED.read_text())).strip()
