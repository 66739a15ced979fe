"""Recipes, their schedules, and the scripts that come with the package."""

import dataclasses

import keras
import numpy as np
import pytest

from keras_wrn.catalog.names import build, model_info
from keras_wrn.detection import DetectionRecipe
from keras_wrn.models import count_macs
from keras_wrn.optim.schedules import OneCycle, WarmUp, build_schedule, scaled_schedule
from keras_wrn.recipe import TrainingRecipe
from keras_wrn.scripts import load_recipe, recipe_paths
from keras_wrn.training import DataConfig, ModelConfig, OptimizerConfig, Recipe, ScheduleConfig

NAMES = [
    "anomaly_folder", "cifar100_transfer_wrn16_2", "cifar100_wrn28_10", "cifar10_fast",
    "cifar10_wrn16_2",
    "cifar10_wrn22_4", "cifar10_wrn28_10", "cifar10_wrn28_10_fast", "cifar10_wrn28_4",
    "cifar10_wrn40_2", "coco_wrn34_2", "digits_wrn10_1", "distill_wrn16_2", "finetune_folder",
    "imagenet_wrn101_2", "imagenet_wrn18", "imagenet_wrn34", "imagenet_wrn50_2",
    "imagenet_wrn50_2_v2", "svhn_wrn16_8",
]  # fmt: skip


