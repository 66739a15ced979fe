"""Table 9: the best single runs on CIFAR-10, CIFAR-100, SVHN and ImageNet.

    keras-wrn study table9

Cost: 9,750 PFLOP in all.

The paper's COCO row, 35.2 % average precision with WRN-34-2 in MultiPathNet, is no classifier.
"""

from keras_wrn import Study, cell
from keras_wrn.scripts import load_recipe

SOURCE = "Table 9: a single run"
BEST = {"depth": 40, "width": 10, "dropout": 0.3}

study = Study(
    "table9",
    "Table 9: the best single runs",
    [
        cell(load_recipe("cifar10_wrn28_10"), "cifar10-wrn_40_10-dropout", 3.8, SOURCE, model=BEST),
        cell(
            load_recipe("cifar100_wrn28_10"), "cifar100-wrn_40_10-dropout", 18.3, SOURCE, model=BEST
        ),
        cell(load_recipe("svhn_wrn16_8"), "svhn-wrn_16_8-dropout", 1.54, SOURCE),
        cell(load_recipe("imagenet_wrn50_2"), "imagenet-wide_resnet50_2", 21.9, SOURCE),
    ],
    seeds=1,
)
