"""The speed benchmark: who takes part, what a ratio is, and that its page is what it measured."""

import gc
import json
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from benchmarks import rows, speed, speed_page
from benchmarks.speed_page import INT8
from keras_wrn.models.convolution import REWRITE
from keras_wrn.training.report import BEGIN, END

ROOT = Path(__file__).parents[1]
MEASURED = ROOT / "benchmarks/results/speed.json"


def test_a_ratio_is_of_one_round():
    ours, theirs = {"rounds": [1.0, 4.0, 9.0]}, {"rounds": [2.0, 4.0, 6.0]}
    assert rows.ratio(ours, theirs) == {"median": 1.0, "quartiles": [0.75, 1.25]}


def test_the_median_lies_within_the_middle_rounds():
    twenty = {"rounds": [*range(20, 0, -1)]}, {"rounds": [1] * 20}
    # 15 of 20 fair coins are heads or more in 2.1 % of cases, 14 in 5.8.
    assert rows.median_interval(*twenty) == (6, 15)
    assert rows.median_interval({"rounds": [3, 1, 2]}, {"rounds": [1] * 3}) == (1, 3)


def test_a_row_measured_again_takes_the_place_of_the_old_one():
    old = [
        {"network": "wrn_16_4", "size": 32, "batch": batch, "precision": "float32", "of": "old"}
        for batch in (32, 128)
    ]
    assert speed.with_row(old, {**old[0], "of": "new"}) == [{**old[0], "of": "new"}, old[1]]
    other = {**old[0], "precision": "bfloat16"}
    assert speed.with_row(old, other) == [*old, other]


def test_contestants_take_turns_in_processes_of_their_own():
    row = {"side": 64, "precision": "float32"}
    found = speed.compete("matmul", row, 2, ["tensorflow", "nobody"])
    assert len(found["tensorflow"]["rounds"]) == 2
    assert 0 < found["tensorflow"]["seconds"] == min(found["tensorflow"]["rounds"]) < 1
    assert 50 < found["tensorflow"]["peak_memory_mb"] < 4000
    assert "KeyError: 'nobody'" in found["nobody"]["error"]


def test_a_step_of_fit_is_measured_on_jax(monkeypatch):
    pytest.importorskip("jax")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    row = {"network": "wrn_10_1", "size": 32, "batch": 4, "precision": "float32"}
    found = speed.compete("training", row, 1, ["ours"])["ours"]
    assert 0 < found.get("seconds", 0) < 5, found


def test_fit_and_its_bare_step_take_turns():
    found = speed.fit_overhead(2, quick=True, precision="float32")
    fit, step = (found["contestants"][name]["rounds"] for name in ("fit", "step"))
    assert len(fit) == len(step) == 2 and min(fit + step) > 0 and max(fit + step) < 5
    assert 0.3 < found["ratio"]["median"] < 3


def test_a_contestant_stays_in_its_precision():
    rows.compute_in("bfloat16")
    try:
        gc.collect()  # a scope that nobody holds would be left now
        assert tf.config.optimizer.get_experimental_options()[REWRITE]
    finally:
        rows._FOR_LIFE.close()


def measured():
    """A result as speed.py writes it, with numbers that can be followed."""
    now = {"load_before": 0.25, "versions": {"machine": "a machine", "keras": "3"}}
    turn = {"rounds": [0.2, 0.2], "seconds": 0.2, "peak_memory_mb": 900}
    slow = {"rounds": [0.4, 0.4], "seconds": 0.4, "peak_memory_mb": 1200}
    half = {"median": 0.5, "quartiles": [0.4, 0.6]}
    row = {"network": "wrn_16_4", "size": 32, "batch": 32, "precision": "bfloat16", **now,
           "flops": 20e9}  # fmt: skip
    training = {"ours": turn, "pytorch": slow, "pytorch compiled": {"error": "no compiler"}}
    inference = {"ours onnx": slow, INT8: turn, "pytorch float32": slow}
    ratios = {"ours onnx": {**half, "median": 0.75}, INT8: half}
    ours = {"contestants": training, "best_peer": "pytorch", "ratios": {"ours": half}}
    files = {"contestants": inference, "best_peer": "pytorch float32", "ratios": ratios}
    return {
        "matmul": {"peak": {"bfloat16": {"gflops": 200.0, "of": "tensorflow, 1024"}}, **now},
        "training": [{**row, **ours}],
        "inference": [{**row, **files}],
        "fit": {**row, "ratio": half, "contestants": {"step": slow, "fit": turn}},
        "input": {"images": 1000, "batch": 100, "contestants": {"ours": turn, "pytorch": slow},
                  "ratio": half, **now},
        "start_up": {"seconds": {"import keras_wrn": 3.5}, **now},
        "versions": {"machine": "another"},
    }  # fmt: skip


