"""The table of a study, from the files of runs."""

import csv
import dataclasses
import json
import shutil

import pytest

from keras_wrn import Recipe, Study, cell
from keras_wrn.runs.study_report import study_rows, study_table, write_report
from keras_wrn.study import shortened

BASE = Recipe("base", epochs=20)
STUDY = Study(
    "mine", "Which is better?", [cell(BASE, "thin", 5.5, "a table", model={"width": 1}),
                                 cell(BASE, "wide", 4.0, "a table")],
)  # fmt: skip


def write_run(folder, recipe, error, seed=0, **data):
    recipe = dataclasses.replace(recipe, seed=seed)
    path = folder / f"{recipe.name}-seed{seed}"
    path.mkdir(parents=True)
    (path / "recipe.json").write_text(recipe.to_json())
    summary = {
        "recipe": recipe.name, "seed": seed, "epochs": recipe.epochs, "test_error": error,
        "params": 1234, "flops": 5e15, "seconds": 7200, "precision": "float32", "nll": 0.1 * error,
        "ece": 1.0, "brier": 0.2, "versions": {"machine": "abacus"},
        "data": {"dataset": "cifar10", "split": "test", **data},
    }  # fmt: skip
    (path / "summary.json").write_text(json.dumps(summary))
    line = {"epoch": 1, "accuracy": 0.5, "loss": 1.0, "val_accuracy": 0.5, "val_loss": 1.0,
            "learning_rate": 0.1, "seconds": 1.0}  # fmt: skip
    (path / "log.jsonl").write_text(json.dumps(line) + "\n")
    return path


