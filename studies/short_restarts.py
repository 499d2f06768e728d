"""Half of the passes: short restarts on the base score, then a few steps on the detector's own objectives.

usage: python -m studies.short_restarts [--model digits-cnn-at --eps 32] [--data-root DATA --checkpoint FILE]

The suite runs every objective from one random start, and compares candidates on 8 draws. Here every base objective
(one network pass a step) gets several short runs, every own one a short run from a random start, the best of all one
more on `exact`; candidates are compared on 2 draws. AUROC in percent, both sides scored on the report's noise.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

import attacks
from attacks import MOMENTUM, SIGN, AttackPlan, Direction, ThreatModel
from attacks.seam import is_base, is_noisy
from roodbench import metrics
from roodbench.data import ImageSet
from roodbench.engine.worker import Worker
from roodbench.evaluation.evaluator import Evaluator
from studies.setting import parser_of, print_table, run_config, setting_of

COLUMNS = ("network", "eps", "detector", "spent on", "forward", "backward", "min", "max", "both")
DRAWS = 8
"""Copies per noisy gradient, as at `quick`."""


@dataclass(frozen=True)
class Spend:
    """Restarts and steps of every base objective, steps of `exact` and of the other own ones, and of the last run."""

    restarts: int = 5
    base: int = 10
    exact: int = 10
    own: int = 5
    last: int = 10
    compared: int = 2
    """Draws on which candidates are compared."""

    def __str__(self) -> str:
        return f"{self.restarts} x {self.base} base, {self.exact} exact, {self.own} own, {self.last} last"


SPENDS = (Spend(), Spend(own=0), Spend(restarts=10), Spend(exact=20, own=10, last=20))


def search(
    evaluator: Evaluator, name: str, shard: int, x: Tensor, direction: Direction, plan: AttackPlan, spend: Spend
) -> tuple[Tensor, Tensor]:
    """What a spend makes of one shard x of a population: images, and passes (forward, backward) over all of them."""
    worker, seen = evaluator.worker, evaluator.plain.detector
    passes = torch.zeros(2, dtype=torch.double)
    best = attacks.Best(
        seen,
        x,
        sign=SIGN[direction],
        stream=lambda: worker.stream("select", name, shard),
        reference=evaluator.references()[direction].to(x.device),
        draws=spend.compared,
    )

    def run(objective: str, steps: int, restarts: int = 1, start: Tensor | None = None) -> None:
        noisy = is_noisy(seen, objective)
        draws = (attacks.fixed_draws(seen, objective, plan) or DRAWS) if noisy else None
        found = attacks.pgd(
            seen,
            x,
            plan.threat,
            sign=SIGN[direction],
            objective=objective,
            steps=steps,
            restarts=restarts,
            draws=draws,
            start=start,
            clean=False,
            momentum=0.0 if start is None and not noisy else MOMENTUM,
            keep="last" if noisy else "best",
            generator=worker.stream(f"attack/{objective}/{start is None}", name, shard),
        )
        passes.add_(len(x) * restarts * (steps + (not noisy)) * torch.tensor(seen.passes(objective, draws)))
        best.offer(found.images)

    for objective in sorted(seen.objectives, key=lambda name: not is_base(name)):
        if is_base(objective):
            run(objective, spend.base, spend.restarts)
        elif steps := spend.exact if objective == "exact" else spend.own:
            run(objective, steps)
    run("exact", spend.last, start=best.images)
    return best.images, passes + best.scored * torch.tensor(seen.score_passes())


def attacked(
    evaluator: Evaluator, images: ImageSet, direction: Direction, plan: AttackPlan, spend: Spend | None
) -> tuple[np.ndarray, Tensor]:
    """Report scores (R, n) of a set after the suite (None) or a spend, and the passes that it took."""
    if spend is None:
        population = evaluator.attacked(images, direction, plan, evaluator.references()[direction])
        return population.scores.double().numpy(), len(images) * torch.tensor(population.passes)
    scores, passes = [], torch.zeros(2, dtype=torch.double)
    for shard, x in images.shards():
        found, spent = search(evaluator, images.name, shard, x.to(evaluator.worker.device), direction, plan, spend)
        scores.append(evaluator.plain.rescored(found, images.name, shard, direction, plan))
        passes += spent
    return torch.cat(scores, 1).double().numpy(), passes


def rows_of(options: argparse.Namespace) -> Iterator[list[str]]:
    """The cells of the table, one row per detector and spend, the suite first."""
    with setting_of(run_config(options, compile="off" if options.data_root is None else "on")) as setting:
        bench = setting.bench
        (ood,) = bench.ood.values()
        plan = AttackPlan(ThreatModel(options.eps / 255))
        for name in options.detectors.split(","):
            detector, _ = setting.fitted(name)
            evaluator = Evaluator(Worker(detector, device=setting.device), bench)
            clean = [evaluator.clean(images).scores.double().numpy() for images in (bench.id_test, ood)]
            for spend in (None, *SPENDS):
                low, low_passes = attacked(evaluator, bench.id_test, "min", plan, spend)
                high, high_passes = attacked(evaluator, ood, "max", plan, spend)
                pairs = [(low, clean[1]), (clean[0], high), (low, high)]
                each = (low_passes + high_passes) / (len(bench.id_test) + len(ood))
                numbers = [f"{value:.0f}" for value in each.tolist()]
                numbers += [f"{100 * metrics.components(*pair).value:.2f}" for pair in pairs]
                said = "the suite" if spend is None else str(spend)
                yield [setting.plain.name, f"{options.eps:g}/255", detector.label, said, *numbers]


def main(argv: Sequence[str] | None = None) -> None:
    """Print a Markdown table, one line per detector and spend."""
    parser = parser_of(__doc__, images=64)
    parser.add_argument("--detectors", default="ross,pro,median,mad,cov")
    parser.add_argument("--eps", type=float, default=16.0, help="in 255ths; default 16")
    print_table(COLUMNS, rows_of(parser.parse_args(argv)))


if __name__ == "__main__":
    main()