def rates(recipe, steps=390):
    config = recipe.schedule
    schedule = build_schedule(config, recipe.optimizer.learning_rate, recipe.epochs, steps)
    return np.array([float(schedule(step)) for step in range(0, recipe.epochs * steps, steps // 2)])


def test_all_recipes_are_there():
    assert sorted(recipe_paths()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_recipe_is_named_as_its_file_and_states_its_command(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    text = recipe_paths()[name].read_text()
    assert f"python recipes/{name}.py" in text
    assert "Expected:" in text
    assert "Cost:" in text
    if getattr(recipe, "paper_error", None) is not None:
        error = recipe.paper_error
        assert f"{error:.2f} % error" in text or f"{error:g} % error" in text
    assert type(recipe).from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("imagenet_wrn18", (1, 1.5, 2, 3)),
        ("imagenet_wrn34", (1, 1.5, 2)),
        ("imagenet_wrn50_2", (10,)),
        ("imagenet_wrn101_2", (10,)),
        ("imagenet_wrn50_2_v2", (10,)),
    ],
)
def test_the_costs_of_imagenet_are_computed(name, widths):
    recipe, text = load_recipe(name), " ".join(recipe_paths()[name].read_text().split())
    for width in widths:
        model = dataclasses.replace(recipe.model, width=width)
        size = recipe.data.train_size or recipe.data.image_size
        with keras.StatelessScope(initialize_variables=False):
            macs = count_macs(build(model.network, input_shape=(size, size, 3)))
        petaflops = 6 * macs * 1_281_167 * recipe.epochs / 1e15
        hours = petaflops / (8 * 0.989 * 0.4) / 3600
        for figure in (f"{6 * macs / 1e9:.1f}", f"{petaflops:,.0f}", f"{hours:.2f}"):
            assert figure in text
    keras.backend.clear_session()


def test_the_cost_of_coco_is_computed():
    recipe, text = load_recipe("coco_wrn34_2"), recipe_paths()["coco_wrn34_2"].read_text()
    size = recipe.data.image_size
    with keras.StatelessScope(initialize_variables=False):
        macs = count_macs(build(f"retinanet_{recipe.model.network}", input_shape=(size, size, 3)))
    petaflops = 6 * macs * 118_287 * recipe.epochs / 1e15
    hours = petaflops / (8 * 0.989 * 0.4) / 3600
    for figure in (f"{6 * macs / 1e9:.1f}", f"{petaflops:,.0f}", f"{hours:.2f}", "118,287"):
        assert figure in " ".join(text.split())
    keras.backend.clear_session()


def test_the_recipe_of_the_paper_for_photos():
    """fb.resnet.torch: its transforms, its rate in three steps, and its evaluation."""
    recipe = load_recipe("imagenet_wrn50_2")
    data = recipe.data
    assert (data.color_jitter, data.lighting, data.horizontal_flip) == (0.4, 0.1, True)
    assert data.random_resized_crop and data.crop_scale == (0.08, 1) and data.crop_padding == 0
    assert (data.interpolation, data.image_size) == ("bicubic", 224)
    rates = build_schedule(recipe.schedule, 0.1, 90, 10)
    steps = {0: 0.1, 299: 0.1, 300: 0.01, 599: 0.01, 600: 0.001, 899: 0.001}
    assert {step: float(rates(step)) for step in steps} == pytest.approx(steps)
    optimizer = recipe.optimizer
    assert optimizer.nesterov and optimizer.momentum == 0.9 and optimizer.weight_decay == 1e-4


def test_a_width_completes_the_names_of_table_7():
    recipe = load_recipe("imagenet_wrn18")
    wide = dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, width=2.5))
    assert (recipe.model.network, wide.model.network) == ("wide_resnet18_1", "wide_resnet18_2.5")
    assert model_info("wide_resnet18_2.5").arguments == {"depth": 18, "width": 2.5}
    assert ModelConfig(name="wide_resnet50_2.tv_in1k").network == "wide_resnet50_2"
    with pytest.raises(ValueError, match=r"`model.width`=3 does not go with `model.name`"):
        dataclasses.replace(recipe, model=ModelConfig(name="wide_resnet50_2", width=3))


def test_paper_schedule_of_cifar():
    recipe = load_recipe("cifar10_wrn28_10")
    schedule = build_schedule(recipe.schedule, 0.1, 200, 390)
    # 59 epochs at 0.1, 60 at 0.02, 40 at 0.004, 41 at 0.0008; exact at the step
    for epoch, before, after in ((59, 0.1, 0.02), (119, 0.02, 0.004), (159, 0.004, 0.0008)):
        assert float(schedule(epoch * 390 - 1)) == pytest.approx(before)
        assert float(schedule(epoch * 390)) == pytest.approx(after)
    optimizer = recipe.optimizer
    assert (optimizer.momentum, optimizer.nesterov, optimizer.weight_decay) == (0.9, True, 5e-4)
    assert optimizer.decay_norm_and_bias and optimizer.reset_momentum_on_drop


def test_paper_schedule_of_svhn():
    recipe = load_recipe("svhn_wrn16_8")
    schedule = build_schedule(recipe.schedule, recipe.optimizer.learning_rate, 160, 10)
    assert [float(schedule(e * 10)) for e in (78, 79, 118, 119, 159)] == pytest.approx(
        [0.01, 0.001, 0.001, 0.0001, 0.0001]
    )
    assert recipe.model.dropout == 0.4
    assert recipe.data.crop_padding == 0 and not recipe.data.horizontal_flip
    assert recipe.data.preprocessing == "scale" and recipe.data.extra


def test_milestones_scale_with_the_epochs():
    recipe = dataclasses.replace(load_recipe("cifar10_wrn28_10"), epochs=30)
    schedule = build_schedule(recipe.schedule, 0.1, 30, 10)
    values = [float(schedule(epoch * 10)) for epoch in range(30)]
    # round(59/200 * 30) = 9, round(119/200 * 30) = 18, round(159/200 * 30) = 24
    assert values == pytest.approx([0.1] * 9 + [0.02] * 9 + [0.004] * 6 + [0.0008] * 6)


def test_one_cycle_rises_then_falls_to_zero():
    schedule = OneCycle(peak=0.4, total_steps=100, warmup=0.2, start=0.1)
    values = np.array([float(schedule(step)) for step in range(101)])
    assert values[0] == pytest.approx(0.04)
    assert values.argmax() == 20 and values[20] == pytest.approx(0.4)
    assert np.all(np.diff(values[:21]) > 0) and np.all(np.diff(values[20:]) < 0)
    assert values[99] == pytest.approx(0.4 / 80) and values[100] == 0
    np.testing.assert_allclose(np.diff(values[20:]), -0.4 / 80, atol=1e-6)
    assert OneCycle.from_config(schedule.get_config())(33) == schedule(33)


def test_cosine_ends_near_zero_and_starts_from_warmup():
    config = ScheduleConfig(kind="cosine", warmup=0.1)
    schedule = build_schedule(config, 0.2, 10, 10)
    values = [float(schedule(step)) for step in range(100)]
    assert values[0] == 0 and max(values) == pytest.approx(0.2)
    assert values[10] == pytest.approx(0.2) and values[-1] < 0.002


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "`epochs` should be 1 or more, received 0"),
        ({"batch_size": 0}, "`batch_size`"),
        ({"label_smoothing": 1.0}, "`label_smoothing`"),
        ({"seed": -1}, "`seed`"),
        ({"schedule": ScheduleConfig(factor=-1.0)}, "`schedule.factor`"),
        ({"optimizer": OptimizerConfig(learning_rate=0)}, "`optimizer.learning_rate`"),
        ({"optimizer": OptimizerConfig(momentum=1.0)}, "`optimizer.momentum`"),
        ({"schedule": ScheduleConfig(milestones=(0.5, 0.2))}, "`schedule.milestones`"),
        ({"schedule": ScheduleConfig(milestones=(1.5,))}, "`schedule.milestones`"),
        ({"epochs": 1}, "too short for the milestones"),
        ({"views": 3}, r"`views` should be one of \(1, 2, 6\), received 3"),
        ({"optimizer": OptimizerConfig(kernel_momentum=0.9)}, "`optimizer.kernel_momentum` needs"),
        ({"data": DataConfig(small_share=0.3)}, "`data.small_share` needs `data.small_size`"),
        ({"data": DataConfig(cutout=-1)}, "`data.cutout` should be"),
        ({"data": DataConfig(cutout=8.5)}, "`data.cutout` should be a whole number, received 8.5"),
        ({"data": DataConfig(mixup=-0.1)}, "`data.mixup` should be"),
        ({"data": DataConfig(rand_augment=2.0)}, "`data.rand_augment` should be"),
        ({"data": DataConfig(rand_augment=0.5, preprocessing="zca")}, "ZCA"),
        ({"data": DataConfig(jitter=0.1, preprocessing="zca")}, "`data.jitter` works on pixels"),
        ({"data": DataConfig(jitter=1.1)}, "`data.jitter` should be"),
        ({"data": DataConfig(cutmix_rate=0.5)}, "needs `data.cutmix`"),
        ({"data": DataConfig(cutmix=1.0, cutmix_rate=0.0)}, "`data.cutmix_rate` should be"),
        ({"data": DataConfig(mixing_share=0.5)}, "needs `data.mixup` or `data.cutmix`"),
        ({"data": DataConfig(cutmix=1.0, mixing_share=1.5)}, "`data.mixing_share`"),
    ],
)
def test_bad_settings_are_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        Recipe("r", **changes)


