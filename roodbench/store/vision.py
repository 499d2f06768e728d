"""torchvision, whose operators need not be built for this torch."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import torch

OPERATORS = tuple(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" for name in ("nms", "qnms"))
"""What torchvision registers at its import: for detection boxes, of which no classifier or data set has any."""
_declared: list[Any] = []


def import_torchvision() -> Any:
    """torchvision; ValueError with the install command where it is missing.

    Beside a torch that its operators are not built for (a CPU build of torch, say) its import fails for want of two of
    them. Declared without being there, they let it go on.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("torchvision")
    except (ImportError, RuntimeError) as error:
        if "torchvision::" not in str(error) or _declared:
            said = " ".join(str(error).split())
            raise ValueError(f"torchvision is not installed ({said}): pip install 'roodbench[vision]'") from None
        _declared.append(library := torch.library.Library("torchvision", "FRAGMENT"))
        for operator in OPERATORS:
            library.define(operator)
        return import_torchvision()
