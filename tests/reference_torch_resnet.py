"""The ImageNet networks in PyTorch, with the module names that torchvision and timm share.

Written from the paper and the names of published state dicts, apart from the Keras builder: nothing
here is imported from keras_wrn.
"""

import torch
from torch import nn


class Block(nn.Module):
    """conv-BN-ReLU of each (kernel size, filters); a 1x1 with BN where the shape changes."""

    def __init__(self, channels, convs, stride):
        super().__init__()
        self.count = len(convs)
        strided = [size for size, _ in convs].index(3)
        inputs = channels
        for i, (size, filters) in enumerate(convs):
            step = stride if i == strided else 1
            layer = nn.Conv2d(inputs, filters, size, step, size // 2, bias=False)
            self.add_module(f"conv{i + 1}", layer)
            self.add_module(f"bn{i + 1}", nn.BatchNorm2d(filters))
            inputs = filters
        self.downsample = None
        if stride != 1 or channels != inputs:
            shortcut = nn.Conv2d(channels, inputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(inputs))

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        for i in range(1, self.count + 1):
            x = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x))
            x = torch.relu(x if i < self.count else x + shortcut)
        return x


class ResNet(nn.Module):
    """(batch, channels, height, width) -> logits; `layers` counts the blocks of each stage."""

    def __init__(self, layers, width, bottleneck, classes=1000):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = 64
        for stage, count in enumerate(layers):
            planes = round(64 * width) * 2**stage if bottleneck else round(64 * 2**stage * width)
            convs = [(3, planes)] * 2
            if bottleneck:
                convs = [(1, planes), (3, planes), (1, 256 * 2**stage)]
            blocks = []
            for index in range(count):
                blocks.append(Block(inputs, convs, 2 if stage and not index else 1))
                inputs = convs[-1][1]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        return self.fc(x.mean((2, 3)))


def randomize(model, seed=0):
    """Random weights and statistics, of a size that keeps the activations in range."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.ndim == 4:
                fan_in = value[0].numel()
                value.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
            elif name.endswith("running_var"):
                value.uniform_(0.5, 1.5, generator=generator)
            elif name.endswith(("running_mean", "bias")):
                value.normal_(0, 0.2, generator=generator)
            elif value.ndim == 1:
                value.uniform_(0.3, 0.7, generator=generator)
            elif value.ndim == 2:
                value.normal_(0, 0.05, generator=generator)
    return model.eval()
