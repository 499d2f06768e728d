"""What a run's ID images are exposed to: an adversary who knows this or that of the noise, or common corruptions."""

from __future__ import annotations

from .values import idle_setting

CORRUPTIONS = "corruptions"
THREATS = {CORRUPTIONS: "none: ID test images are corrupted, in each way and severity in turn (docs/data.md)"}
"""Threats beside the adversaries of `attacks.NOISE`."""


def check_threat(threat: str) -> None:
    """ValueError for an unknown threat."""
    from attacks import ThreatModel

    if threat in THREATS:
        return
    try:
        ThreatModel(0.0, noise=threat)
    except ValueError as error:
        raise ValueError(f"{error}, or {' or '.join(THREATS)}") from None


def attack_under(threat: str, attack: str) -> str:
    """What is attacked under a threat: nothing where there is no adversary; ValueError where something else was given.

    `both` is the default, and no one's wish.
    """
    check_threat(threat)
    if threat not in THREATS:
        return attack
    if attack not in ("both", "none"):
        raise idle_setting("attack", attack, f"threat {threat}")
    return "none"
