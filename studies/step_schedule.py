"""PGD's default step sizes and momentum against the constant step 2.5 eps / steps, at equal passes.

usage: python -m studies.step_schedule [--data-root DATA --checkpoint cifar10_resnet20.safetensors]

Without data, on digits. AUROC with both populations attacked: lower is the stronger attack.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence

import torch

from attacks import MOMENTUM, ThreatModel, pgd
from detectors import Detector
from roodbench import metrics
from studies.setting import parser_of, print_table, run_config, setting_of

COLUMNS = ("detector", "objective", "eps", "constant", "geometric", f"geometric + momentum {MOMENTUM}")
STEPS, COPIES, DRAWS = 20, 8, 5
EPS: Mapping[str, Mapping[str, float]] = {
    "digits": dict.fromkeys(("msp", "gen", "pro", "ross"), 16.0),
    "cifar10": {"msp": 0.5, "gen": 0.5, "pro": 0.5, "ross": 1.0},
}
"""In 255ths, where AUROC is far from 0."""
OBJECTIVES = (("msp", "exact"), ("gen", "exact"), ("pro", "exact"), ("ross", "mean"), ("ross", "soft-median"))


@torch.no_grad()
def scores_of(detector: Detector, x: torch.Tensor) -> torch.Tensor:
    """(R, n), on a few draws of a randomised detector."""
    if not detector.randomized:
        return detector(x)[None].cpu()
    generator = torch.Generator(x.device).manual_seed(99)
    return torch.stack([detector(x, generator=generator) for _ in range(DRAWS)]).cpu()


def rows_of(options: argparse.Namespace) -> Iterator[list[str]]:
    """The cells of the table, one row per detector and objective."""
    with setting_of(run_config(options, compile="off")) as setting:
        (ood,) = setting.bench.ood.values()
        populations = [
            (s.shard(0, len(s)).to(setting.device), sign) for s, sign in ((setting.bench.id_test, -1), (ood, 1))
        ]
        for name, objective in OBJECTIVES:
            detector, _ = setting.fitted(name)
            eps = EPS[setting.bench.name][name]
            threat, cells = ThreatModel(eps / 255), []
            schedules: tuple[dict[str, float], ...] = (
                {"step_size": 2.5 * threat.eps / options.steps},
                {},
                {"momentum": MOMENTUM},
            )
            for schedule in schedules:
                moved = [
                    pgd(
                        detector,
                        x,
                        threat,
                        sign=sign,
                        objective=objective,
                        steps=options.steps,
                        draws=COPIES,
                        generator=torch.Generator(x.device).manual_seed(2 + sign),
                        **schedule,  # type: ignore[arg-type]
                    ).images
                    for x, sign in populations
                ]
                cells.append(f"{metrics.auroc(*(scores_of(detector, x).numpy() for x in moved)):.4f}")
            yield [name, objective, f"{eps:g}/255", *cells]


def main(argv: Sequence[str] | None = None) -> None:
    """Print a Markdown table, one line per detector and objective."""
    parser = parser_of(__doc__, images=64)
    parser.add_argument("--steps", type=int, default=STEPS)
    print_table(COLUMNS, rows_of(parser.parse_args(argv)))


if __name__ == "__main__":
    main()
