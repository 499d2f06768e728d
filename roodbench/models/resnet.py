"""The ResNets whose public weights RoodBench evaluates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

RESNETS = {f"cifar-resnet{depth}": depth for depth in (20, 32, 44, 56)}
AT_RESNETS = {f"cifar-at-resnet{blocks}b": blocks for blocks in (2, 4)}


class Block(nn.Module):
    """conv-bn-relu-conv-bn plus an option-A shortcut: every second pixel, channels zero-padded on both sides."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.pad = stride, (outputs - inputs) // 2

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(self.skip(x) + y)

    def skip(self, x: Tensor) -> Tensor:
        if self.pad:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad))
        return x


class ResNet(nn.Module):
    """He et al. (2016), section 4.2: depth 6n + 2, 16-32-64 channels, 64 features; option-A shortcuts."""

    def __init__(self, depth: int, classes: int = 10) -> None:
        super().__init__()
        n = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*[Block(16, 16, 1) for _ in range(n)])
        self.layer2 = nn.Sequential(Block(16, 32, 2), *[Block(32, 32, 1) for _ in range(n - 1)])
        self.layer3 = nn.Sequential(Block(32, 64, 2), *[Block(64, 64, 1) for _ in range(n - 1)])
        self.linear = nn.Linear(64, classes)

    @property
    def head(self) -> nn.Linear:
        return self.linear

    def features(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        return self.layer3(self.layer2(self.layer1(x))).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class ProjectedBlock(Block):
    """The same with a 1x1 convolution and batch norm as the shortcut where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(inputs, outputs, stride)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def skip(self, x: Tensor) -> Tensor:
        return self.shortcut(x)


class ResNet18(nn.Module):
    """OpenOOD's ResNet-18 for 32x32 images: a 3x3 stem, 64-128-256-512 channels, 512 features."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(ProjectedBlock(64, 64, 1), ProjectedBlock(64, 64, 1))
        self.layer2 = nn.Sequential(ProjectedBlock(64, 128, 2), ProjectedBlock(128, 128, 1))
        self.layer3 = nn.Sequential(ProjectedBlock(128, 256, 2), ProjectedBlock(256, 256, 1))
        self.layer4 = nn.Sequential(ProjectedBlock(256, 512, 2), ProjectedBlock(512, 512, 1))
        self.fc = nn.Linear(512, classes)

    @property
    def head(self) -> nn.Linear:
        return self.fc

    def features(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        return self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class BasicBlock(nn.Module):
    """conv-bn-relu-conv-bn plus a shortcut, as in ImageNet's ResNet-18; `expansion` times `width` channels leave it."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = shortcut(inputs, width * self.expansion, stride)

    def residual(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.residual(x) + self.downsample(x))


class Bottleneck(BasicBlock):
    """1x1, 3x3 (with the stride) and 1x1 convolutions plus a shortcut, as in ImageNet's ResNet-50."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__(inputs, width, stride)
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)

    def residual(self, x: Tensor) -> Tensor:
        return self.bn3(self.conv3(F.relu(super().residual(x))))


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """A 1x1 convolution and batch norm where the shape changes, else nothing."""
    if stride == 1 and inputs == outputs:
        return nn.Sequential()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class ImageNetResNet(nn.Module):
    """He et al. (2016), section 4.1: a 7x7 stem with pooling, four stages; the names of torchvision's state dicts."""

    def __init__(self, block: type[BasicBlock], depths: Sequence[int], classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inputs = 64
        for stage, depth in enumerate(depths):
            width, blocks = 64 * 2**stage, []
            for i in range(depth):
                blocks.append(block(inputs, width, 2 if stage and not i else 1))
                inputs = width * block.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.stages = len(depths)
        self.fc = nn.Linear(inputs, classes)

    @property
    def head(self) -> nn.Linear:
        return self.fc

    def features(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return x.mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class PlainBlock(nn.Module):
    """conv-relu-conv plus a shortcut, without batch norm; a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(F.relu(self.conv1(x))) + self.shortcut(x))


class ATResNet(nn.Module):
    """The BN-free ResNets of the certified-training literature with 2 or 4 blocks; 100 penultimate features."""

    def __init__(self, blocks: int, classes: int = 10) -> None:
        super().__init__()
        width = 8 if blocks == 2 else 16
        self.conv1 = nn.Conv2d(3, width, 3, 2, 1)
        stages = [nn.Sequential(PlainBlock(width, 2 * width, 2), PlainBlock(2 * width, 2 * width, 1))]
        if blocks == 4:
            stages.append(nn.Sequential(PlainBlock(2 * width, 2 * width, 2), PlainBlock(2 * width, 2 * width, 1)))
        for i, stage in enumerate(stages, 1):
            self.add_module(f"layer{i}", stage)
        self.stages = len(stages)
        self.linear1 = nn.Linear(1024 if blocks == 2 else 512, 100)
        self.linear2 = nn.Linear(100, classes)

    @property
    def head(self) -> nn.Linear:
        return self.linear2

    def features(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv1(x))
        for i in range(self.stages):
            x = self.get_submodule(f"layer{i + 1}")(x)
        return F.relu(self.linear1(torch.flatten(x, 1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))
