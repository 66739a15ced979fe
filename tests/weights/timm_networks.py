"""timm's own networks, with random weights and statistics."""

import torch
from torchvision_here import import_torchvision


def import_timm():
    """The module timm, which imports torchvision."""
    import_torchvision()
    import timm

    return timm


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
