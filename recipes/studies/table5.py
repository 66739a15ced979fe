"""Table 5: thin and wide networks on CIFAR-10 and CIFAR-100, without dropout.

    keras-wrn study table5

The errors of the thin networks are from their own papers, which trained them with other recipes;
here all have that of the wide ones. NIN, DSN, FitNet, Highway and ELU are not residual and absent.
Cost: 8,820 PFLOP in all.
"""

from keras_wrn import Study, cell
from keras_wrn.scripts import load_recipe

DATASETS = "cifar10", "cifar100"
WIDE = {(40, 4): (4.53, 21.18), (16, 8): (4.27, 20.43), (28, 10): (4.00, 19.25)}
# With the largest rate of stochastic depth.
THIN = {
    ("resnet_110", 0.0): (6.43, 25.16),
    ("resnet_1202", 0.0): (7.93, 27.82),
    ("resnet_110", 0.5): (5.23, 24.58),
    ("resnet_1202", 0.5): (4.91, None),
    ("preact_resnet_110", 0.0): (6.37, None),
    ("preact_resnet_164", 0.0): (5.46, 24.33),
    ("preact_resnet_1001", 0.0): (4.92, 22.71),
}

study = Study(
    "table5",
    "Table 5: thin and wide networks, CIFAR-10 and CIFAR-100",
    [
        *(
            cell(
                load_recipe(f"{dataset}_wrn28_10"),
                f"{dataset}-{name}" + "-stochastic_depth" * (rate > 0),
                error,
                "Table 5: from its own paper",
                model={"name": name, "stochastic_depth": rate},
            )
            for which, dataset in enumerate(DATASETS)
            for (name, rate), errors in THIN.items()
            if (error := errors[which]) is not None
        ),
        *(
            cell(
                load_recipe(f"{dataset}_wrn28_10"),
                f"{dataset}-wrn_{depth}_{width}",
                errors[which],
                "Table 5: median of 5",
                model={"depth": depth, "width": width},
            )
            for which, dataset in enumerate(DATASETS)
            for (depth, width), errors in WIDE.items()
        ),
    ],
)
