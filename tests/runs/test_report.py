"""The results table, from the files of runs."""

import dataclasses
import json

import pytest

from keras_wrn.runs.report import plot_curves, results_table, write_between_markers
from keras_wrn.scripts import load_recipe
from keras_wrn.training import OptimizerConfig, Recipe


def write_run(folder, recipe, error, split="test"):
    folder.mkdir(parents=True)
    (folder / "recipe.json").write_text(recipe.to_json())
    summary = {
        "recipe": recipe.name, "seed": recipe.seed, "epochs": recipe.epochs, "test_error": error,
        "params": 1234, "flops": 5e15, "seconds": 7200, "precision": "float32",
        "versions": {"machine": "abacus"}, "data": {"dataset": "digits", "split": split},
    }  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(summary))


def rows(table):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


@pytest.fixture
def recipe():
    return Recipe(name="mine", epochs=4, paper_error=5.0, source="a card")


def test_seeds_share_a_row_with_their_mean(tmp_path, recipe):
    for seed, error in ((1, 7.0), (0, 6.0)):
        write_run(tmp_path / f"results/r{seed}", dataclasses.replace(recipe, seed=seed), error)
    (row,) = rows(results_table([tmp_path / "results"], tmp_path))
    assert row == [
        "`mine`", "digits", "1,234", "4", "0, 1", "6.50 (6.00, 7.00)", "5.00 (a card)", "5", "2",
        "abacus, float32", "[0](results/r0), [1](results/r1)",
    ]  # fmt: skip


def test_runs_of_other_precision_are_told_apart_in_their_row(tmp_path, recipe):
    for seed, precision, seconds in (
        (0, "bfloat16", 3600),
        (1, "bfloat16", 7200),
        (2, "float32", 9000),
    ):
        path = tmp_path / str(seed)
        write_run(path, dataclasses.replace(recipe, seed=seed), 6.0)
        summary = json.loads((path / "summary.json").read_text())
        measured = {"precision": precision, "seconds": seconds}
        (path / "summary.json").write_text(json.dumps({**summary, **measured}))
    (row,) = rows(results_table([tmp_path]))
    assert row[8:10] == ["1.5; 2.5", "abacus, bfloat16 (0, 1); abacus, float32 (2)"]


def test_other_settings_have_a_row_of_their_own_that_says_which(tmp_path, recipe):
    other = dataclasses.replace(recipe, optimizer=OptimizerConfig(learning_rate=0.25))
    longer = dataclasses.replace(recipe, epochs=8, source="the same card")
    for name, kind, error in (("a", recipe, 6.0), ("b", other, 7.0), ("c", longer, 5.0)):
        write_run(tmp_path / name, kind, error)
    write_run(tmp_path / "d", other, 8.0, split="validation")
    first, second, third, fourth = rows(results_table([tmp_path]))
    rate = recipe.optimizer.learning_rate
    assert {first[0], second[0]} == {
        f"`mine` `optimizer.learning_rate={rate}`", "`mine` `optimizer.learning_rate=0.25`",
    }  # fmt: skip
    assert (third[0], third[3]) == (f"`mine` `optimizer.learning_rate={rate}`", "8")
    assert fourth[:2] == ["`mine`", "digits (validation split)"]


def test_a_run_with_changes_has_a_row_of_its_own_that_says_so(tmp_path, recipe):
    for name in ("a", "b"):
        write_run(tmp_path / name, recipe, 6.0)
    summary = json.loads((tmp_path / "b" / "summary.json").read_text())
    summary["changes"] = [{"after_step": 7, "changes": ["epochs was 3, is 4"]}]
    (tmp_path / "b" / "summary.json").write_text(json.dumps(summary))
    names = {row[0] for row in rows(results_table([tmp_path]))}
    assert names == {"`mine`", "`mine` after step 7: epochs was 3, is 4"}


def test_of_many_rows_only_the_unusual_setting_is_named(tmp_path, recipe):
    for index, smoothing in enumerate((0.0, 0.1, 0.2, 0.3)):
        data = dataclasses.replace(recipe.data, crop_padding=4 if index else 0)
        changed = dataclasses.replace(recipe, data=data, label_smoothing=smoothing)
        write_run(tmp_path / str(index), changed, 6.0)
    names = {row[0] for row in rows(results_table([tmp_path]))}
    plain = {f"`mine` `label_smoothing={smoothing}`" for smoothing in (0.1, 0.2, 0.3)}
    assert names == {"`mine` `data.crop_padding=0` `label_smoothing=0.0`", *plain}


