"""CIFAR networks in PyTorch, each with the tensor names of one published code.

Written from those codes' modules, apart from the package's tables: nothing is imported from it.
"""

import torch
from torch.nn import functional as F

BLOCKS = 2  # in each group: depth 16


class Network:
    """A state dict under some code's names, and the outputs that it gives."""

    stem, final, head = "conv1", "bn1", "fc"
    conv_suffix = ".weight"

    def __init__(self, width, classes, seed=0, blocks=BLOCKS):
        self.blocks, self.state = blocks, {}
        generator = torch.Generator().manual_seed(seed)

        def conv(name, inputs, outputs, size):
            value = torch.randn(outputs, inputs, size, size, generator=generator)
            self.state[name + self.conv_suffix] = value * (2 / (inputs * size**2)) ** 0.5

        def norm(name, channels):
            for part, low, high in (
                ("weight", 0.5, 1.5), ("bias", -0.3, 0.3), ("running_mean", -0.3, 0.3),
                ("running_var", 0.5, 1.5),
            ):  # fmt: skip
                value = torch.rand(channels, generator=generator) * (high - low) + low
                self.state[f"{name}.{part}"] = value

        conv(self.stem, 3, 16, 3)
        inputs = 16
        for group in range(3):
            outputs = 16 * 2**group * width
            for block in range(blocks):
                bn1, conv1, bn2, conv2, shortcut = self.names(group, block)
                norm(bn1, inputs)
                conv(conv1, inputs, outputs, 3)
                norm(bn2, outputs)
                conv(conv2, outputs, outputs, 3)
                if inputs != outputs:
                    conv(shortcut, inputs, outputs, 1)
                inputs = outputs
        norm(self.final, inputs)
        self.state[f"{self.head}.weight"] = torch.randn(classes, inputs, generator=generator) / 8
        self.state[f"{self.head}.bias"] = torch.randn(classes, generator=generator)

    def pad(self, x, stride):
        return F.pad(x, (1, 1, 1, 1))

    def activation(self, x):
        return torch.relu(x)

    def __call__(self, x):
        s = self.state

        def conv(x, name, stride=1, size=3):
            x = self.pad(x, stride) if size == 3 else x
            return F.conv2d(x, s[name + self.conv_suffix], stride=stride)

        def norm(x, name):
            parts = ("running_mean", "running_var", "weight", "bias")
            return self.activation(F.batch_norm(x, *(s[f"{name}.{part}"] for part in parts)))

        x = conv(x, self.stem)
        for group in range(3):
            for block in range(self.blocks):
                bn1, conv1, bn2, conv2, shortcut = self.names(group, block)
                stride = 2 if group and not block else 1
                y = norm(x, bn1)
                short = x
                if shortcut + self.conv_suffix in s:
                    short = conv(y, shortcut, stride, size=1)
                x = short + conv(norm(conv(y, conv1, stride), bn2), conv2)
        x = norm(x, self.final).mean((2, 3))
        return x @ s[f"{self.head}.weight"].T + s[f"{self.head}.bias"]


class MMRazor(Network):
    stem, final, head = "backbone.conv1", "backbone.bn1", "head.fc"

    def names(self, group, block):
        place = f"backbone.layer{group + 1}.{block}"
        return [f"{place}.{part}" for part in ("bn1", "conv1", "bn2", "conv2", "downsample")]


class Xternalz(Network):
    def names(self, group, block):
        place = f"block{group + 1}.layer.{block}"
        return [f"{place}.{part}" for part in ("bn1", "conv1", "bn2", "conv2", "convShortcut")]


class Functional(Network):
    stem, final, head = "conv0", "bn", "fc"
    conv_suffix = ""

    def names(self, group, block):
        place = f"group{group}.block{block}"
        return [f"{place}.{part}" for part in ("bn0", "conv0", "bn1", "conv1", "convdim")]


class DeepMind(Network):
    stem, final, head = "init_conv", "batchnorm", "logits"

    def names(self, group, block):
        place = f"layer.{group}.block.{block}"
        parts = ("batchnorm_0", "conv_0", "batchnorm_1", "conv_1", "shortcut")
        return [f"{place}.{part}" for part in parts]

    def pad(self, x, stride):
        return F.pad(x, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))

    def activation(self, x):
        return F.silu(x)


CIFAR = {"mmrazor": MMRazor, "xternalz": Xternalz, "functional": Functional, "deepmind": DeepMind}
