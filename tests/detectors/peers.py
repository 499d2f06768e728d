"""pytorch-ood, where it is installed: an independent implementation of several scores."""

import importlib.util

import pytest
import torch

LIBRARIES = []
"""Operators are gone with what defined them."""


def torchvision_without_operators():
    """Its import registers fakes of two operators of its own, which must exist: they do not where torch is CPU only."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def pytorch_ood():
    """Its package of detectors; the test is skipped without it."""
    if importlib.util.find_spec("pytorch_ood") is None:
        pytest.skip("pytorch-ood is not installed: pip install pytorch-ood==0.4.0")
    LIBRARIES.append(torchvision_without_operators())
    from pytorch_ood import detector

    return detector
