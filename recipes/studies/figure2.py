"""Figure 2: how a thin and a wide network train, on CIFAR-10 and CIFAR-100.

    keras-wrn study figure2

Cost: 660 PFLOP for one seed of each.
"""

from keras_wrn import Study, cell
from keras_wrn.scripts import load_recipe

ERRORS = {"cifar10": (5.46, 4.00), "cifar100": (24.33, 19.25)}

study = Study(
    "figure2",
    "Figure 2: training curves of a thin and a wide network",
    [
        cell(load_recipe(f"{dataset}_wrn28_10"), f"{dataset}-{name}", error, "Table 5", model=model)
        for dataset, errors in ERRORS.items()
        for (name, model), error in zip(
            (("preact_resnet_164", {"name": "preact_resnet_164"}), ("wrn_28_10", {})),
            errors,
            strict=True,
        )
    ],
    seeds=1,
)
