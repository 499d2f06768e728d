"""Published evaluation protocols as settings of a run, and what is wrong with them."""

from __future__ import annotations

from typing import Any

PROTOCOLS: dict[str, dict[str, Any]] = {
    "roodbench": {},
    "ross-2026": {
        "space": "normalized",
        "method": "transfer",
        "steps": 40,
        "restarts": 1,
        "step": 0.01 / 0.3,
        "keep": "last",
        "norm": "linf",
        "threat": "fresh",
        "strength": "quick",
        "precision": "float32",
    },
    "pro-2025": {"attack": "none", "search": True},
}
"""Settings that a protocol fixes. roodbench: none. pro-2025: clean evaluation with parameters searched (APS)."""
PARAMS: dict[str, dict[str, Any]] = {
    "ross-2026": {"sigma": 0.05, "copies": 25, "gain": 0.01, "distance_to_mean": False, "published": True},
    "pro-2025": {"published": True},
}
"""Parameters of ROSS, fDBD and GEN unless others are given; of ross-2026 in normalised space."""
EPS = {"ross-2026": (8 / 255,)}


def faults_of(protocol: str, eps: float | None, eps_pixel: float | None, *, rounded: bool) -> list[str]:
    """What an expert would object to a protocol's numbers, for the report; `rounded`: of GEN as published, too."""
    if protocol != "ross-2026" or eps is None or eps_pixel is None:
        return []
    faults = [
        f"ross-2026: epsilon {255 * eps:.3g}/255 in normalised space is {255 * eps_pixel:.2g}/255 in pixels, "
        "and images may leave [0, 1]",
        "ross-2026: the attack sees the base score alone (transfer), not the detector that is reported",
        "ross-2026: 40 steps of epsilon / 30 travel 1.33 epsilon from one random start (2 would cross the ball), "
        "and the last iterate is kept, not the best",
    ]
    if rounded:
        faults += [
            "ross-2026: over gen, images whose softmax rounds to 1 get no step: the published gradient is NaN there, "
            "and the score lacks the top class's term"
        ]
    return faults