def test_a_row_names_what_differs_from_the_recipe_as_it_comes_with_the_package(tmp_path):
    shipped = load_recipe("digits_wrn10_1")
    optimizer = dataclasses.replace(shipped.optimizer, learning_rate=0.25)
    data = dataclasses.replace(shipped.data, validation=100)
    # Without scale_lr nothing is made of rate_batch.
    changed = dataclasses.replace(shipped, optimizer=optimizer, rate_batch=77)
    longer = dataclasses.replace(changed, epochs=shipped.epochs + 1)
    held_out = dataclasses.replace(changed, data=data)
    write_run(tmp_path / "a", changed, 6.0)
    write_run(tmp_path / "b", longer, 6.0)
    (first, second) = rows(results_table([tmp_path]))
    assert first[0] == second[0] == "`digits_wrn10_1` `optimizer.learning_rate=0.25`"
    scaled = dataclasses.replace(shipped, scale_lr=True)
    write_run(tmp_path / "scaled" / "d", scaled, 6.0)
    name = rows(results_table([tmp_path / "scaled"]))[0][0]
    assert name == "`digits_wrn10_1` `scale_lr=True`"
    write_run(tmp_path / "c", held_out, 6.0, split="validation")
    assert rows(results_table([tmp_path / "c"]))[0][0] == "`digits_wrn10_1`"


def test_several_views_stand_beside_the_single_one(tmp_path, recipe):
    for seed, accuracy in ((0, 95.0), (1, 96.0)):
        path = tmp_path / f"r{seed}"
        write_run(path, dataclasses.replace(recipe, seed=seed, views=6), 6.0 + seed)
        summary = json.loads((path / "summary.json").read_text())
        views = {"views": 6, "views_test_accuracy": accuracy}
        (path / "summary.json").write_text(json.dumps({**summary, **views}))
    (row,) = rows(results_table([tmp_path]))
    assert row[5] == "6.50 (6.00, 7.00); 6 views: 4.50 (5.00, 4.00)"


def test_runs_of_other_views_have_a_row_of_their_own(tmp_path, recipe):
    for seed, views in enumerate((1, 2, 6)):
        path = tmp_path / str(seed)
        write_run(path, dataclasses.replace(recipe, seed=seed, views=views), 6.0)
        if views > 1:
            summary = json.loads((path / "summary.json").read_text())
            several = {"views": views, "views_test_accuracy": 94.0 + views}
            (path / "summary.json").write_text(json.dumps({**summary, **several}))
    errors = sorted(line.split(" | ")[5] for line in results_table([tmp_path]).splitlines()[2:])
    assert errors == ["6.00", "6.00; 2 views: 4.00", "6.00; 6 views: 0.00"]


def shown(tmp_path, *recipes, **more):
    """The column of published errors of runs of these recipes."""
    for index, recipe in enumerate(recipes):
        write_run(tmp_path / str(index), recipe, 6.0, **more)
    return sorted(row[6] for row in rows(results_table([tmp_path])))


def changed(recipe, **parts):
    """A recipe with other fields in its parts, given as model={"depth": 40}, or of its own."""
    return dataclasses.replace(
        recipe,
        **{
            name: dataclasses.replace(getattr(recipe, name), **value)
            if isinstance(value, dict)
            else value
            for name, value in parts.items()
        },
    )


B131 = {"depth": 40, "width": 2, "block": "B131"}


