"""The network of a run, loaded and looked at before anything is computed: does it take the images, one by one?"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import detectors
from detectors.care import in_eval

from ..data import Benchmark, ImageSet
from ..models import CIFAR10, IMAGENET, Classifier, load_model
from ..models.denoiser import check_images, denoised
from ..models.head import Body
from ..models.load import source_of, taken_by
from ..models.robustbench import DATASETS
from ..models.source import CIFAR100
from ..store.users import described
from ..words import counted
from .config import RunConfig

log = logging.getLogger("roodbench")

IMAGES = 8
"""On which a network must say of each image the same in a batch, alone, and again."""
TOLERANCE = 1e-3
"""Largest difference between two passes over the same image, of the largest logit: rounding is far below it."""
JUDGED = {64: 100, 10**9: 25}
"""Images on which accuracies are compared, by the largest side that is meant."""
MISLABELLED = 0.3
"""Accuracy by which ID train or val must be worse than ID test for its labels to be doubted."""
BETTER = 0.1
"""Accuracy by which another normalisation must be better to be named."""
CANDIDATES = {
    "no normalisation": ((0.0,), (1.0,)),
    "mean and std 0.5": ((0.5,), (0.5,)),
    "ImageNet's mean and std": IMAGENET,
    "CIFAR-10's mean and std": CIFAR10,
    "CIFAR-100's mean and std": CIFAR100,
}
"""Normalisations that are tried."""


def network_of(config: RunConfig, bench: Benchmark, device: torch.device) -> Classifier:
    """The network that a configuration names, on images in pixels; ValueError where the images are not its own."""
    model = config.model or ("digits-cnn" if config.benchmark == "digits" else None)
    if model is None:
        raise ValueError(f"benchmark {config.benchmark} needs a network: give --model NAME and --checkpoint FILE")
    args = dict(config.model_args)
    known = [name for name in DATASETS if config.benchmark.startswith(name)]
    if model.startswith("robustbench:") and known:
        args.setdefault("dataset", known[-1])
    sample = None if source_of(model) is None else bench.id_val.shard(0, 2)
    net = load_model(
        model,
        checkpoint=config.checkpoint,
        device=device,
        model_args=args,
        mean=config.mean,
        std=config.std,
        size=config.size,
        head=config.head,
        model_dir=config.model_dir,
        threat_model=config.threat_model,
        download=config.download and "download" in taken_by(model),
        trust_checkpoint=config.trust_checkpoint,
        sample=sample,
    )
    size, own = getattr(net.backbone, "size", None), bench.id_test.shape[1:]
    if size is not None and tuple(size) != own:
        log.info(
            "%s resizes images of %s to %s (--size %d takes them as they are)", model, times(own), times(size), own[0]
        )
    check_network(net, bench, device)
    check_function(net, bench.id_val.shard(0, IMAGES).to(device))
    note_doubts(net, bench, device)
    return net if config.denoiser is None else behind_denoiser(net, config, bench, device)


def behind_denoiser(net: Classifier, config: RunConfig, bench: Benchmark, device: torch.device) -> Classifier:
    """A network behind the denoiser that a configuration names; ValueError for one that is no function of an image."""
    assert config.denoiser is not None
    both, x = denoised(net, config.denoiser, config.denoiser_checkpoint), bench.id_val.shard(0, IMAGES).to(device)
    check_images(both, x)
    check_network(both, bench, device)
    check_function(both, x)
    return both


def times(size: Any) -> str:
    return "x".join(map(str, size))


def check_network(net: detectors.Classifier | None, bench: Benchmark, device: torch.device) -> None:
    """ValueError where the network's output is not (B, K) with the benchmark's classes among the K."""
    if net is None:
        return
    x, name = bench.id_test.shard(0, 2).to(device), getattr(net, "name", type(net).__name__)
    if isinstance(net, Classifier) and net.mean.numel() != x.shape[1]:
        raise ValueError(f"network {name} takes {counted(net.mean.numel(), 'channel')}: {bench.name} has {x.shape[1]}")
    try:
        with torch.no_grad(), in_eval(net):
            logits = net(x)
    except detectors.GivenError:
        raise
    except Exception as error:  # whatever a user's network raises
        raise ValueError(f"network {name} cannot take {tuple(x.shape[1:])} images: {described(error)}") from error
    if fault := detectors.fault_of_logits(logits, x, max(2, int(bench.id_test.labels.max()) + 1)):
        raise ValueError(f"network {name} {fault}")
    if kind := detectors.kind_of_outputs(logits):
        log.warning("%s", detectors.said_of_outputs(name, kind))
    classes: Sequence[str] = () if bench.id_train.source is None else bench.id_train.source.classes or ()
    if 0 < len(classes) < logits.shape[1]:
        numbers = f"{classes[0]} is 0, {classes[-1]} is {len(classes) - 1}"
        log.warning(
            "network %s has %d classes, ID train %d class folders, which are numbered by name (%s): where one is "
            "missing, those after it have wrong labels",
            *(name, logits.shape[1], len(classes), numbers),
        )


def check_needs(detector: detectors.Detector, x: Tensor) -> None:
    """NeedsError where the network lacks what the scores of a detector need, on images x (B, C, H, W) of its device.

    What else a user's score raises ends its evaluation, which names the image.
    """
    for score in (part for part in detector.chain if isinstance(part, detectors.Score)):
        try:
            score.check_network(x)
        except detectors.NeedsError:
            raise
        except Exception:  # whatever a user's code raises
            continue


@torch.no_grad()
def check_function(net: Classifier, x: Tensor) -> None:
    """ValueError where the logits of an image are not the same again, or not the same without the images beside it."""
    together, again = net(x), net(x)
    if not bool(together.isfinite().all()):
        raise ValueError(f"network {net.name} gives logits that are not finite: expected numbers for every image")
    alone = torch.cat([net(image[None]) for image in x])
    largest = float(together.abs().max().clamp_min(1e-12))
    for other, said in (
        (again, "gives an image other logits each time"),
        (alone, "gives an image other logits alone than in a batch"),
    ):
        if not (difference := float((other - together).abs().max()) / largest) <= TOLERANCE:
            with in_eval(net.backbone):
                why = "; ".join(suspects(net.backbone, x))
            raise ValueError(
                f"network {net.name} {said} (by {difference:.2g} of the largest): expected a function of one image, "
                f"without random layers and batch statistics{f': {why}' if why else ''}"
            )


def suspects(net: nn.Module, x: Tensor) -> list[str]:
    """Layers that may be the cause: in eval mode without statistics of their own, or in training mode on x."""
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    layers = [(name.removeprefix("net."), layer) for name, layer in net.named_modules() if name]
    kept = [name for name, layer in layers if isinstance(layer, norms) and layer.running_mean is None]
    stuck = list[str]()

    def look(name: str, layer: nn.Module) -> Any:
        return layer.register_forward_pre_hook(lambda *_: stuck.append(name) if layer.training else None)

    hooks = [look(name, layer) for name, layer in layers]
    try:
        net(x)
    finally:
        for hook in hooks:
            hook.remove()
    return [
        *([f"{kept[0]} keeps no running statistics"] if kept else []),
        *([f"{stuck[0]} stays in training mode"] if stuck else []),
    ]


@torch.no_grad()
def accuracy(net: detectors.Classifier, x: Tensor, y: Tensor) -> float:
    """The share of images x (B, C, H, W) that a network gives their class, in passes that memory has held before."""
    classes = torch.cat([net(part).argmax(1) for part in x.split(IMAGES)])
    return float((classes == y.to(x.device)).float().mean())


def note_doubts(net: detectors.Classifier | None, bench: Benchmark, device: torch.device) -> None:
    """Say what `better_normalisation` and `other_labels` find."""
    for note in filter(None, (better_normalisation(net, bench, device), other_labels(net, bench, device))):
        log.warning("%s", note)


def other_labels(net: detectors.Classifier | None, bench: Benchmark, device: torch.device) -> str:
    """A line where far fewer labels of ID train or val are the network's than of ID test; "" where they are as many."""
    if net is None:
        return ""
    shares = dict[str, float]()
    for images in (bench.id_test, bench.id_train, bench.id_val):
        index = np.unique(np.linspace(0, len(images) - 1, judged(images)).round().astype(int))
        some = images.at(index)
        with in_eval(net):
            shares[images.split] = accuracy(net, some.shard(0, len(some)).to(device), some.labels)
    test = shares.pop("ID test")
    split, least = min(shares.items(), key=lambda entry: entry[1])
    if least > test - MISLABELLED:
        return ""
    name = getattr(net, "name", type(net).__name__)
    return (
        f"network {name} gives {least:.0%} of some {split} images the class of their label, and {test:.0%} of ID test: "
        f"are the labels of {split} in the order of its images?"
    )


