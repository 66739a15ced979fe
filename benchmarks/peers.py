"""PyTorch at its best: the reference network in channels_last, on the GPU if there is one."""

import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.rows import CORES, INSIDE, made_up


def build(row):
    """The reference network in PyTorch, in channels_last."""
    import torch

    root = Path(__file__).resolve().parent.parent
    if row["size"] == 32:
        from tests.reference_torch import ThinResNet, WideResNet

        sizes = [int(part) for part in row["network"].split("_") if part.isdecimal()]
        if len(sizes) == 2:
            model = WideResNet((sizes[0] - 4) // 6, sizes[1], watch=False)
        else:  # of the paper's thin networks, those with bottlenecks
            model = ThinResNet((sizes[0] - 2) // 9, bottleneck=True, pre=True, watch=False)
    else:
        sys.path += [str(root / "tests"), str(root / "tests/weights")]
        from timm_networks import import_timm

        model = import_timm().create_model(row["network"])
    torch.set_num_threads(CORES)  # after the reference, whose tests set one
    torch.backends.cudnn.benchmark = True
    return model.to(device(), memory_format=torch.channels_last)


def device():
    """The GPU, if there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def wait():
    """Wait until the GPU is done."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def together(call):
    """Time many calls as one on a GPU, which may be some calls behind. Elsewhere, just the call."""
    if device() != "cuda":
        return call

    def calls():
        wait()
        begun = time.perf_counter()
        for _ in range(INSIDE):
            call()
        wait()
        return (time.perf_counter() - begun) / INSIDE

    return calls


def compiled_at_its_best(model):
    """torch.compile, on a GPU with CUDA graphs and the fastest kernels there."""
    import torch

    return torch.compile(model, mode="max-autotune" if device() == "cuda" else None)


def tensors(row):
    """The images and labels of a row as tensors in channels_last."""
    import torch

    images, labels = made_up(row, 10 if row["size"] == 32 else 1000)
    x = torch.from_numpy(images.transpose(0, 3, 1, 2)).contiguous(memory_format=torch.channels_last)
    return x.to(device()), torch.from_numpy(labels).to(device())


def step(row, compiled=False):
    """Forward, backward and update in PyTorch, with autocast if the row is in bfloat16."""
    import torch

    model = build(row).train()
    x, y = tensors(row)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True
    )
    forward = compiled_at_its_best(model) if compiled else model
    low = row["precision"] == "bfloat16"

    def update():
        optimizer.zero_grad()
        with torch.autocast(device(), torch.bfloat16, enabled=low):
            logits = forward(x)
        torch.nn.functional.cross_entropy(logits.float(), y).backward()
        optimizer.step()

    return together(update)


def inference(row, compiled=False):
    """The reference in evaluation mode; if compiled, with batch norms folded as in our files."""
    import torch

    if compiled:
        import torch._inductor.config

        torch._inductor.config.freezing = True

    model = build(row).eval()
    x, _ = tensors(row)
    forward = compiled_at_its_best(model) if compiled else model
    low = row["precision"] == "bfloat16"

    def infer():
        with torch.inference_mode(), torch.autocast(device(), torch.bfloat16, enabled=low):
            forward(x)
        wait()

    return infer


def inspection(row, compiled=False):
    """PatchCore as its paper has it, on stages 2 and 3 of timm's network: the map of one photo."""
    import torch
    from torch.nn import functional

    if compiled:
        import torch._inductor.config

        torch._inductor.config.freezing = True

    class PatchCore(torch.nn.Module):
        def __init__(self, trunk, points):
            super().__init__()
            self.trunk = trunk
            self.register_buffer("bank", torch.randn(points, 1536) * 0.3)
            self.register_buffer("lengths", self.bank.pow(2).sum(1))

        def forward(self, x):
            trunk = self.trunk
            x = trunk.maxpool(trunk.act1(trunk.bn1(trunk.conv1(x))))
            maps = [trunk.layer2(trunk.layer1(x))]
            maps.append(trunk.layer3(maps[0]))
            maps = [functional.avg_pool2d(one, 3, 1, 1).float() for one in maps]
            side = maps[0].shape[-1]
            maps[1] = functional.interpolate(maps[1], (side, side), mode="bilinear")
            patches = torch.cat(maps, 1).flatten(2).transpose(1, 2)[0]
            squared = (
                patches.pow(2).sum(1, keepdim=True) + self.lengths
                - 2 * patches @ self.bank.T
            )  # fmt: skip
            nearest = squared.min(1).values.clamp(min=0).sqrt().reshape(1, 1, side, side)
            found = functional.interpolate(nearest, x.shape[-1] * 4, mode="bilinear")
            places = torch.arange(-16.0, 17.0)
            kernel = torch.exp(-places.pow(2) / 32).reshape(1, 1, 1, -1)
            padded = functional.pad(found, (16,) * 4, mode="reflect")
            rows = functional.conv2d(padded, kernel / kernel.sum())
            return functional.conv2d(rows, (kernel / kernel.sum()).transpose(2, 3))

    model = PatchCore(build(row).eval(), row["points"]).to(device())
    pixels = torch.randn(1, 3, row["size"], row["size"])
    x = pixels.contiguous(memory_format=torch.channels_last).to(device())
    forward = compiled_at_its_best(model) if compiled else model
    low = row["precision"] == "bfloat16"

    def infer():
        with torch.inference_mode(), torch.autocast(device(), torch.bfloat16, enabled=low):
            forward(x)
        wait()

    return infer


def loader(row):
    """The same as torchvision does it: one image at a time, in the workers of a DataLoader."""
    import torch

    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (row["images"], 32, 32, 3), dtype="uint8")
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.49, 0.48, 0.45], [0.25, 0.24, 0.26]))

    class Images(torch.utils.data.Dataset):
        def __len__(self):
            return len(images)

        def __getitem__(self, index):
            image = torch.from_numpy(images[index]).permute(2, 0, 1).float().div_(255)
            image = torch.nn.functional.pad(image[None], (4,) * 4, mode="reflect")[0]
            top, left = torch.randint(0, 9, (2,)).tolist()
            image = image[:, top : top + 32, left : left + 32]
            if torch.rand(()) < 0.5:
                image = image.flip(-1)
            return (image - mean) / std, index % 10

    batches = torch.utils.data.DataLoader(
        Images(), row["batch"], shuffle=True, num_workers=CORES, persistent_workers=True,
        drop_last=True,
    )  # fmt: skip
    return lambda: [None for _ in batches]


