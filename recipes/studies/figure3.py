"""Figure 3: training curves on SVHN, of a thin and a wide network with and without dropout.

    keras-wrn study figure3

Cost: 1,930 PFLOP for one seed of each.
"""

from keras_wrn import Study, cell
from keras_wrn.scripts import load_recipe

# Without and with dropout.
ERRORS = {(52, 1): (2.08, 1.70), (16, 8): (1.81, 1.54)}

study = Study(
    "figure3",
    "Figure 3: training curves on SVHN, with and without dropout",
    [
        cell(
            load_recipe("svhn_wrn16_8"),
            f"wrn_{depth}_{width}" + "-dropout" * (rate > 0),
            error,
            "Tables 6 and 9, and the text",
            model={"depth": depth, "width": width, "dropout": rate},
        )
        for (depth, width), errors in ERRORS.items()
        for rate, error in zip((0.0, 0.4), errors, strict=True)
    ],
    seeds=1,
)