def judged(images: ImageSet) -> int:
    """How many images accuracies are compared on: fewer of large ones."""
    return next(n for most, n in JUDGED.items() if max(images.shape[1:]) <= most)


def better_normalisation(net: detectors.Classifier | None, bench: Benchmark, device: torch.device) -> str:
    """A line where ID validation is classified better by 10 points under another normalisation; "" where it is not."""
    if net is None or bench.space != "pixel":
        return ""
    count = judged(bench.id_val)
    x, y = bench.id_val.shard(0, count).to(device), bench.id_val.labels[:count]
    channels, found = x.shape[1], {}
    own = (net.mean, net.std) if isinstance(net, Classifier) else (0.0, 1.0)
    with torch.no_grad(), in_eval(net):
        given = accuracy(net, x, y)
        if given > 1 - BETTER:
            return ""
        for said, (mean, std) in CANDIDATES.items():
            if len(mean) in (1, channels):
                means, stds = (list(v) * channels if len(v) == 1 else list(v) for v in (mean, std))
                shift, scale = (x.new_tensor(v).view(1, -1, 1, 1) for v in (means, stds))
                found[said] = accuracy(net, (x - shift) / scale * own[1] + own[0], y), written(means), written(stds)
    said, (best, shifts, scales) = max(found.items(), key=lambda entry: entry[1][0])
    if best < given + BETTER:
        return ""
    options, plainly = f"is it --mean {shifts} --std {scales}?", f"give it (x - {shifts}) / {scales}"
    cure = options if isinstance(net, Classifier) else plainly
    return (
        f"network {getattr(net, 'name', type(net).__name__)}: {best:.0%} of {len(x)} ID validation images are right "
        f"with {said}, {given:.0%} as it is normalised now: {cure}"
    )