def photo_loader(row, files, labels):
    """Random-resized crops and flips as torchvision makes them with Pillow, in two workers."""
    import math
    import random

    import torch
    from PIL import Image

    torch.set_num_threads(1)
    side = row["size"]

    def box(width, height):
        for _ in range(10):
            area = height * width * random.uniform(0.08, 1)
            shape = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
            w, h = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
            if w <= width and h <= height:
                break
        else:
            w = h = min(width, height)
        left, top = random.randint(0, width - w), random.randint(0, height - h)
        return left, top, left + w, top + h

    class Photos(torch.utils.data.Dataset):
        def __len__(self):
            return len(files)

        def __getitem__(self, index):
            with Image.open(files[index]) as image:
                image = image.convert("RGB")
            image = image.crop(box(*image.size)).resize((side, side), Image.Resampling.BILINEAR)
            if random.random() < 0.5:
                image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            return torch.from_numpy(np.array(image)).permute(2, 0, 1), labels[index]

    # Workers of one epoch: the processor time of living ones cannot be asked for.
    return torch.utils.data.DataLoader(
        Photos(), row["batch"], shuffle=True, num_workers=2, drop_last=True
    )


def matmul(row):
    """A square matrix product in PyTorch."""
    import torch

    torch.set_num_threads(CORES)
    a = torch.randn(row["side"], row["side"], dtype=getattr(torch, row["precision"]))
    a = a.to(device())
    return together(lambda: a @ a)
