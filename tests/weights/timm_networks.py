"""timm's own networks, with random weights and statistics; its import is helped where it fails.

timm imports torchvision, whose compiled operators are absent where its build is not for this
machine's torch. None of them is used here: declaring them is enough for the import.
"""

import importlib
import sys

import torch

NMS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
OTHERS = "roi_align qroi_align roi_pool ps_roi_align ps_roi_pool deform_conv2d".split()
OPERATORS = [
    f"nms{NMS}",
    f"qnms{NMS}",
    *(f"{name}(Tensor x) -> Tensor" for name in OTHERS),
    *(f"_{name}_backward(Tensor x) -> Tensor" for name in OTHERS),
]
LIBRARIES = []  # torch forgets the operators with the library


def import_timm():
    """The module timm."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in OPERATORS:
            library.define(operator)
        LIBRARIES.append(library)
    return importlib.import_module("timm")


def timm_network(name, seed=0):
    """A network of timm in evaluation mode, every weight and statistic of it random."""
    network = import_timm().create_model(name).eval()
    generator = torch.Generator().manual_seed(seed)
    for key, value in network.state_dict().items():
        if key.endswith("running_var"):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
        elif key.endswith("running_mean") or ("bn" in key and key.endswith("bias")):
            value.copy_(torch.randn(value.shape, generator=generator) * 0.1)
        elif value.dim() == 1 and key.endswith("weight"):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.3)
    return network
