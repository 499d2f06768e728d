"""What becomes of planted mistakes: the verdict on each, and the AUROC that it hides.

usage: python -m studies.planted [--model digits-cnn-at --eps 32] [--only TEXT]

Every plant is evaluated as a user's module would be, with all checks. Beside the lowest AUROC that the table shows
(both populations attacked) stands the lowest that one finds who knows the score: PGD and Square on the
differentiable scores that its author meant (`studies/plants.py`), compared by the planted score. AUROC in percent.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import roodbench
from attacks import AttackPlan, Strength, ThreatModel
from roodbench.data import Benchmark
from roodbench.engine.worker import Worker
from roodbench.evaluation.evaluator import Evaluator
from roodbench.evaluation.sweep import evaluated, strongest
from studies.plants import PLANTS, Known, Parts, Plant, Planted
from studies.setting import parser_of, print_table, run_config, setting_of

COLUMNS = ("network", "planted", "reported", "true", "too high by", "verdict", "says")
SPENT = Strength(steps=40, restarts=1, draws=None, queries=100)
"""By the attack that knows the score, on every way to move it."""
POINT = 0.01
"""AUROC by which a number may be too high without a mark."""


def verdict(parts: Parts, plant: Plant, bench: Benchmark, eps: float, seed: int = 0) -> tuple[float, str, str]:
    """The lowest AUROC shown (NaN where the run ends), the verdict, and the failed checks or the error."""
    parts.kept.clear()
    try:
        found = roodbench.evaluate(Planted(parts, plant), bench, eps=eps, thorough=True, seed=seed)
    except (ValueError, RuntimeError) as error:
        return float("nan"), "refused", str(error).split("; ")[0]
    failed = [i.name for i in found.indicators if i.passed is False]
    return min(row.auroc for row in found.rows), "marked" if failed else "reliable", ", ".join(failed)


def truth(parts: Parts, plant: Plant, bench: Benchmark, eps: float, seed: int = 0) -> float:
    """The lowest AUROC that an attack finds which knows what the plant computes."""
    evaluator = Evaluator(Worker(Known(parts, plant), seed=seed), bench)
    found = evaluated(evaluator, "both", AttackPlan(ThreatModel(eps), strength=SPENT), check=False)
    return strongest(found).value


def rows_of(options: argparse.Namespace) -> Iterator[list[str]]:
    """The cells of the table, one row per plant."""
    with setting_of(run_config(options, compile="off")) as setting:
        bench, eps = setting.bench, options.eps / 255
        parts = Parts(setting.plain, bench.id_train, bench.id_val)
        for plant in PLANTS:
            if options.only not in plant.kind:
                continue
            shown, kind, said = verdict(parts, plant, bench, eps)
            true = min(truth(parts, plant, bench, eps), shown)
            numbers = [f"{100 * shown:.1f}", f"{100 * true:.1f}", f"{100 * (shown - true):.1f}"]
            yield [setting.plain.name, plant.kind, *(n.replace("nan", "-") for n in numbers), kind, said]


def main(argv: Sequence[str] | None = None) -> None:
    """Print a Markdown table, one line per plant."""
    parser = parser_of(__doc__, images=64)
    parser.add_argument("--eps", type=float, default=16.0, help="in 255ths; default 16")
    parser.add_argument("--only", default="", help="a part of the plants' names")
    print_table(COLUMNS, rows_of(parser.parse_args(argv)))


if __name__ == "__main__":
    main()
