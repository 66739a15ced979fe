"""How published PyTorch networks name their tensors: one table for each layout."""

import dataclasses
import fnmatch

COUNTERS = "*.num_batches_tracked"
TORCH = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "bias": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


@dataclasses.dataclass(frozen=True)
class Layout:
    """The names of one layout.

    Args:
        name: str, the layout's name.
        family: "cifar" for the networks of `WideResNet`, "imagenet" for the others.
        names: dict from a kind of layer here to the module there. `{g}`, `{b}` and `{i}` stand for
            the group (or stage), the block and the layer in it, counted from 1, and `{g0}`,
            `{b0}`, `{i0}` for the same counted from 0.
        strided_padding, activation: what the networks of the layout were trained with.
        bare: kinds whose tensor has the module's name, without ".weight".
        ignored: shell patterns for the names of tensors that no network here uses.
    """

    name: str
    family: str
    names: dict
    strided_padding: str = "torch"
    activation: str = "relu"
    bare: tuple[str, ...] = ()
    ignored: tuple[str, ...] = (COUNTERS,)

    def tensor(self, kind, variable="kernel", g=1, b=1, i=1):
        """The name of a tensor in a kind of layer."""
        module = self.names[kind].format(g=g, b=b, i=i, g0=g - 1, b0=b - 1, i0=i - 1)
        return module if kind in self.bare else f"{module}.{TORCH[variable]}"

    def owns(self, state):
        """Whether the names of a state dict are those of this layout."""
        last = "bn_final" if self.family == "cifar" else "shortcut_bn"
        names = self.tensor("conv", g=2), self.tensor(last, "gamma", g=2)
        return all(name in state for name in names)

    def ignores(self, name):
        """Whether a tensor is one that no network here uses."""
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.ignored)


TORCHVISION = {
    "conv1": "conv1",
    "bn1": "bn1",
    "conv": "layer{g}.{b0}.conv{i}",
    "bn": "layer{g}.{b0}.bn{i}",
    "shortcut": "layer{g}.{b0}.downsample.0",
    "shortcut_bn": "layer{g}.{b0}.downsample.1",
    "predictions": "fc",
}
MMPRETRAIN = {
    "conv1": "backbone.conv1",
    "bn1": "backbone.bn1",
    "conv": "backbone.layer{g}.{b0}.conv{i}",
    "bn": "backbone.layer{g}.{b0}.bn{i}",
    "shortcut": "backbone.layer{g}.{b0}.downsample.0",
    "shortcut_bn": "backbone.layer{g}.{b0}.downsample.1",
    "predictions": "head.fc",
}
MMRAZOR = {
    "conv1": "backbone.conv1",
    "conv": "backbone.layer{g}.{b0}.conv{i}",
    "bn": "backbone.layer{g}.{b0}.bn{i}",
    "shortcut": "backbone.layer{g}.{b0}.downsample",
    "bn_final": "backbone.bn1",
    "predictions": "head.fc",
}
XTERNALZ = {
    "conv1": "conv1",
    "conv": "block{g}.layer.{b0}.conv{i}",
    "bn": "block{g}.layer.{b0}.bn{i}",
    "shortcut": "block{g}.layer.{b0}.convShortcut",
    "bn_final": "bn1",
    "predictions": "fc",
}
FUNCTIONAL = {
    "conv1": "conv0",
    "conv": "group{g0}.block{b0}.conv{i0}",
    "bn": "group{g0}.block{b0}.bn{i0}",
    "shortcut": "group{g0}.block{b0}.convdim",
    "bn_final": "bn",
    "predictions": "fc",
}
DEEPMIND = {
    "conv1": "init_conv",
    "conv": "layer.{g0}.block.{b0}.conv_{i0}",
    "bn": "layer.{g0}.block.{b0}.batchnorm_{i0}",
    "shortcut": "layer.{g0}.block.{b0}.shortcut",
    "bn_final": "batchnorm",
    "predictions": "logits",
}

LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("torchvision", "imagenet", TORCHVISION),
        # Before mmrazor's: the names that identify mmrazor's occur here too.
        Layout("mmpretrain", "imagenet", MMPRETRAIN),
        Layout("mmrazor", "cifar", MMRAZOR),
        # TRADES' code, and RobustBench's after it, keeps a group that is never called.
        Layout("xternalz", "cifar", XTERNALZ, ignored=(COUNTERS, "sub_block1.*")),
        Layout("functional", "cifar", FUNCTIONAL, bare=("conv1", "conv", "shortcut")),
        # The input constants are buffers there, and in `Preprocessing` here. Its published networks
        # use Swish, which no tensor shows.
        Layout("deepmind", "cifar", DEEPMIND, "tf", "silu", ignored=(COUNTERS, "mean", "std")),
    )
}
