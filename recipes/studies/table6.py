"""Table 6: dropout in thin and wide networks, on CIFAR-10, CIFAR-100 and SVHN.

    keras-wrn study table6

Cost: 9,820 PFLOP in all.
"""

from keras_wrn import Study, cell
from keras_wrn.scripts import load_recipe

BASES = {
    "cifar10": ("cifar10_wrn28_10", 0.3),
    "cifar100": ("cifar100_wrn28_10", 0.3),
    "svhn": ("svhn_wrn16_8", 0.4),
}
# Without and with dropout.
ERRORS = {
    ("cifar10", 16, 4): (5.02, 5.24),
    ("cifar10", 28, 10): (4.00, 3.89),
    ("cifar10", 52, 1): (6.43, 6.28),
    ("cifar100", 16, 4): (24.03, 23.91),
    ("cifar100", 28, 10): (19.25, 18.85),
    ("cifar100", 52, 1): (29.89, 29.78),
    ("svhn", 16, 4): (1.85, 1.64),
    ("svhn", 52, 1): (2.08, 1.70),
}

study = Study(
    "table6",
    "Table 6: dropout, CIFAR-10, CIFAR-100 and SVHN",
    [
        cell(
            load_recipe(BASES[dataset][0]),
            f"{dataset}-wrn_{depth}_{width}" + "-dropout" * (rate > 0),
            error,
            "Table 6" if dataset == "svhn" else "Table 6: median of 5",
            model={"depth": depth, "width": width, "dropout": rate},
        )
        for (dataset, depth, width), errors in ERRORS.items()
        for rate, error in zip((0.0, BASES[dataset][1]), errors, strict=True)
    ],
)
