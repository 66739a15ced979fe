"""Whatever is done to the files of a run, who reads them is told which one is damaged."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image  # noqa: F401 - before matplotlib is

import keras_wrn
from keras_wrn.anomaly import AnomalyRecipe
from keras_wrn.recipe import Recipe
from keras_wrn.runs import directory, report
from keras_wrn.runs import files as run_files
from keras_wrn.runs.card import model_card
from keras_wrn.training.callbacks import RunLog
from keras_wrn.verbs.runs import recipe_of

RESULTS = Path(__file__).parents[2] / "results"
RUN = RESULTS / "cifar100_transfer-seed0"
CHANGES = '{"after_step": 44, "changes": ["epochs was 3, is 4"]}\n'
PREPROCESSING = keras_wrn.Preprocessing(size=32, mean=(0.5,) * 3, std=(0.25,) * 3)


@pytest.fixture
def run_dir(tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(RUN, run_dir)
    (run_dir / "changes.jsonl").write_text(CHANGES)
    return run_dir


def read_everything(name, run_dir):
    """All that reads one of the files, as commands do."""
    if name == "recipe.json":
        recipe = recipe_of(run_dir)
        directory.open_directory(run_dir, recipe, resume=True)
    if name in ("recipe.json", "summary.json"):
        report.results_table([run_dir])
        model_card(run_dir, PREPROCESSING)
        directory.clear_smoke(run_dir)
    if name == "log.jsonl":
        run_files.read_log(run_dir / name)
        RunLog(run_dir / name, keep_epochs=3)
    if name == "data.json":
        before = json.loads((RUN / name).read_text())
        directory.check_unchanged(run_dir, before)
    if name == "versions.json":
        run_files.read_texts(run_dir / name)
    if name == "changes.jsonl":
        directory.noted_changes(run_dir)


def test_all_results_are_read():
    found = sorted(RESULTS.glob("**/summary.json"))
    assert len(found) > 20
    for path in found:
        run_files.read_summary(path.parent)
        recipe = run_files.read_recipe(path.parent)
        is_pass = isinstance(recipe, AnomalyRecipe)
        read = run_files.read_steps if is_pass else run_files.read_log
        assert recipe.name and read(path.with_name("log.jsonl"))


def mutated(data, rng):
    """The bytes of a file after an accident: bits flipped, cut, or a piece elsewhere."""
    data, kind = bytearray(data), rng.integers(5)
    where = int(rng.integers(len(data)))
    if kind == 0:
        data[where] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del data[where:]
    elif kind == 2:
        length = int(rng.integers(1, 40))
        del data[where : where + length]
    elif kind == 3:
        data[where:where] = data[: int(rng.integers(1, 60))]
    else:  # a value of another type
        values = [b"null", b"[]", b"{}", b'"x"', b"1e999", b"-1", b"true", b"9" * 400, b"[" * 9999]
        end = data.find(b",", where)
        begin = data.rfind(b":", 0, end)
        if 0 < begin < end:
            data[begin + 1 : end] = values[rng.integers(len(values))]
    return bytes(data)


FILES = "recipe.json", "summary.json", "log.jsonl", "data.json", "versions.json", "changes.jsonl"


@pytest.mark.parametrize("name", FILES)
def test_a_mutated_file_is_named(run_dir, name):
    rng = np.random.default_rng(0)
    path = run_dir / name
    good, refused = path.read_bytes(), 0
    for number in range(150):
        path.write_bytes(mutated(good, rng))
        try:
            read_everything(name, run_dir)
        except ValueError as error:
            refused += 1
            assert type(error) is ValueError, number
            if "was begun with other" not in str(error) and "another recipe" not in str(error):
                assert str(path) in str(error) and "should be" in str(error), (number, str(error))
                assert len(str(error)) < 1000
        path.write_bytes(good)
    assert refused > 30


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("epochs", "3", "`epochs`: str is not an instance of int. Received: '3'"),
        ("data", [], "`data` should be a JSON object, received []"),
        ("optimizer", {"momentum": None}, "`optimizer.momentum`: None is neither float"),
        ("schedule", {"milestones": [0.5, "x"]}, "`schedule.milestones`: item 1"),
        ("schedule", {"kind": "steps"}, "`schedule.kind`: str is not any of"),
        ("model", {"dropout": True, "depht": 10}, "`model.depht`"),
        ("name", "../../elsewhere", "`name` should be letters"),
        ("name", "a|b", "`name` should be letters"),
        ("name", "", "`name` should be letters"),
    ],
)
def test_a_recipe_of_other_types_says_which_field(run_dir, field, value, message):
    values = json.loads((run_dir / "recipe.json").read_text())
    text = json.dumps({**values, field: value})
    (run_dir / "recipe.json").write_text(text)
    with pytest.raises(ValueError) as caught:
        run_files.read_recipe(run_dir)
    assert message in str(caught.value) and str(run_dir / "recipe.json") in str(caught.value)
    with pytest.raises(ValueError):
        Recipe.from_json(text)


def test_a_log_that_was_cut_goes_on_where_it_is_whole(run_dir):
    path = run_dir / "log.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], lines[2][:30]]))
    with pytest.raises(ValueError, match=r"log\.jsonl should be a log.*: line 3: "):
        RunLog(path, keep_epochs=3)
    assert path.read_text().endswith(lines[2][:30])  # nothing is lost
    RunLog(path, keep_epochs=2)
    assert path.read_text() == "\n".join(lines[:2]) + "\n"
