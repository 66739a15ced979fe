"""The speed benchmark: who takes part, what a ratio is, and that its page is what it measured."""

import gc
import json
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from benchmarks import rows, speed, speed_page
from keras_wrn.kernels import REWRITE
from keras_wrn.runs.report import markers

ROOT = Path(__file__).parents[1]
MEASURED = ROOT / "benchmarks/results/speed.json"


def test_a_ratio_is_of_one_round():
    ours, theirs = {"rounds": [1.0, 4.0, 9.0]}, {"rounds": [2.0, 4.0, 6.0]}
    assert rows.ratio(ours, theirs) == [0.75, 1.0, 1.25]


def test_the_best_peer_is_that_of_the_lowest_median_not_of_the_luckiest_call():
    found = {
        "pytorch": {"rounds": [1, 9, 9], "seconds": 1}, "ours": {"rounds": [2, 2, 2], "seconds": 2},
        "pytorch compiled": {"rounds": [8, 8, 8], "seconds": 8}, "other": {"error": "not here"},
    }  # fmt: skip
    assert rows.best_of(found, ["pytorch", "pytorch compiled", "other"]) == "pytorch compiled"
    assert rows.best_of(found, ["other"]) is None
    row = {"contestants": found}
    assert speed_page.best_peer(row) == "pytorch compiled"
    # The ratio of the times that were shortest of all is another figure.
    assert speed_page.beside_peer(row, "ours") == ("0.25 (0.25 to 0.25)", "2.00")


def test_the_median_lies_within_the_middle_rounds():
    twenty = {"rounds": [*range(20, 0, -1)]}, {"rounds": [1] * 20}
    # 15 of 20 fair coins are heads or more in 2.1 % of cases, 14 in 5.8.
    low, high, likely = rows.median_interval(*twenty)
    assert (low, high, round(likely, 3)) == (6, 15, 0.959)
    assert rows.median_interval({"rounds": [3, 1, 2]}, {"rounds": [1] * 3}) == (1, 3, 0.75)


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
    assert found["nobody"]["error"] == "nobody ended with 1: KeyError: 'nobody'"


@pytest.mark.extra("torch")
def test_a_contestant_that_dies_in_its_turn_leaves_the_others(monkeypatch):
    ask, turns = speed.Child.seconds, []

    def killed(child, calls):
        turns.append(child.name)
        if child.name == "pytorch" and turns.count("pytorch") == 3:  # its second round
            child.process.kill()
            child.process.wait()
        return ask(child, calls)

    monkeypatch.setattr(speed.Child, "seconds", killed)
    found = speed.compete("matmul", {"side": 64, "precision": "float32"}, 3)
    assert found["pytorch"] == {"error": "pytorch ended with -9"}
    assert len(found["tensorflow"]["rounds"]) == 3


def test_a_file_of_another_machine_is_not_added_to(tmp_path, monkeypatch, capsys):
    log = tmp_path / "speed.json"
    log.write_text(json.dumps(measured()))
    before = log.read_bytes()
    monkeypatch.setattr(sys, "argv", ["speed.py", "--part", "fit", "--out", str(log)])
    with pytest.raises(SystemExit):
        speed.main()
    assert "has what was measured on a machine, and this is" in capsys.readouterr().err
    assert log.read_bytes() == before


def test_a_whole_measurement_takes_the_place_of_the_old_one_at_its_end(tmp_path, monkeypatch):
    log = tmp_path / "speed.json"
    log.write_text(json.dumps(measured()))
    monkeypatch.setattr(sys, "argv", ["speed.py", "--out", str(log)])
    monkeypatch.setattr(speed, "matmul", lambda *_: {"float32": {"gflops": 7.0, "of": "one"}})
    monkeypatch.setattr(speed, "compete", lambda *_: {})
    monkeypatch.setattr(speed, "macs_of", lambda *_: 1)
    monkeypatch.setattr(speed, "fit_overhead", lambda *_: {})
    old = []
    monkeypatch.setattr(speed, "start_up", lambda _: old.append(log.read_text()))
    speed.main()
    assert json.loads(old[0]) == measured()
    new = json.loads(log.read_text())
    assert new["training"][0]["peak"] == {"float32": {"gflops": 7.0, "of": "one"}}
    assert [path.name for path in tmp_path.iterdir()] == ["speed.json"]


