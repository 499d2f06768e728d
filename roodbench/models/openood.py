"""OpenOOD's networks, by the names and shapes of the state dicts in its checkpoints."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detectors import unknown

from .checkpoint import read_state
from .classifier import Backbone
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


class Similarity(nn.Module):
    """How similar features (B, D) are to the vector w_c of each class, (B, K), as Generalized ODIN defines it.

    cosine: of vectors over their length + 1e-4; inner: w_c . h + b_c; euclid: minus the mean of (h - w_c)^2.
    """

    def __init__(self, inputs: int, classes: int, kind: str) -> None:
        super().__init__()
        self.h, self.kind = nn.Linear(inputs, classes, bias=kind == "inner"), kind

    def forward(self, features: Tensor) -> Tensor:
        if self.kind == "inner":
            return self.h(features)
        w = self.h.weight
        if self.kind == "euclid":
            return -((features[:, None] - w) ** 2).mean(2)
        features, w = (v / (torch.linalg.vector_norm(v, dim=1, keepdim=True) + 1e-4) for v in (features, w))
        return features @ w.T


class Divided(nn.Module):
    """The head of Generalized ODIN: logits h / g of features, g in (0, 1)."""

    def __init__(self, inputs: int, classes: int, kind: str) -> None:
        super().__init__()
        self.h = Similarity(inputs, classes, kind)
        self.g = nn.Sequential(nn.Linear(inputs, 1), nn.BatchNorm1d(1), nn.Sigmoid())

    def forward(self, features: Tensor) -> Tensor:
        return self.h(features) / self.g(features)


class GodinNet(nn.Module):
    """A network whose last linear layer is replaced by a head h / g."""

    def __init__(self, backbone: nn.Module, kind: str) -> None:
        super().__init__()
        self.backbone, last = backbone, cast(nn.Linear, backbone.fc)
        self.head = Divided(last.in_features, last.out_features, kind)
        backbone.fc = nn.Identity()

    def features(self, x: Tensor) -> Tensor:
        return cast(Backbone, self.backbone).features(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


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


GODIN = r"(^|\.)(h\.h|g\.\d)(?=\.\w+$)"
"""The parts of GODIN's head in a checkpoint, after what wrappers put before them."""


def similarity_in(state: Mapping[str, Tensor], args: dict[str, Any], spec: str) -> str | None:
    """How the head h of a checkpoint of GODIN compares; None of any other. ValueError for arguments that do not fit."""
    found = {key.rpartition(".")[2] for key in state if ".".join(key.split(".")[-4:-1]) == "head.h.h"}
    kind = args.pop("similarity", None)
    if args or (kind is not None and not found):
        name = next(iter(args), "similarity")
        takes = "takes similarity alone" if found else "takes none but similarity, with a checkpoint of GODIN"
        raise ValueError(f"model-arg {name}: {spec} {takes}")
    if not found:
        return None
    kinds = ("inner",) if "bias" in found else ("cosine", "euclid")
    if kind is not None and kind not in kinds:
        raise ValueError(f"model-arg similarity={kind}: {unknown('similarity of this checkpoint', kind, kinds)}")
    return kind or kinds[0]


def check_name(name: str) -> None:
    """ValueError, with the nearest name, for a network of which OpenOOD has no checkpoints."""
    if name not in ARCHITECTURES:
        raise ValueError(unknown("OpenOOD network", name, ARCHITECTURES))


def load(name: str, wanted: Wanted) -> Loaded:
    """The network `name` with an OpenOOD checkpoint, of as many classes as that has; of GODIN's with its head h / g.

    It is normalised as OpenOOD does: images of 32 by CIFAR-10's numbers, or CIFAR-100's where there are 100 classes,
    larger ones by ImageNet's. `similarity` of GODIN's head: inner where h has a bias, else cosine, or euclid, which the
    weights do not tell.
    """
    check_name(name)
    spec, kind = f"openood:{name}", ARCHITECTURES[name]
    file = needed_weights(spec, wanted.checkpoint)
    state = {re.sub(GODIN, r"\1head.\2", key): value for key, value in read_state(file, trust=wanted.trust).items()}
    similarity = similarity_in(state, dict(wanted.args), spec)

    def make(classes: int | None) -> nn.Module:
        net = kind.make(classes or kind.classes)
        return net if similarity is None else GodinNet(net, similarity)

    net = with_classes(make, file, spec, state)
    last = net.head.h.h if isinstance(net, GodinNet) else cast(nn.Linear, net.fc)
    small = CIFAR100 if last.out_features == 100 else OPENOOD
    normalisation = IMAGENET if kind.side > 32 else small
    return Loaded(net, normalisation, files={file.name: file_hash(file)}, shows_features=True)
