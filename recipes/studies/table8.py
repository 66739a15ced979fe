"""Table 8: the bottleneck network WRN-50-2 on ImageNet.

    keras-wrn study table8

Cost: 7,890 PFLOP in all.

The paper's other rows, ResNet-50 to -152 and the pre-activation ResNet-200, are from their own
papers: 24.01, 22.44, 22.16 and 21.66 % top-1. Those networks are not in this package.
"""

from keras_wrn import Study, cell
from keras_wrn.scripts import load_recipe

study = Study(
    "table8",
    "Table 8: bottlenecks on ImageNet, top-1 of a single crop",
    [cell(load_recipe("imagenet_wrn50_2"), "wide_resnet50_2", 21.9, "Table 8")],
    seeds=1,
)