@pytest.mark.extra("jax")
def test_a_step_of_fit_is_measured_on_jax(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    row = {"network": "wrn_10_1", "size": 32, "batch": 4, "precision": "float32"}
    found = speed.compete("training", row, 1, ["ours"])["ours"]
    assert 0 < found.get("seconds", 0) < 5, found


@pytest.mark.slow
def test_fit_and_its_bare_step_take_turns():
    found = speed.fit_overhead(2, quick=True, precision="float32")
    fit, step = (found["contestants"][name]["rounds"] for name in ("fit", "step"))
    assert len(fit) == len(step) == 2 and min(fit + step) > 0 and max(fit + step) < 5
    assert 0.3 < fit[0] / step[0] < 3


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
    row = {"network": "wrn_16_4", "size": 32, "batch": 32, "precision": "bfloat16", **now,
           "flops": 20e9}  # fmt: skip
    training = {"ours": turn, "pytorch": slow, "pytorch compiled": {"error": "no compiler"}}
    middle = {"rounds": [0.3, 0.3], "seconds": 0.3, "peak_memory_mb": 1000}
    inference = {"ours onnx": middle, "ours litert int8": middle, "ours onnx int8": turn,
                 "pytorch float32": slow}  # fmt: skip
    return {
        "matmul": {"peak": {"bfloat16": {"gflops": 200.0, "of": "tensorflow, 1024"}}, **now},
        "training": [{**row, "contestants": training}],
        "inference": [{**row, "contestants": inference}],
        "fit": {**row, "contestants": {"step": slow, "fit": turn}},
        "input": {"images": 1000, "batch": 100, "contestants": {"ours": turn, "pytorch": slow},
                  **now},
        "start_up": {"seconds": {"import keras_wrn": 3.5}, **now},
        "versions": {"machine": "another"},
    }  # fmt: skip


def test_the_tables_say_what_was_measured():
    text = speed_page.page(measured())
    row = "| WRN-16-4, batch 32, bfloat16 | 200 | 400 | - | 160 | 80 | 0.50 (0.50 to 0.50) | 0.50 "
    assert row + "| 50 % | 25 % | 900 | 1,200 | 0.2 |" in text
    assert "| ours onnx | 300; 0.75 (0.75 to 0.75), 0.75 |" in text
    assert "| pytorch float32 | **400** |" in text
    onnx = "WRN-16-4, batch 32 0.75 (0.75 to 0.75), of the best times 0.75, onnx."
    assert f"over PyTorch's best: {onnx}" in text
    assert "best in float32: WRN-16-4, batch 32 2.00 (2.00 to 2.00), onnx int8." in text
    assert "5,000 images of 32 pixels a second, cropped, mirrored and normalised" in text
    assert "PyTorch's loader 2,500: the time is 0.50 (0.50 to 0.50) of its." in text
    assert "that is 3.2 % at most (WRN-16-4, batch 32)" in text
    assert "bare step, WRN-16-4, batch 32, bfloat16: 0.50 (0.50 to 0.50); the median" in text
    assert "between 0.500 and 0.500 (50 %, 2 rounds)" in text
    assert "import keras_wrn 3.5 s" in text and "Measured on a machine; keras 3." in text


def test_a_share_is_of_the_peak_that_was_measured_with_the_row():
    own = measured()
    own["training"][0]["peak"] = {"bfloat16": {"gflops": 400.0, "of": "pytorch, 1024"}}
    assert "| 25 % | 12 % |" in speed_page.page(own)


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
    assert "batch 32, bfloat16 | -" in speed_page.page(failed) or name == "pytorch"
    assert "| - | - |" in speed_page.page(failed)
    failed["input"]["contestants"][name] = {"error": "not here"}
    assert speed_page.fed_text(failed) == "Not measured yet."
    speed_page.plot(failed, tmp_path / "speed.png")


@pytest.mark.parametrize("name", ["speed", "speed_zen4", "speed_float32"])
def test_the_page_is_made_from_the_log(name):
    text = (ROOT / f"docs/{name}.md").read_text()
    part = text.split(markers()[0])[1].split(markers()[1])[0].strip()
    log = ROOT / f"benchmarks/results/{name}.json"
    assert part == speed_page.page(json.loads(log.read_text()), f"{name}.png").strip()