def written(values: list[float]) -> str:
    """Numbers per channel as options take them: one where all are the same."""
    return ",".join(f"{value:g}" for value in (values[:1] if len(set(values)) == 1 else values))


def inspected(
    net: Classifier, prepared: nn.Module, bench: Benchmark, device: torch.device, images: int
) -> dict[str, Any]:
    """What was found of a network: layers, input, normalisation, head, files, speed-up, accuracy on a few ID images."""
    body = net.backbone
    x, y = bench.id_test.shard(0, images).to(device), bench.id_test.labels[:images]
    with torch.no_grad():
        outputs = net.outputs(x[:2])
    folds, batch = (getattr(prepared, name, None) for name in ("folds", "batch"))
    return {
        "name": net.name,
        "files": dict(net.files),
        "fingerprint": net.fingerprint(),
        "parameters": sum(p.numel() for p in net.parameters()),
        "layers": layers_of(body),
        "images": list(bench.id_test.shape),
        "input": [bench.id_test.shape[0], *(getattr(body, "size", None) or bench.id_test.shape[1:])],
        "interpolation": getattr(body, "interpolation", None) if getattr(body, "size", None) else None,
        "mean": [round(v, 6) for v in net.mean.flatten().tolist()],
        "std": [round(v, 6) for v in net.std.flatten().tolist()],
        "classes": outputs.logits.shape[1],
        "head": None if net.headless else getattr(body, "layer", None) or head_name(body),
        "features": None if outputs.features is None else outputs.features.shape[1],
        "headless": net.headless or None,
        "folded batch norms": folds,
        "images per pass": batch,
        "id_accuracy": accuracy(net, x, y),
        "id_images": len(x),
    }


def layers_of(body: nn.Module) -> dict[str, str]:
    """The kinds of a network's outermost layers by name, with its head where that was taken out."""
    layers = dict(getattr(body, "net", body).named_children())
    if isinstance(body, Body) and body.layer in layers and not body.hooked:
        layers[body.layer] = body.head
    return {name: type(layer).__name__ for name, layer in layers.items()}


def head_name(body: nn.Module) -> str | None:
    """The name of a backbone's own head."""
    return next((name for name, layer in body.named_modules() if layer is body.head), None)
