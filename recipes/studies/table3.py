"""Table 3: one to four convolutions in a block of WRN-40-2, on whitened CIFAR-10.

    keras-wrn study table3

Cost: 20 PFLOP for a cell and seed, 393 in all.
"""

from keras_wrn import Study, cell
from keras_wrn.scripts import load_recipe

base = load_recipe("cifar10_wrn28_10")
# Blocks in a group: all four have 36 convolutions in their blocks, and as many parameters.
FACTORS = {1: (12, 6.69), 2: (6, 5.43), 3: (4, 5.65), 4: (3, 5.93)}

study = Study(
    "table3",
    "Table 3: convolutions in a block, WRN-40-2, CIFAR-10 with ZCA whitening",
    [
        cell(
            base,
            f"l{factor}",
            error,
            "Table 3: ZCA, median of 5",
            model={"depth": 40, "width": 2, "block": "B" + "3" * factor, "num_blocks": count},
            data={"preprocessing": "zca"},
        )
        for factor, (count, error) in FACTORS.items()
    ],
)
