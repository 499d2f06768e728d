"""Which settings of a run name other people's code, which runs when it is loaded."""

from __future__ import annotations

from ..data.load import runs_code
from ..models.load import SOURCES

NAMING = ("model", "benchmark", "base", "denoiser")
"""The settings that may name code."""


def is_code(name: str, text: str) -> bool:
    """Whether loading what one of the settings `NAMING` names runs its author's code."""
    if name == "benchmark":
        return runs_code(text)
    return ":" in text and text.partition(":")[0] not in (SOURCES if name == "model" else ())
