"""What the suite's last attack, PGD from the best that the others found, adds: AUROC without and with it, paired.

usage: python -m studies.refine [--data-root DATA --checkpoint cifar10_resnet20.safetensors]

On digits against unseen-digits or, with data, on CIFAR-10 against texture.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

import attacks
from attacks import SIGN, AttackPlan, Direction, Strength, ThreatModel
from detectors import Detector
from roodbench.engine.streams import stream
from roodbench.metrics import components, paired_gap
from studies.setting import parser_of, print_table, run_config, setting_of

COLUMNS = ("benchmark", "detector", "eps", "seed", "condition", "without", "with", "lower by", "two std errors")
EPS = {"digits": (16.0, 32.0), "cifar10": (0.5, 1.0)}
"""In 255ths."""


def scores(detector: Detector, x: torch.Tensor, direction: Direction, plan: AttackPlan, seed: int) -> list[np.ndarray]:
    """Of the images attacked without and with `refine`."""

    def streams(name: str) -> torch.Generator:
        return stream(seed, name, str(SIGN[direction]), 0, x.device)

    everything, found = attacks.components_of(detector, plan), []
    for chosen in (everything[:-1], everything):
        result = attacks.suite(detector, x, plan, direction, streams=streams, components=chosen)
        assert result.scores is not None
        found.append(result.scores.double().cpu().numpy())
    return found


def rows_of(options: argparse.Namespace, strength: Strength) -> Iterator[list[str]]:
    """The cells of the table, one row per detector, radius, seed and condition."""
    compile = "off" if options.data_root is None else "on"
    with setting_of(run_config(options, compile=compile)) as setting:
        (ood,) = setting.bench.ood.values()
        x_id, x_ood = (s.shard(0, len(s)).to(setting.device) for s in (setting.bench.id_test, ood))
        for name in options.detectors.split(","):
            detector, _ = setting.fitted(name)
            if detector.randomized:
                raise ValueError(f"{detector.label} is randomised: its suite has no refine")
            with torch.no_grad():
                clean = [2 * [detector(x).double().cpu().numpy()] for x in (x_id, x_ood)]
            for eps in EPS[setting.bench.name]:
                plan = AttackPlan(ThreatModel(eps / 255), strength=strength)
                for seed in range(options.seeds):
                    low, high = scores(detector, x_id, "min", plan, seed), scores(detector, x_ood, "max", plan, seed)
                    pairs = {"min": (low, clean[1]), "max": (clean[0], high), "both": (low, high)}
                    for condition, pair in pairs.items():
                        before, after = (components(a, b) for a, b in zip(*pair, strict=True))
                        gap, error, _ = paired_gap(before, after)
                        numbers = [f"{value:.4f}" for value in (before.value, after.value, gap, 2 * error)]
                        yield [setting.bench.name, name, f"{eps:g}/255", str(seed), condition, *numbers]


def main(argv: Sequence[str] | None = None) -> None:
    """Print a Markdown table, one line per detector, radius, seed and condition."""
    quick = attacks.STRENGTHS["quick"]
    parser = parser_of(__doc__, images=64, seeds=1)
    parser.add_argument("--detectors", default="gen,msp,knn,vim,pro")
    parser.add_argument("--steps", type=int, default=quick.steps)
    options = parser.parse_args(argv)
    print_table(COLUMNS, rows_of(options, replace(quick, steps=options.steps)))


if __name__ == "__main__":
    main()
