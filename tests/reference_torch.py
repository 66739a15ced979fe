"""The network of the paper in PyTorch, and the way between its weights and Keras'.

Written from the paper and the authors' Lua code, apart from the Keras builder: nothing here is
imported from keras_wrn. Modules are named like the Keras layers, with a dot after the block.
"""

import numpy as np
import torch
from torch import nn

# The networks here are tiny; a second thread, beside those of Keras, costs ten times the first.
torch.set_num_threads(1)

PARAMETERS = {"gamma": "weight", "beta": "bias", "kernel": "weight", "bias": "bias"}
STATISTICS = {"moving_mean": "running_mean", "moving_variance": "running_var"}


class Block(nn.Module):
    """BN-ReLU before each convolution; the shortcut is x, or a 1x1 that reads the first ReLU."""

    def __init__(self, channels, filters, kernels, stride, watch):
        super().__init__()
        self.watch = watch
        self.count = len(kernels)
        self.margin = None
        self.shortcut = None
        if channels != filters:
            self.shortcut = nn.Conv2d(channels, filters, 1, stride, bias=False)
        for i, size in enumerate(kernels, start=1):
            step = stride if i == 1 else 1
            inputs = channels if i == 1 else filters
            self.add_module(f"bn{i}", nn.BatchNorm2d(inputs, eps=1e-5, momentum=0.1))
            self.add_module(
                f"conv{i}", nn.Conv2d(inputs, filters, size, step, size // 2, bias=False)
            )

    def forward(self, x):
        shortcut = x
        margins = []
        for i in range(1, self.count + 1):
            x = getattr(self, f"bn{i}")(x)
            if self.watch:
                margins.append(x.detach().abs().min().item())
            x = torch.relu(x)
            if i == 1 and self.shortcut is not None:
                shortcut = self.shortcut(x)
            x = getattr(self, f"conv{i}")(x)
        self.margin = min(margins, default=None)
        return x + shortcut


class WideResNet(nn.Module):
    """WRN with `num_blocks` blocks a group; (batch, channels, height, width) -> logits.

    With `watch`, `margin` is how far the last batch kept from the kink of every ReLU, in either
    direction.
    """

    def __init__(self, num_blocks, width, kernels=(3, 3), classes=10, channels=3, watch=True):
        super().__init__()
        self.watch = watch
        self.conv1 = nn.Conv2d(channels, 16, 3, 1, 1, bias=False)
        self.trunk = []
        inputs = 16
        for group, base in enumerate((16, 32, 64), start=1):
            for index in range(1, num_blocks + 1):
                stride = 2 if group > 1 and index == 1 else 1
                name = f"group{group}_block{index}"
                self.add_module(name, Block(inputs, base * width, kernels, stride, watch))
                self.trunk.append(name)
                inputs = base * width
        self.bn_final = nn.BatchNorm2d(inputs, eps=1e-5, momentum=0.1)
        self.predictions = nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.conv1(x)
        for name in self.trunk:
            x = getattr(self, name)(x)
        x = self.bn_final(x)
        if self.watch:
            margins = [getattr(self, name).margin for name in self.trunk]
            self.margin = min(*margins, x.detach().abs().min().item())
        return self.predictions(torch.relu(x).mean((2, 3)))


class ThinBlock(nn.Module):
    """A block of a thin ResNet, before or after the activation; see `ThinResNet`."""

    def __init__(self, channels, filters, bottleneck, pre, stride, first, watch):
        super().__init__()
        self.watch = watch
        self.pre, self.first, self.stride = pre, first, stride
        shapes = [(channels, filters, 3), (filters, filters, 3)]
        if bottleneck:
            inner = filters // 4
            shapes = [(channels, inner, 1), (inner, inner, 3), (inner, filters, 1)]
        self.shortcut = None
        if bottleneck and channels != filters:
            self.shortcut = nn.Conv2d(channels, filters, 1, stride, bias=False)
        self.missing = filters - channels
        self.count = len(shapes)
        for i, (inputs, outputs, size) in enumerate(shapes, start=1):
            normed = inputs if pre else outputs
            self.add_module(f"bn{i}", nn.BatchNorm2d(normed, eps=1e-5, momentum=0.1))
            step = stride if i == 1 else 1
            conv = nn.Conv2d(inputs, outputs, size, step, size // 2, bias=False)
            self.add_module(f"conv{i}", conv)

    def skip(self, x):
        if self.shortcut is not None:
            return self.shortcut(x)
        x = x[:, :, :: self.stride, :: self.stride]
        return nn.functional.pad(x, (0, 0, 0, 0, 0, self.missing))

    def relu(self, x):
        if self.watch:
            self.margin = min(self.margin, x.detach().abs().min().item())
        return torch.relu(x)

    def forward(self, x):
        self.margin = float("inf")
        skipped = self.skip(x) if not (self.pre and self.first) else None
        for i in range(1, self.count + 1):
            norm, conv = getattr(self, f"bn{i}"), getattr(self, f"conv{i}")
            if self.pre:
                x = self.relu(norm(x))
                if i == 1 and self.first:
                    skipped = self.skip(x)
                x = conv(x)
            else:
                x = norm(conv(x))
                x = self.relu(x) if i < self.count else x
        return x + skipped if self.pre else self.relu(x + skipped)


class ThinResNet(nn.Module):
    """ResNets of He et al. for small images, with `num_blocks` blocks in each of three groups."""

    def __init__(self, num_blocks, bottleneck, pre, classes=10, watch=True):
        super().__init__()
        self.pre, self.watch = pre, watch
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        if not pre:
            self.bn1 = nn.BatchNorm2d(16, eps=1e-5, momentum=0.1)
        self.trunk = []
        inputs = 16
        for group, base in enumerate((16, 32, 64), start=1):
            for index in range(1, num_blocks + 1):
                stride = 2 if group > 1 and index == 1 else 1
                outputs = base * 4 if bottleneck else base
                block = ThinBlock(inputs, outputs, bottleneck, pre, stride, index == 1, watch)
                name = f"group{group}_block{index}"
                self.add_module(name, block)
                self.trunk.append(name)
                inputs = outputs
        if pre:
            self.bn_final = nn.BatchNorm2d(inputs, eps=1e-5, momentum=0.1)
        self.predictions = nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.conv1(x)
        margins = []

        def relu(x):
            if self.watch:
                margins.append(x.detach().abs().min().item())
            return torch.relu(x)

        if not self.pre:
            x = relu(self.bn1(x))
        for name in self.trunk:
            block = getattr(self, name)
            x = block(x)
            margins.append(block.margin)
        if self.pre:
            x = relu(self.bn_final(x))
        self.margin = min(margins)
        return self.predictions(x.mean((2, 3)))


def to_torch_layout(array):
    """A Keras kernel (h, w, in, out) or (in, out) as Torch has it; vectors stay."""
    return array.transpose({4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[array.ndim])


def torch_name(path):
    """The Torch name of a Keras variable: group1_block1_bn1/gamma -> group1_block1.bn1.weight."""
    layer, _, variable = path.rpartition("/")
    if layer.startswith("group"):
        block, _, part = layer.rpartition("_")
        layer = f"{block}.{part}"
    return f"{layer}.{ {**PARAMETERS, **STATISTICS}[variable] }"


def copy_weights(keras_model, torch_model):
    """Give the Torch model the Keras model's weights and statistics; none may be left over."""
    state = {
        torch_name(v.path): torch.from_numpy(to_torch_layout(v.numpy()).copy())
        for v in keras_model.weights
    }
    counters = {k: v for k, v in torch_model.state_dict().items() if k.endswith("_tracked")}
    torch_model.load_state_dict({**state, **counters}, strict=True)


def to_torch_images(images):
    """(batch, height, width, channels) as a Torch tensor (batch, channels, height, width)."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def relative(actual, expected):
    """The largest difference over the largest magnitude of what was expected."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    return np.abs(actual - expected).max() / np.abs(expected).max()


def weight_errors(variables, arrays, tensors):
    """{path: relative difference} of arrays, one a Keras variable, to Torch tensors by name."""
    return {
        variable.path: relative(
            to_torch_layout(np.asarray(array)), tensors[torch_name(variable.path)]
        )
        for variable, array in zip(variables, arrays, strict=True)
    }


def randomize(keras_model, seed=0):
    """Random scales, offsets and statistics: at their initial values some mistakes do not show."""
    generator = np.random.default_rng(seed)
    for variable in keras_model.weights:
        kind = variable.path.rpartition("/")[2]
        if kind in ("gamma", "moving_variance"):
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
        elif kind in ("beta", "bias", "moving_mean"):
            variable.assign(generator.normal(0, 0.3, variable.shape))
