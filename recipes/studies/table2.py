"""Table 2: six kinds of blocks of about the same size, on whitened CIFAR-10.

    keras-wrn study table2

Cost: 10 to 13 PFLOP for a cell and seed, 345 in all.
"""

from keras_wrn import Study, cell
from keras_wrn.scripts import load_recipe

base = load_recipe("cifar10_wrn28_10")
BLOCKS = {
    "B131": (40, 6.06),
    "B31": (40, 5.78),
    "B13": (40, 6.42),
    "B311": (40, 5.86),
    "B33": (28, 5.73),
    "B313": (22, 5.78),
}

study = Study(
    "table2",
    "Table 2: kinds of blocks, k = 2, CIFAR-10 with ZCA whitening",
    [
        cell(
            base,
            block,
            error,
            "Table 2: ZCA, median of 5",
            model={"depth": depth, "width": 2, "block": block},
            data={"preprocessing": "zca"},
        )
        for block, (depth, error) in BLOCKS.items()
    ],
)