@pytest.mark.parametrize(
    ("name", "parts", "expected"),
    [
        ("cifar10_wrn28_10", {}, "4.00 (Table 5, median of 5)"),
        ("cifar10_wrn28_10", {"epochs": 30, "precision": "float32"}, "4.00 (Table 5, median of 5)"),
        # Another network of the paper in the paper's recipe.
        ("cifar10_wrn28_10", {"model": B131}, "6.06 (Table 2: ZCA, median of 5)"),
        (
            "cifar10_wrn28_10",
            {"model": B131, "data": {"preprocessing": "zca"}},
            "6.06 (Table 2: ZCA, median of 5)",
        ),
        (
            "cifar10_wrn28_10",
            {"model": {"depth": 28, "width": 10, "name": ""}, "data": {"dataset": "cifar100"}},
            "19.25 (Table 5: mean/std, median of 5)",
        ),
        (
            "cifar10_wrn28_10",
            {"model": {"depth": 28, "width": 10.0, "num_blocks": None}},
            "4.00 (Table 5, median of 5)",
        ),
        (
            "cifar10_wrn28_10",
            {"model": {"depth": 40, "dropout": 0.3}},
            "3.80 (Table 9: dropout 0.3, a single run)",
        ),
        ("svhn_wrn16_8", {}, "1.54 (Table 9, a single run)"),
        (
            "svhn_wrn16_8",
            {"model": {"width": 4, "dropout": 0.0}},
            "1.85 (Table 6: mean/std)",
        ),
        # Of these nobody published one.
        ("cifar10_wrn28_10", {"model": {"depth": 40}}, ""),
        ("cifar10_wrn28_10", {"model": {"dropout": 0.3}}, ""),
        ("cifar10_wrn28_10", {"model": {"depth": 22, "width": 4}}, ""),
        ("cifar10_wrn28_10", {"model": {**B131, "activation": "silu"}}, ""),
        ("cifar10_wrn28_10", {"data": {"preprocessing": "zca"}}, ""),
        ("cifar10_wrn28_10", {"data": {"validation": 5000}}, ""),
        ("cifar10_wrn28_10", {"optimizer": {"learning_rate": 0.2}}, ""),
        ("cifar10_wrn28_10", {"model": B131, "batch_size": 512}, ""),
        ("cifar10_wrn16_2", {"model": {"depth": 28}}, ""),  # of the paper, in another recipe
        ("cifar10_wrn16_2", {"optimizer": {"learning_rate": 0.3}}, ""),
        ("svhn_wrn16_8", {"data": {"extra": False}}, ""),
        ("cifar10_fast", {}, ""),
        # Distillation has one for each of its parts.
        ("distill_wrn16_2", {}, "6.08 (attention transfer paper, 200 epochs)"),
        (
            "distill_wrn16_2",
            {"distill": {"teacher": ""}},
            "6.31 (attention transfer paper, 200 epochs)",
        ),
        (
            "distill_wrn16_2",
            {"distill": {"attention": 1000.0}},
            "5.71 (attention transfer paper, 200 epochs)",
        ),
        (
            "distill_wrn16_2",
            {"distill": {"teacher": "wrn_40_2.mmrazor_cifar10", "logits": 0, "attention": 1000}},
            "5.85 (attention transfer paper, 200 epochs)",
        ),
        ("distill_wrn16_2", {"distill": {"teacher": "wrn_28_4.mmrazor_cifar10"}}, ""),
        ("distill_wrn16_2", {"distill": {"temperature": 2.0}}, ""),
        ("distill_wrn16_2", {"distill": {"attention": 500.0}}, ""),
        ("distill_wrn16_2", {"distill": {"logits": 0.0}}, ""),
        ("distill_wrn16_2", {"model": {"width": 1}}, ""),
    ],
)
def test_a_published_error_belongs_to_its_network_data_and_recipe(tmp_path, name, parts, expected):
    assert shown(tmp_path, changed(load_recipe(name), **parts)) == [expected]


def test_a_run_that_was_changed_on_its_way_has_no_published_error(tmp_path):
    write_run(tmp_path / "a", load_recipe("cifar10_wrn28_10"), 6.0)
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    summary["changes"] = [{"after_step": 7, "changes": ["optimizer.learning_rate was 1, is 2"]}]
    (tmp_path / "a" / "summary.json").write_text(json.dumps(summary))
    assert [row[6] for row in rows(results_table([tmp_path]))] == [""]


def test_of_own_recipes_with_several_settings_none_is_known_to_be_the_published(tmp_path, recipe):
    longer = dataclasses.replace(recipe, epochs=8)
    assert shown(tmp_path / "a", recipe, longer) == ["5.00 (a card)"] * 2
    other = changed(recipe, optimizer={"learning_rate": 0.25})
    assert shown(tmp_path / "b", recipe, other) == ["", ""]


def test_smoke_runs_are_no_results(tmp_path, recipe):
    write_run(tmp_path / "a", recipe, 6.0)
    write_run(tmp_path / "b", dataclasses.replace(recipe, name="mine-smoke"), 90.0)
    assert [row[0] for row in rows(results_table([tmp_path]))] == ["`mine`"]


def test_nothing_to_report_is_said(tmp_path):
    with pytest.raises(ValueError, match="no finished run"):
        results_table([tmp_path])
    (tmp_path / "README.md").write_text("no markers")
    with pytest.raises(ValueError, match="markers"):
        write_between_markers(tmp_path / "README.md", "table")


@pytest.mark.parametrize("epochs", [1, 2, 12])
def test_the_curves_have_the_numbers_of_the_summary(tmp_path, epochs):
    keys = "accuracy", "loss", "val_accuracy", "val_loss", "learning_rate", "seconds"
    more = {"images_per_second": 9.0}
    lines = [
        {"epoch": i + 1, "step": 10 * i + 10, **dict.fromkeys(keys, 1 - i / 20), **more}
        for i in range(epochs)
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    figure = plot_curves(tmp_path, 22.5)
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    errors = figure.axes[0]
    assert "22.50" in errors.get_title()
    assert [line.get_ydata()[-1] for line in errors.lines[1:]] == pytest.approx(
        [5 * (epochs - 1), 22.5]
    )
    for axes in figure.axes:
        low, high = axes.get_xlim()
        shown = [tick for tick in axes.get_xticks() if low <= tick <= high]
        assert shown and all(tick == round(tick) for tick in shown)
        # The first point, an error of 0, is on the edge and whole.
        assert low < 1 and all(not line.get_clip_on() for line in axes.lines)
        assert (axes.lines[0].get_marker() == ".") == (epochs < 12)
