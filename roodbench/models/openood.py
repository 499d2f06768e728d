"""OpenOOD's networks, by the names and shapes of the state dicts in its checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detectors import unknown

from .resnet import BasicBlock, Bottleneck, ImageNetResNet, ResNet18
from .source import CIFAR100, IMAGENET, OPENOOD, Loaded, Wanted, file_hash, needed_weights, with_classes


class WideBlock(nn.Module):
    """bn-relu-conv-bn-relu-conv plus a shortcut, which starts after the first relu where the channels change."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.convShortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(x))
        skip = x if self.convShortcut is None else self.convShortcut(y)
        return self.conv2(F.relu(self.bn2(self.conv1(y)))) + skip


class Stage(nn.Module):
    """Blocks in a row, under the name that OpenOOD's checkpoints give them."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.layer = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class Pooled(nn.Module):
    """conv1, three stages, bn-relu, the mean over all places, fc."""

    def __init__(self, stem: int, outputs: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, stem, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.fc = nn.Linear(outputs, classes)

    @property
    def head(self) -> nn.Linear:
        return self.fc

    def body(self, x: Tensor) -> Tensor:
        """What the stages make of the stem's output."""
        raise NotImplementedError

    def features(self, x: Tensor) -> Tensor:
        return F.relu(self.bn1(self.body(self.conv1(x)))).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class WideResNet(Pooled):
    """Zagoruyko & Komodakis (2016): depth 6n + 4, 16-32-64 channels times a width."""

    def __init__(self, depth: int, width: int, classes: int = 10) -> None:
        super().__init__(16, 64 * width, classes)
        n, inputs = (depth - 4) // 6, 16
        for i, outputs in enumerate((16 * width, 32 * width, 64 * width)):
            first = WideBlock(inputs, outputs, 2 if i else 1)
            self.add_module(f"block{i + 1}", Stage(first, *(WideBlock(outputs, outputs, 1) for _ in range(n - 1))))
            inputs = outputs

    def body(self, x: Tensor) -> Tensor:
        for i in range(3):
            x = self.get_submodule(f"block{i + 1}")(x)
        return x


class DenseLayer(nn.Module):
    """bn-relu-conv 1x1, bn-relu-conv 3x3; its output is put beside its input."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv2(F.relu(self.bn2(self.conv1(F.relu(self.bn1(x))))))], 1)


class Transition(nn.Module):
    """bn-relu-conv 1x1, and the mean of every 2x2 places."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.conv1(F.relu(self.bn1(x))), 2)


class DenseNet(Pooled):
    """Huang et al. (2017), DenseNet-BC: depth 6n + 4, each layer adds `growth` channels, transitions halve them."""

    def __init__(self, depth: int, growth: int, classes: int = 10) -> None:
        n, channels = (depth - 4) // 6, [2 * growth]
        for _ in range(2):
            channels.append((channels[-1] + n * growth) // 2)
        super().__init__(2 * growth, channels[-1] + n * growth, classes)
        for i, inputs in enumerate(channels):
            layers = (DenseLayer(inputs + j * growth, growth) for j in range(n))
            self.add_module(f"block{i + 1}", Stage(*layers))
            if i < 2:
                self.add_module(f"trans{i + 1}", Transition(inputs + n * growth, channels[i + 1]))

    def body(self, x: Tensor) -> Tensor:
        for i in range(3):
            x = self.get_submodule(f"block{i + 1}")(x)
            x = self.get_submodule(f"trans{i + 1}")(x) if i < 2 else x
        return x


class Architecture(NamedTuple):
    """How a network is made of a number of classes, the side of its images, and its classes by default."""

    make: Callable[[int], nn.Module]
    side: int
    classes: int = 10


ARCHITECTURES = {
    "resnet18": Architecture(ResNet18, 32),
    "resnet18-224": Architecture(lambda k: ImageNetResNet(BasicBlock, (2, 2, 2, 2), k), 224, 200),
    "resnet50": Architecture(lambda k: ImageNetResNet(Bottleneck, (3, 4, 6, 3), k), 224, 1000),
    "wrn28-10": Architecture(lambda k: WideResNet(28, 10, k), 32),
    "wrn40-2": Architecture(lambda k: WideResNet(40, 2, k), 32),
    "densenet": Architecture(lambda k: DenseNet(100, 12, k), 32),
}


def check_name(name: str) -> None:
    """ValueError for a network that OpenOOD's checkpoints are not of, with the nearest."""
    if name not in ARCHITECTURES:
        raise ValueError(unknown("OpenOOD network", name, ARCHITECTURES))


def load(name: str, wanted: Wanted) -> Loaded:
    """The network `name` with an OpenOOD checkpoint, of as many classes as that has.

    It is normalised as OpenOOD does: images of 32 by CIFAR-10's numbers, or CIFAR-100's where there are 100 classes,
    larger ones by ImageNet's.
    """
    check_name(name)
    spec, kind = f"openood:{name}", ARCHITECTURES[name]
    file = needed_weights(spec, wanted.checkpoint)
    net = with_classes(lambda classes: kind.make(classes or kind.classes), file, spec, trust=wanted.trust)
    small = CIFAR100 if net.get_parameter("fc.bias").numel() == 100 else OPENOOD
    normalisation = IMAGENET if kind.side > 32 else small
    return Loaded(net, normalisation, files={file.name: file_hash(file)}, shows_features=True)
