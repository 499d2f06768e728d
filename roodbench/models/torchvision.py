"""Classifiers of torchvision, with their own mean, standard deviation, input size and interpolation."""

from __future__ import annotations

import torch

from detectors import unknown

from ..store.vision import import_torchvision
from .source import Loaded, Wanted, fetched, file_hash, with_classes

CLASSES = 1000
"""Of ImageNet, on which the sizes of published weights were chosen."""
INCEPTIONS = ("googlenet", "inception_v3")
"""Networks whose published weights take images that are normalised in another way, which the network itself does."""


def load(name: str, wanted: Wanted) -> Loaded:
    """The classifier `name` of torchvision with weights of a file, or with its own where those were downloaded.

    Images get its own size where the weights have ImageNet's classes, or where it cannot take theirs.
    """
    models = import_torchvision().models
    if name not in (known := models.list_models(module=models)):
        raise ValueError(unknown("torchvision model", name, known))

    def make(classes: int | None) -> torch.nn.Module:
        counted = {} if classes is None else {"num_classes": classes}
        published = {"init_weights": False, "transform_input": classes is None} if name in INCEPTIONS else {}
        return models.get_model(name, weights=None, **{**published, **counted, **wanted.args})

    spec = f"torchvision:{name}"
    own = models.get_model_weights(name).DEFAULT
    file = wanted.checkpoint or fetched(
        spec, own.url, wanted, wanted.folder / "torchvision" / own.url.rpartition("/")[2]
    )
    net, shape = with_classes(make, file, spec, trust=wanted.trust), own.transforms()
    side = getattr(net, "image_size", shape.crop_size[0])
    return Loaded(
        net,
        (tuple(shape.mean), tuple(shape.std)),
        (side, side) if classes_of(net) == CLASSES else None,
        (side, side),
        shape.interpolation.value,
        {file.name: file_hash(file)},
    )


def classes_of(net: torch.nn.Module) -> int:
    """The outputs of a network's last registered layer with weights."""
    return [p.shape[0] for key, p in net.named_parameters() if p.ndim > 1][-1]
