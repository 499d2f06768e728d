"""Networks of timm, with their own mean, standard deviation, input size and interpolation."""

from __future__ import annotations

import difflib
import importlib
from typing import Any

from torch import nn

from detectors import unknown

from ..store.vision import import_torchvision
from .source import Loaded, Wanted, fetched, file_hash, missing, silent, with_classes
from .torchvision import CLASSES

MODES = {"bilinear": "bilinear", "bicubic": "bicubic"}
"""Interpolations of timm that torch has for tensors; others become bicubic."""


def import_timm() -> Any:
    """timm; ValueError with the install command where it, or torchvision below it, is missing."""
    import_torchvision()
    try:
        with silent():
            return importlib.import_module("timm")
    except (ImportError, RuntimeError) as error:
        raise missing("timm", "timm", error) from None


def load(name: str, wanted: Wanted) -> Loaded:
    """The network `name` (or NAME.TAG) of timm with weights of a file, or with its own where those were downloaded.

    Images get its own size where the weights have ImageNet's classes, or where it cannot take theirs.
    """
    timm = import_timm()
    if not timm.is_model(name.partition(".")[0]):
        raise ValueError(unknown("timm model", name, near(name, timm.list_models())))

    def make(classes: int | None) -> nn.Module:
        counted = {} if classes is None else {"num_classes": classes}
        return timm.create_model(name, pretrained=False, **{**counted, **wanted.args})

    spec = f"timm:{name}"
    file = wanted.checkpoint
    if file is None:
        own = timm.models.get_pretrained_cfg(name)
        if own is None or not (own.hf_hub_id or own.url):
            raise ValueError(f"model {spec} has no weights of its own: give --checkpoint FILE")
        address, ending = address_of(own)
        file = fetched(spec, address, wanted, wanted.folder / "timm" / f"{name}{ending}")
    net = with_classes(make, file, spec, trust=wanted.trust)
    shape = timm.data.resolve_model_data_config(net)
    size = tuple(shape["input_size"][1:])
    return Loaded(
        net,
        (tuple(shape["mean"]), tuple(shape["std"])),
        size if net.num_classes == CLASSES else None,
        size,
        MODES.get(shape["interpolation"], "bicubic"),
        {file.name: file_hash(file)},
    )


def address_of(own: Any) -> tuple[str, str]:
    """Where timm's own weights are, and what their file ends in."""
    if not own.hf_hub_id:
        return own.url, f".{own.url.rpartition('.')[2]}"
    return f"https://huggingface.co/{own.hf_hub_id}/resolve/main/model.safetensors", ".safetensors"


def near(name: str, known: list[str]) -> list[str]:
    """Some of more than a thousand names: those that go on as this one does, and the nearest.

    >>> near("vit", ["vit_tiny", "resnet18", "davit"]), near("resnet81", ["res2net101", "resnet18", "vit_tiny"])
    (['vit_tiny', 'davit'], ['resnet18', 'res2net101'])
    """
    longer = [other for other in known if other.startswith(name)][:6]
    alike = difflib.get_close_matches(name, known, 6, cutoff=0.5)
    return list(dict.fromkeys([*longer, *alike])) or ["resnet18", "vit_base_patch16_224"]
