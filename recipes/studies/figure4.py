"""Figure 4: the time of a training step of 32 images, against depth and width.

    keras-wrn study figure4

The paper has, on a Titan X with cuDNN 5: ResNet-164 85 ms, ResNet-1001 512, WRN-40-4 68,
WRN-16-10 164 and WRN-28-10 312. The other networks here show how time grows with depth and width.
"""

from keras_wrn import Study, cell
from keras_wrn.scripts import load_recipe

base = load_recipe("cifar10_wrn28_10")
THIN = "preact_resnet_164", "preact_resnet_1001"
WIDE = (40, 1), (40, 2), (40, 4), (28, 4), (28, 10), (16, 1), (16, 4), (16, 8), (16, 10)

study = Study(
    "figure4",
    "Figure 4: the time of a training step of 32 images",
    [
        *(cell(base, name, model={"name": name}, batch_size=32) for name in THIN),
        *(
            cell(
                base,
                f"wrn_{depth}_{width}",
                model={"depth": depth, "width": width},
                batch_size=32,
            )
            for depth, width in WIDE
        ),
    ],
    seeds=1,
    measures="timing",
)
