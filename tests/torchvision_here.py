"""torchvision, whose import is helped where its build is not for this machine's torch.

Its compiled operators are absent there. None of them is used here: declaring them is enough for the
import.
"""

import importlib
import sys

NMS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
OTHERS = "roi_align qroi_align roi_pool ps_roi_align ps_roi_pool deform_conv2d".split()
OPERATORS = [
    f"nms{NMS}",
    f"qnms{NMS}",
    *(f"{name}(Tensor x) -> Tensor" for name in OTHERS),
    *(f"_{name}_backward(Tensor x) -> Tensor" for name in OTHERS),
]
LIBRARIES = []  # torch forgets the operators with the library


def import_torchvision():
    """The module torchvision."""
    import torch

    try:
        return importlib.import_module("torchvision")
    except RuntimeError:
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in OPERATORS:
            library.define(operator)
        LIBRARIES.append(library)
    return importlib.import_module("torchvision")
