"""Table 4: depth and width, on whitened CIFAR-10 and CIFAR-100.

    keras-wrn study table4

Cost: 16,400 PFLOP in all.
"""

from keras_wrn import Study, cell
from keras_wrn.scripts import load_recipe

DATASETS = "cifar10", "cifar100"
ERRORS = {
    (40, 1): (6.85, 30.89),
    (40, 2): (5.33, 26.04),
    (40, 4): (4.97, 22.89),
    (40, 8): (4.66, None),
    (28, 10): (4.17, 20.50),
    (28, 12): (4.33, 20.43),
    (22, 8): (4.38, 21.22),
    (22, 10): (4.44, 20.75),
    (16, 8): (4.81, 22.07),
    (16, 10): (4.56, 21.59),
}

study = Study(
    "table4",
    "Table 4: depth and width, CIFAR-10 and CIFAR-100 with ZCA whitening",
    [
        cell(
            load_recipe(f"{dataset}_wrn28_10"),
            f"{dataset}-wrn_{depth}_{width}",
            error,
            "Table 4: ZCA",
            model={"depth": depth, "width": width},
            data={"preprocessing": "zca"},
        )
        for which, dataset in enumerate(DATASETS)
        for (depth, width), errors in ERRORS.items()
        if (error := errors[which]) is not None
    ],
)
