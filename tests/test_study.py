"""Studies: their cells, what may be chosen of them, and those of the paper."""

import dataclasses

import keras
import pytest
from tiny import PLAIN, without_values

from keras_wrn import Study, cell
from keras_wrn.catalog.names import build
from keras_wrn.models import count_macs
from keras_wrn.scripts import load_study, study_paths
from keras_wrn.study import shortened
from keras_wrn.training.network import build_model

BASE = dataclasses.replace(PLAIN, epochs=30)
STUDY = Study("mine", "Mine", [cell(BASE, name) for name in ("a", "a2", "b")], seeds=2)


def test_a_cell_differs_in_the_fields_it_names():
    made = cell(BASE, "wide", 4.5, "a table", model={"width": 3}, data={"cutout": 2}, epochs=7)
    assert (made.name, made.paper_error, made.source, made.epochs) == ("wide", 4.5, "a table", 7)
    assert made.model == dataclasses.replace(BASE.model, width=3)
    assert made.data.cutout == 2 and made.data.crop_padding == BASE.data.crop_padding
    assert cell(made, "other").paper_error is None


@pytest.mark.parametrize(("cells", "message"), [
    ([], "expected cells of different names, got none"),
    ([BASE, BASE], "tiny twice"),
    ([dataclasses.replace(BASE, name="two words")], "names of letters.*'two words'"),
    ([dataclasses.replace(BASE, name="a-8epochs")], "do not end in -8epochs.*'a-8epochs'"),
    ([dataclasses.replace(BASE, name="a-smoke")], "'a-smoke'"),
    (["a"], "should be recipes.*'a'"),
])  # fmt: skip
def test_cells_have_names_of_their_own(cells, message):
    with pytest.raises(ValueError, match=message):
        Study("mine", "Mine", cells)


def test_cells_are_chosen_by_name_or_pattern():
    assert [x.name for x in STUDY.selected()] == ["a", "a2", "b"]
    assert [x.name for x in STUDY.selected(["a"])] == ["a"]
    assert [x.name for x in STUDY.selected(["b", "a?"])] == ["a2", "b"]
    with pytest.raises(ValueError, match=r"has the cells a, a2, b\. Received: 'c'"):
        STUDY.selected(["a", "c"])


def test_an_unknown_field_or_kind_is_named():
    for changes, name in (
        ({"modle": {"width": 1}}, "`modle`"),
        ({"model": {"widht": 1}}, "`model.widht`"),
    ):
        with pytest.raises(ValueError, match=f"A recipe has no field {name}"):
            cell(BASE, "a", **changes)
    with pytest.raises(ValueError, match=r"'training' or 'timing'. Received: 'time'"):
        Study("mine", "Mine", [BASE], measures="time")


def test_a_schedule_without_steps_is_kept():
    cosine = cell(BASE, "a", schedule={"kind": "cosine", "warmup": 0.5})
    assert shortened(cosine, 4).schedule == cosine.schedule


def test_a_shortened_cell_says_so_in_its_name_and_keeps_all_but_the_schedule():
    steps = cell(BASE, "a", optimizer={"reset_momentum_on_drop": True}, schedule={"kind": "step"})
    short = shortened(steps, 4)
    assert (short.name, short.epochs, short.schedule.kind) == ("a-4epochs", 4, "one_cycle")
    assert not short.optimizer.reset_momentum_on_drop
    assert (short.model, short.data) == (BASE.model, BASE.data)
    for epochs in (30, 31):
        with pytest.raises(ValueError, match=f"fewer than the 30 of 'tiny'. Received: .*{epochs}"):
            shortened(BASE, epochs)