def cells(table):
    return [[x.strip() for x in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


def test_a_row_has_the_median_of_its_seeds_beside_the_published_error(tmp_path):
    for seed, error in enumerate((6.0, 9.0, 7.0)):
        write_run(tmp_path, STUDY.cells[0], error, seed, pixels="original")
    thin, wide = cells(study_table(STUDY, study_rows(STUDY, tmp_path), tmp_path))
    assert thin == [
        "`thin`", "1,234", "cifar10, lossless", "5.50 (a table)", "7.00", "6.00 to 9.00", "20",
        "0, 1, 2", "5", "[0](thin-seed0), [1](thin-seed1), [2](thin-seed2)",
    ]  # fmt: skip
    assert wide == ["`wide`", "", "", "4.00 (a table)", "not run", "", "20", "", "", ""]


def test_another_budget_has_a_row_that_says_so(tmp_path):
    thin = STUDY.cells[0]
    write_run(tmp_path, shortened(thin, 4), 11.0, pixels="other")
    write_run(tmp_path, thin, 6.0)
    found = cells(study_table(STUDY, study_rows(STUDY, tmp_path), tmp_path))
    assert [row[4] for row in found] == ["6.00", "11.00", "not run"]
    assert [row[6] for row in found] == ["20", "**4** instead of 20", "20"]
    assert found[1][2] == "cifar10, not the published pixels"


def test_runs_of_other_studies_and_unfinished_ones_are_left_out(tmp_path):
    write_run(tmp_path, BASE, 3.0)
    unfinished = write_run(tmp_path, STUDY.cells[0], 3.0)
    (unfinished / "summary.json").unlink()
    assert [row.runs for row in study_rows(STUDY, tmp_path)] == [[], []]


def test_a_run_with_other_settings_than_its_cell_is_refused(tmp_path):
    other = cell(STUDY.cells[0], "thin", 5.5, label_smoothing=0.1)
    write_run(tmp_path, other, 3.0)
    with pytest.raises(ValueError, match=r"thin-seed0 had other.*label_smoothing was 0.1, is 0.0"):
        study_rows(STUDY, tmp_path)


def test_folders_of_something_else_are_left_out(tmp_path):
    write_run(tmp_path, STUDY.cells[0], 6.0)
    for name in ("thin-seed0.bak", "other", "thin-seed0-old", "bak-seed0"):
        shutil.copytree(tmp_path / "thin-seed0", tmp_path / name)
    (tmp_path / "stray.txt").touch()
    assert [len(row.runs) for row in study_rows(STUDY, tmp_path)] == [1, 0]


def test_a_rehearsal_and_a_run_of_as_many_epochs_are_two_rows(tmp_path):
    write_run(tmp_path, STUDY.cells[0].shrunk(), 90.0)
    write_run(tmp_path, shortened(STUDY.cells[0], 2), 30.0)
    found = cells(study_table(STUDY, study_rows(STUDY, tmp_path), tmp_path))
    assert {row[4]: row[6] for row in found[:2]} == {
        "90.00": "**a rehearsal on made-up images**", "30.00": "**2** instead of 20",
    }  # fmt: skip


def test_lossless_is_said_of_all_seeds_or_of_none(tmp_path):
    for seed, pixels in enumerate(("original", "other")):
        write_run(tmp_path, STUDY.cells[0], 6.0, seed, pixels=pixels)
    row = cells(study_table(STUDY, study_rows(STUDY, tmp_path), tmp_path))[0]
    assert row[2] == "cifar10, of some runs not the published pixels"


def test_a_run_whose_settings_were_changed_says_so(tmp_path):
    path = write_run(tmp_path, STUDY.cells[0], 6.0)
    summary = json.loads((path / "summary.json").read_text())
    summary["changes"] = [{"after_step": 3, "changes": ["x was 1, is 2"]}]
    (path / "summary.json").write_text(json.dumps(summary))
    row = cells(study_table(STUDY, study_rows(STUDY, tmp_path), tmp_path))[0]
    assert row[6] == "20, with settings changed in a run"


def test_a_rehearsal_cannot_be_taken_for_a_result(tmp_path):
    write_run(tmp_path, STUDY.cells[0].shrunk(), 90.0)
    row = cells(study_table(STUDY, study_rows(STUDY, tmp_path), tmp_path))[0]
    assert row[6] == "**a rehearsal on made-up images**"


def test_the_table_is_written_between_the_markers_of_its_study(tmp_path, capsys):
    from keras_wrn.cli import main

    (tmp_path / "mine.py").write_text(
        "from keras_wrn import Recipe, Study, cell\n"
        "study = Study('mine', 'Mine', [cell(Recipe('base', epochs=20), 'thin', 5.5, 'a table')])\n"
    )
    write_run(tmp_path / "runs", cell(BASE, "thin", 5.5, "a table"), 6.0)
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- mine: begin -->\nold\n<!-- mine: end -->\nafter\n")
    main(["report", str(tmp_path / "runs"), "--study", str(tmp_path / "mine.py"), "--readme",
          str(page)])  # fmt: skip
    text = page.read_text()
    assert (
        "| 5.50 (a table) | 6.00 |" in text and "[0](runs/thin-seed0)" in text and "old" not in text
    )
    assert text.startswith("before") and text.endswith("after\n")
    with pytest.raises(SystemExit):
        main(["report", str(tmp_path / "runs"), "results", "--study", str(tmp_path / "mine.py")])
    assert "A study has one directory of runs" in capsys.readouterr().err


def test_the_report_is_a_table_in_markdown_and_csv_and_a_picture(tmp_path):
    write_report(STUDY, tmp_path)
    assert not (tmp_path / "curves.png").exists()
    for seed, error in enumerate((6.0, 9.0)):
        write_run(tmp_path, STUDY.cells[1], error, seed)
    write_report(STUDY, tmp_path)
    assert (tmp_path / "table.md").read_text().startswith("# Which is better?\n\n| network |")
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
    with open(tmp_path / "table.csv", newline="") as file:
        thin, wide = csv.DictReader(file)
    assert thin["cell"] == "thin" and thin["median_error"] == ""
    assert {x: wide[x] for x in ("median_error", "lowest_error", "published_error", "seeds")} == {
        "median_error": "7.5", "lowest_error": "6.0", "published_error": "4.0", "seeds": "0 1",
    }  # fmt: skip
    assert float(wide["nll"]) == pytest.approx(0.75)
    assert wide["runs"] == "wide-seed0 wide-seed1"