def test_the_tables_say_what_was_measured():
    text = speed_page.page(measured())
    row = "| WRN-16-4, batch 32, bfloat16 | 200 | 400 | - | 0.50 (0.40 to 0.60) | 0.50 "
    assert row + "| 50 % | 25 % | 900 | 1,200 | 0.2 |" in text
    assert "| ours onnx | 400; 0.75 (0.40 to 0.60) |" in text
    assert "| pytorch float32 | **400** |" in text
    assert "over PyTorch's best: WRN-16-4, batch 32 0.75 (0.40 to 0.60), onnx." in text
    assert "best in float32: WRN-16-4, batch 32 2.00 (2.00 to 2.00)." in text
    assert "5,000 images a second, PyTorch's loader 2,500" in text
    assert "at most 3.2 % (WRN-16-4, batch 32)" in text
    assert "bare step, WRN-16-4, batch 32: 0.50 (0.40 to 0.60); the median lies between" in text
    assert "between 0.500 and 0.500 (95 %, 2 rounds)" in text
    assert "import keras_wrn 3.5 s" in text and "Measured on a machine; keras 3." in text


def test_a_page_that_is_not_there_is_made_with_its_picture(tmp_path, monkeypatch):
    log, page = tmp_path / "gpu.json", tmp_path / "gpu.md"
    log.write_text(json.dumps(measured()))
    monkeypatch.setattr(sys, "argv", ["speed_page.py", str(log), "--page", str(page)])
    speed_page.main()
    assert page.read_text().startswith("# Speed") and "![ratios](gpu.png)" in page.read_text()
    assert (tmp_path / "gpu.png").read_bytes().startswith(b"\x89PNG")
    before = page.read_text()
    speed_page.main()
    assert page.read_text() == before


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--quick", "--out", str(MEASURED)], "--quick is a rehearsal, and would replace"),
        (["--network", "wide_resnet101_2"], "Received: --network wide_resnet101_2"),
        (["--rounds", "1"], "--rounds should be 2 or more. Received: 1"),
    ],
)
def test_flags_that_would_spoil_the_log_are_refused(monkeypatch, capsys, flags, problem):
    monkeypatch.setattr(sys, "argv", ["speed.py", *flags])
    with pytest.raises(SystemExit):
        speed.main()
    assert problem in capsys.readouterr().err


def test_scratch_goes_with_the_process(run_python):
    code = "from benchmarks.rows import scratch; where = scratch(); print(where, where.is_dir())"
    where, was_there = run_python(code).split()
    assert was_there == "True" and not Path(where).exists()


@pytest.mark.parametrize("part", ["matmul", "training", "inference", "fit", "input", "start_up"])
def test_the_page_says_what_was_not_measured(part):
    partly = measured()
    del partly[part]
    text = speed_page.page(partly)
    assert ("Not measured yet." in text) == (part != "matmul")
    assert ("Best matrix product: not measured." in text) == (part == "matmul")


@pytest.mark.parametrize("name", ["ours", "pytorch"])
def test_a_contestant_that_failed_is_a_dash(tmp_path, name):
    """The compiled one failed too: without this name, there is nobody on its side."""
    failed = measured()
    (row,) = failed["training"]
    row["contestants"][name] = {"error": "not here"}
    row["best_peer"] = None if name == "pytorch" else name
    row["ratios"] = {}
    assert "batch 32, bfloat16 | -" in speed_page.page(failed) or name == "pytorch"
    assert "| - | - |" in speed_page.page(failed)
    speed_page.plot(failed, tmp_path / "speed.png")


@pytest.mark.parametrize("name", ["speed", "speed_float32"])
def test_the_page_is_made_from_the_log(name):
    text = (ROOT / f"docs/{name}.md").read_text()
    part = text.split(BEGIN)[1].split(END)[0].strip()
    log = ROOT / f"benchmarks/results/{name}.json"
    assert part == speed_page.page(json.loads(log.read_text()), f"{name}.png").strip()