@pytest.mark.parametrize(
    ("dataset", "padding", "flip"), [("cifar10", 4, True), ("svhn_cropped", 0, False)]
)
def test_where_a_recipe_says_nothing_its_dataset_does(dataset, padding, flip):
    data = Recipe("r", data=DataConfig(dataset)).data
    assert (data.crop_padding, data.horizontal_flip) == (padding, flip)
    data = Recipe("r", data=DataConfig(dataset, crop_padding=2, horizontal_flip=not flip)).data
    assert (data.crop_padding, data.horizontal_flip) == (2, not flip)


def test_unknown_dataset_lists_the_known_ones():
    with pytest.raises(ValueError, match="cifar10"):
        dataclasses.replace(Recipe("r"), data=dataclasses.replace(Recipe("r").data, dataset="x"))


def test_smoke_shrinks_any_recipe():
    for name in NAMES:
        recipe = load_recipe(name).shrunk()
        assert recipe.name == f"{name}-smoke"
        assert recipe.data.dataset == load_recipe(name).data.dataset
        if isinstance(recipe, TrainingRecipe):
            assert recipe.epochs == 2
        if isinstance(recipe, Recipe):
            assert recipe.model.depth == 10
            assert recipe.data.random_resized_crop == load_recipe(name).data.random_resized_crop
        elif isinstance(recipe, DetectionRecipe):
            assert recipe.model.network == "wide_resnet18_1"
        else:
            assert recipe.anomaly.untrained and recipe.anomaly.image_size == 32


def test_unknown_field_in_json_is_refused():
    text = Recipe("r").to_json().replace('"epochs"', '"epohcs"')
    with pytest.raises(ValueError, match="epohcs"):
        Recipe.from_json(text)


def test_the_rate_is_scaled_with_the_batch_after_a_rise():
    config = load_recipe("cifar10_wrn28_10").schedule
    plain = build_schedule(config, 0.1, 200, 10)
    scaled = scaled_schedule(config, 0.1, 4.0, 200, 10)
    assert float(scaled(0)) == pytest.approx(0.1)
    assert float(scaled(25)) == pytest.approx((0.1 + 0.4) / 2)
    for step in (50, 589, 590, 1999):
        assert float(scaled(step)) == pytest.approx(4 * float(plain(step)))
    smaller = scaled_schedule(config, 0.1, 0.5, 200, 10)
    assert [float(smaller(s)) for s in (0, 50)] == pytest.approx([0.05, 0.05])
    again = WarmUp.from_config(scaled.get_config())
    assert float(again(25)) == float(scaled(25))
    short = scaled_schedule(ScheduleConfig(kind="one_cycle"), 0.1, 2.0, 3, 10)
    assert float(short(29)) == pytest.approx(2 * 0.1 / 24 * (0.5 + 0.5 * 29 / 30), rel=1e-5)


def test_numpy_numbers_are_numbers():
    recipe = Recipe(
        "x",
        model=ModelConfig(depth=np.int64(16), width=np.float64(2)),
        epochs=np.int64(30),
        batch_size=np.int32(64),
    )
    assert type(recipe).from_json(recipe.to_json()) == recipe
    assert type(recipe.epochs) is type(recipe.model.depth) is int
