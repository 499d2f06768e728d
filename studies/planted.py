"""What becomes of planted mistakes: the verdict on each, and the AUROC that it hides.

usage: python -m studies.planted [--model digits-cnn-at --eps 32] [--later] [--only TEXT | --power]

Every plant is evaluated as a user's module would be, with all checks. Beside the lowest AUROC that the table shows
(both populations attacked) stands the lowest that one finds who knows the score: PGD and Square on the
differentiable scores that its author meant (`studies/mistakes.py`), compared by the planted score. AUROC in percent.
`--power` says in what percentage of the seeds, which draw 32 + 32 images, `finite-difference` and `line-integral` see a
detached share.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import torch

import attacks
import roodbench
from attacks import SIGN, AttackPlan, Direction, Strength, ThreatModel
from detectors import Plain
from roodbench.data import Benchmark, ImageSet
from roodbench.engine.worker import Worker
from roodbench.evaluation.checks import CHECKS
from roodbench.evaluation.evaluator import Evaluator
from roodbench.evaluation.sweep import evaluated, strongest
from roodbench.evaluation.truth import Images, truth_of
from studies.later_mistakes import LATER
from studies.mistakes import PLANTS
from studies.plants import Known, Parts, Plant, Planted, detached
from studies.setting import parser_of, print_table, run_config, setting_of

COLUMNS = ("network", "planted", "reported", "true", "too high by", "verdict", "says")
SPENT = Strength(steps=40, restarts=1, draws=None, queries=100)
"""By the attack that knows the score, on every way to move it."""
POWER = ("network", "under no_grad", "share", "seeds", "finite-difference", "line-integral", "either")
SHARES = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Of another score, in units of ebo's spread on ID."""
PROBED = 32
"""Images of ID, and of OOD, as many as the indicators look at most."""


def verdict(parts: Parts, plant: Plant, bench: Benchmark, eps: float, seed: int = 0) -> tuple[float, str, str]:
    """The lowest AUROC shown (NaN where the run ends), the verdict, and the failed checks or the error."""
    parts.forget()
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
    with setting_of(run_config(options, compile="off", device="cpu")) as setting:
        bench, eps = setting.bench, options.eps / 255
        parts = Parts(setting.plain, bench.id_train, bench.id_val)
        for plant in LATER if options.later else PLANTS:
            if not any(part in plant.kind for part in options.only.split(";")):
                continue
            shown, kind, said = verdict(parts, plant, bench, eps)
            true = min(truth(parts, plant, bench, eps), shown)
            numbers = [f"{100 * shown:.1f}", f"{100 * true:.1f}", f"{100 * (shown - true):.1f}"]
            yield [setting.plain.name, plant.kind, *(n.replace("nan", "-") for n in numbers), kind, said]


def seen(parts: Parts, plant: Plant, bench: Benchmark, eps: float, seed: int) -> set[str]:
    """The indicators of the gradient that fail on some images, after PGD on the planted score."""
    worker, threat = Worker(Plain(Planted(parts, plant)), seed=seed), ThreatModel(eps)
    (ood,) = bench.ood.values()
    clean, ended = Images(), Images()
    sets: dict[Direction, ImageSet] = {"min": bench.id_test, "max": ood}
    for direction, images in sets.items():
        generator = worker.stream("attack", images.name, 0)
        chosen = torch.randperm(len(images), generator=generator)[:PROBED]
        x = clean[direction] = torch.cat([batch for _, batch in images.shards()])[chosen]
        ended[direction] = attacks.pgd(worker.detector, x, threat, sign=SIGN[direction], generator=generator).images
    with torch.no_grad():
        scores = torch.cat([worker.detector(x) for x in clean.values()])
    low, high = scores.quantile(torch.tensor([0.25, 0.75])).tolist()
    return {
        name for name, n in truth_of(worker, threat, clean, ended, high - low).items() if n > CHECKS[name].threshold
    }


def power_of(options: argparse.Namespace) -> Iterator[list[str]]:
    """The cells of the table, one row per part and share: in what percentage of the seeds it is seen."""
    with setting_of(run_config(options, compile="off", device="cpu")) as setting:
        parts = Parts(setting.plain, setting.bench.id_train, setting.bench.id_val)
        for part in ("knn", "vim"):
            for share in SHARES:
                plant, seeds = detached(share, part), range(options.seeds)
                found = [seen(parts, plant, setting.bench, options.eps / 255, seed) for seed in seeds]
                counts = [sum(name in names for names in found) for name in POWER[4:6]] + [sum(map(bool, found))]
                rates = [f"{100 * count / len(found):.0f}" for count in counts]
                yield [setting.plain.name, part, f"{share:g}", str(len(found)), *rates]


def main(argv: Sequence[str] | None = None) -> None:
    """Print a Markdown table, one line per plant, or of the power."""
    parser = parser_of(__doc__, images=64, seeds=5)
    parser.add_argument("--eps", type=float, default=16.0, help="in 255ths; default 16")
    parser.add_argument("--only", default="", help="parts of the plants' names, between semicolons")
    parser.add_argument("--later", action="store_true", help="the plants that were invented after the indicators")
    parser.add_argument("--power", action="store_true", help="how often detached shares are seen, over --seeds")
    options = parser.parse_args(argv)
    print_table(*((POWER, power_of(options)) if options.power else (COLUMNS, rows_of(options))))


if __name__ == "__main__":
    main()