# Networks of the paper's tables by their cells, with the parameters that follow from their shapes.
COUNTS = {
    "table2": {"B131": 1_429_082, "B31": 1_211_354, "B13": 1_297_370, "B311": 1_343_066,
               "B33": 1_467_610, "B313": 1_145_498},
    "table3": dict.fromkeys(("l1", "l2", "l3", "l4"), 2_243_546),
    "table6": {"cifar10-wrn_52_1-dropout": 758_362, "cifar100-wrn_28_10": 36_536_884},
    "table7": {"wide_resnet18_1.5": 25_875_816, "wide_resnet34_2": 86_036_008},
    "table8": {"wide_resnet50_2": 68_883_240},
    "table9": {"cifar100-wrn_40_10-dropout": 55_899_444},
    "figure2": {"cifar10-preact_resnet_164": 1_703_258},
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
def test_cells_are_the_networks_of_the_paper(name):
    cells = {recipe.name: recipe for recipe in load_study(name).cells}
    for cell_name, params in COUNTS[name].items():
        recipe = cells[cell_name]
        classes = {"cifar100": 100, "imagenet2012": 1000}.get(recipe.data.dataset, 10)
        size = recipe.data.image_size or 32
        model = without_values(build_model, recipe, classes=classes, size=size)
        assert sum(keras.ops.size(w) for w in model.trainable_weights) == params


@pytest.mark.parametrize(("name", "count"), [
    ("table2", 6), ("table3", 4), ("table4", 19), ("table5", 18), ("table6", 16), ("table7", 7),
    ("table8", 1), ("table9", 4), ("figure2", 4), ("figure3", 4), ("figure4", 11),
])  # fmt: skip
def test_studies_of_the_paper_have_its_rows(name, count):
    study = load_study(name)
    assert study.name == name and len(study.cells) == count
    timed = study.measures == "timing"
    assert all((recipe.paper_error is None) == timed for recipe in study.cells)
    assert {recipe.batch_size for recipe in study.cells} <= {128, 256, 32}
    for recipe in study.cells:
        if recipe.model.name:  # without values: these are the deepest
            without_values(build, recipe.model.network)


def test_every_study_is_counted_above():
    assert len(study_paths()) == 11


def test_stochastic_depth_is_for_networks_that_have_it():
    deep = {cell.name: cell for cell in load_study("table5").cells}
    recipe = deep["cifar10-resnet_110-stochastic_depth"]
    assert recipe.model.stochastic_depth == 0.5
    model = build_model(recipe, classes=10)
    assert model.get_layer("group3_block18_stochastic_depth").rate == 0.5
    assert model.get_layer("group1_block1_stochastic_depth").rate == pytest.approx(0.5 / 54)
    for model in ({"depth": 16}, {"name": "wrn_16_4"}):
        with pytest.raises(ValueError, match=r"stochastic_depth.*ResNet.*received 0.5 with"):
            cell(BASE, "x", model={"depth": 28, "width": 10, "dropout": 0.0, **model,
                                   "stochastic_depth": 0.5})  # fmt: skip


def test_a_script_without_a_study_is_named(tmp_path):
    (tmp_path / "mine.py").write_text("study = 3\n")
    with pytest.raises(ValueError, match=r"mine.py should define `study`, a keras_wrn.Study"):
        load_study(str(tmp_path / "mine.py"))
    (tmp_path / "beside_it.py").write_text("name = 'found'\n")
    (tmp_path / "mine.py").write_text(
        "import beside_it\nfrom keras_wrn import Recipe, Study\n"
        "study = Study(beside_it.name, 'x', [Recipe('a')])\n"
    )
    assert load_study(str(tmp_path / "mine.py")).name == "found"
    with pytest.raises(ValueError, match="no study 'tabel2'; did you mean 'table2'"):
        load_study("tabel2")


# The totals in the texts of the studies' scripts, over all cells and seeds.
COSTS = {
    "table2": "345", "table3": "393", "table4": "16,400", "table5": "8,820", "table6": "9,820",
    "table7": "36,600", "table8": "7,890", "table9": "9,750", "figure2": "660", "figure3": "1,930",
}  # fmt: skip
IMAGES = {"svhn_cropped": 604_388, "imagenet2012": 1_281_167}


@pytest.mark.slow
@pytest.mark.parametrize("name", COSTS)
def test_the_costs_in_the_texts_are_those_of_the_networks(name):
    study, total = load_study(name), 0
    for recipe in study.cells:
        size = recipe.data.image_size or 32
        macs = count_macs(without_values(build_model, recipe, classes=10, size=size))
        images = IMAGES.get(recipe.data.dataset, 50_000)
        total += study.seeds * 6 * macs * images * recipe.epochs / 1e15
    said = COSTS[name]
    assert f" {said} " in study_paths()[name].read_text()
    assert total == pytest.approx(float(said.replace(",", "")), rel=0.005)
