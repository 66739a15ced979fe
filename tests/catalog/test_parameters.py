"""Exact parameter counts: the paper's tables, and the authors' logs where they have one."""

import math

import keras
import pytest
from tiny import without_values

from keras_wrn.catalog import WideResNet

# depth, width, trainable parameters with 10 and with 100 classes. 40-4 with 10 classes is in the
# authors' log; the others follow from the shapes of the layers.
COUNTS = [
    (10, 1, 77_850, 83_700),
    (16, 1, 175_066, 180_916),
    (16, 2, 691_674, 703_284),
    (16, 4, 2_748_890, 2_772_020),
    (16, 8, 10_961_370, 11_007_540),
    (16, 10, 17_116_634, 17_174_324),
    (22, 2, 1_079_642, 1_091_252),
    (22, 4, 4_298_970, 4_322_100),
    (22, 8, 17_158_106, 17_204_276),
    (22, 10, 26_797_914, 26_855_604),
    (28, 2, 1_467_610, 1_479_220),
    (28, 4, 5_849_050, 5_872_180),
    (28, 8, 23_354_842, 23_401_012),
    (28, 10, 36_479_194, 36_536_884),
    (28, 12, 52_517_850, 52_587_060),
    (34, 10, 46_160_474, 46_218_164),
    (40, 1, 563_930, 569_780),
    (40, 2, 2_243_546, 2_255_156),
    (40, 4, 8_949_210, 8_972_340),
    (40, 8, 35_748_314, 35_794_484),
    (40, 10, 55_841_754, 55_899_444),
    (52, 1, 758_362, 764_212),
    (70, 16, 266_796_506, 266_888_756),
]
TABLE_2 = [
    ("B131", 40, 1_429_082),
    ("B31", 40, 1_211_354),
    ("B13", 40, 1_297_370),
    ("B311", 40, 1_343_066),
    ("B33", 28, 1_467_610),
    ("B313", 22, 1_145_498),
]
TABLE_3 = [("B3", 12), ("B33", 6), ("B333", 4), ("B3333", 3)]


def build(*args, **kwargs):
    return without_values(WideResNet, *args, **kwargs)


def trainable(model):
    return sum(math.prod(v.shape) for v in model.trainable_weights)


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize(("depth", "width", "ten", "hundred"), COUNTS)
def test_every_network_has_its_exact_count(depth, width, ten, hundred, classes):
    model = build(depth, width, classes=classes)
    assert trainable(model) == {10: ten, 100: hundred}[classes]


@pytest.mark.parametrize(("block", "depth", "params"), TABLE_2)
def test_table_2_counts_blocks_from_the_depth(block, depth, params):
    assert trainable(build(depth, 2, block=block)) == params


@pytest.mark.parametrize(("block", "num_blocks"), TABLE_3)
def test_table_3_networks_all_have_as_many_parameters(block, num_blocks):
    model = build(40, 2, block=block, num_blocks=num_blocks)
    assert trainable(model) == 2_243_546


def test_count_params_adds_the_moving_statistics():
    model = WideResNet(10, 1)
    channels = 16 + 16 + 16 + 32 + 32 + 64 + 64
    assert model.count_params() == 77_850 + 2 * channels
    assert sum(math.prod(v.shape) for v in model.non_trainable_weights) == 2 * channels


# With k = 1 the first group keeps its 16 channels, and so needs no 1x1 shortcut.
@pytest.mark.parametrize(
    ("depth", "width", "convolutions", "shortcuts"),
    [(40, 1, 39, 2), (40, 2, 40, 3), (28, 10, 28, 3), (16, 4, 16, 3), (10, 1, 9, 2)],
)
def test_number_of_convolutions(depth, width, convolutions, shortcuts):
    model = build(depth, width)
    names = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(names) == convolutions
    assert sum(name.endswith("_shortcut") for name in names) == shortcuts


def test_a_fractional_width_rounds_the_channels():
    model = build(10, 1.3)
    channels = [model.get_layer(f"group{g}_block1_conv1").filters for g in (1, 2, 3)]
    assert channels == [21, 42, 83]  # 20.8, 41.6, 83.2
