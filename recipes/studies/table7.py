"""Table 7: ResNet-18 and -34 of growing width on ImageNet.

    keras-wrn study table7

Cost: 36,600 PFLOP in all; see `recipes/imagenet_wrn18.py` and `imagenet_wrn34.py`.
"""

from keras_wrn import Study, cell
from keras_wrn.scripts import load_recipe

# Top-1, a single crop. The paper has no WRN-34-3.
ERRORS = {
    18: {1.0: 30.4, 1.5: 27.06, 2.0: 25.58, 3.0: 24.06},
    34: {1.0: 26.77, 1.5: 24.5, 2.0: 23.39},
}

study = Study(
    "table7",
    "Table 7: width on ImageNet, basic blocks, top-1 of a single crop",
    [
        cell(
            load_recipe(f"imagenet_wrn{depth}"),
            f"wide_resnet{depth}_{width:g}",
            error,
            "Table 7",
            model={"width": width},
        )
        for depth, errors in ERRORS.items()
        for width, error in errors.items()
    ],
    seeds=1,
)
