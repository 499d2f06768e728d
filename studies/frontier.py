"""What passes buy: AUROC under attack against network passes per image, of the suite, of plain restarts and of peers.

usage: python -m studies.frontier [--networks digits-cnn,digits-cnn-at] [--detectors pro,ross] [--budgets 200,800,3200]

On the digits against unseen digits, digits-cnn at 16/255 and digits-cnn-at at 32/255. The suite gets every budget
(forward + backward, `--budget` of a run); `restarts` is PGD on the base score alone from as many random starts as the
budget pays for; a peer sees the full detector as two logits and makes as many steps. A budget that pays for no attack
is left out. Writes results.md and frontier.svg into --out; finished cells are kept, so that parts can be made one by
one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import attacks
from attacks import AttackPlan
from detectors import Detector
from roodbench import RunConfig, Store, metrics
from roodbench.engine.worker import Worker
from roodbench.evaluation.evaluator import Evaluator
from roodbench.evaluation.sweep import evaluated
from roodbench.setup.setting import Setting, plan_of
from roodbench.store.files import save_text
from roodbench.store.identity import identity
from studies.chart import Panel, drawn
from studies.setting import markdown, plain_parser, save_table, setting_of

COLUMNS = ("network", "eps", "detector", "attack", "budget", "steps", "starts", "forward", "backward")
CONDITIONS = ("min", "max", "both")
EPS = {"digits-cnn": 16, "digits-cnn-at": 32}
"""In 255ths, by network."""
BUDGETS = (50, 100, 200, 400, 800, 1600, 3200, 5000)
RESTARTS = "restarts"
PEERS = ("torchattacks:PGD", "torchattacks:APGD", "foolbox:LinfPGD", "autoattack:APGD")
BEFORE = "suite, 20 steps, one start"
EARLIER = {
    ("digits-cnn", "pro(gen)"): (406, 399, 93.33, 94.65, 73.58),
    ("digits-cnn", "ross(gen)"): (2082, 682, 93.52, 94.98, 74.65),
    ("digits-cnn-at", "pro(gen)"): (406, 399, 81.54, 88.18, 20.26),
    ("digits-cnn-at", "ross(gen)"): (2082, 682, 82.20, 88.93, 21.76),
}
"""Forward, backward, min, max and both of the suite at revision 3ceede8, on the same 64 + 64 images
(benchmarks/RESULTS.md, 2026-11-26)."""
IMAGES = 64


def spending(detector: Detector, plan: AttackPlan, method: str, budget: int, label: str) -> AttackPlan:
    """The plan of a method with as much as the budget pays for; ValueError where that is nothing."""
    if method == "suite":
        return attacks.within(detector, plan, budget, label=label)
    own = replace(plan, method="transfer" if method == RESTARTS else method)

    def starting(restarts: int) -> AttackPlan:
        return replace(own, strength=replace(own.strength, restarts=restarts))

    if method == RESTARTS:
        one, two = (sum(attacks.cost(detector, starting(restarts))) for restarts in (1, 2))
        if budget < one:
            raise ValueError(f"budget {budget}: a start takes {one:.0f}")
        return starting(1 + int((budget - one) // (two - one)))
    draws = attacks.fixed_draws(detector, "exact", plan) if detector.randomized else None
    steps = budget // sum(detector.passes("exact", draws))
    if steps < 1:
        raise ValueError(f"budget {budget}: a step takes {sum(detector.passes('exact', draws))}")
    return replace(own, strength=replace(own.strength, steps=steps, restarts=1))


def areas_of(evaluator: Evaluator, plan: AttackPlan) -> tuple[list[float], list[float]]:
    """Passes (forward, backward) per image over both populations, and AUROC under min, max and both."""
    bench = evaluator.bench
    found, (ood,) = evaluated(evaluator, "both", plan, check=False), bench.ood.values()
    sides = {"id": (bench.id_test, "min"), "ood": (ood, "max")}
    passes = [
        sum(len(images) * found.populations[images.name, way].passes[place] for images, way in sides.values())
        / (len(bench.id_test) + len(ood))
        for place in (0, 1)
    ]
    scores = {
        (side, state): found.scores(images.name, state)
        for side, (images, way) in sides.items()
        for state in ("clean", way)
    }
    pairs = [(("id", "min"), ("ood", "clean")), (("id", "clean"), ("ood", "max")), (("id", "min"), ("ood", "max"))]
    return passes, [metrics.components(scores[own], scores[other]).value for own, other in pairs]


def curves(setting: Setting, name: str, eps: int, options: argparse.Namespace, store: Store) -> Iterator[list[str]]:
    """One detector's rows on one network: every method at every budget, and what the suite was before."""
    detector, _ = setting.fitted(name)
    evaluator = Evaluator(Worker(detector, device=setting.device, store=store, key=identity(detector)), setting.bench)
    plan, head = plan_of(setting.bench, eps=eps / 255), [setting.plain.name, f"{eps}/255", detector.label]
    for method in ("suite", RESTARTS, *filter(None, options.peers.split(","))):
        try:
            if attacks.is_external(method):
                attacks.attack_class(method, plan.threat)
        except ValueError as error:
            print(f"{method} is left out: {error}", file=sys.stderr)
            continue
        for budget in map(int, options.budgets.split(",")):
            try:
                own = spending(detector, plan, method, budget, detector.label)
            except ValueError:
                continue
            passes, areas = areas_of(evaluator, own)
            spent = [str(budget), str(own.strength.steps), str(own.strength.restarts)]
            numbers = [f"{value:.0f}" for value in passes] + [f"{100 * value:.2f}" for value in areas]
            yield [*head, method, *spent, *numbers]
    if options.images == IMAGES and (setting.plain.name, detector.label) in EARLIER:
        forward, backward, *before = EARLIER[setting.plain.name, detector.label]
        yield [*head, BEFORE, "", "20", "1", str(forward), str(backward), *(f"{value:.2f}" for value in before)]


def rows_of(options: argparse.Namespace) -> Iterator[list[str]]:
    """The cells of the table."""
    store = Store(options.runs)
    for network in options.networks.split(","):
        config = RunConfig(model=network, ood=("unseen-digits",), limit=options.images, compile="off")
        with setting_of(config) as setting:
            for name in options.detectors.split(","):
                yield from curves(setting, name, EPS[network], options, store)


def figure(rows: Sequence[Sequence[str]]) -> str:
    """The table as SVG: a panel per network and detector, AUROC with both populations attacked against passes."""
    panels: dict[str, Panel] = {}
    for network, eps, detector, attack, *_, forward, backward, _, _, both in rows:
        lines = panels.setdefault(f"{detector} on {network}, {eps}", {})
        lines.setdefault(attack, []).append((float(forward) + float(backward), float(both)))
    return drawn(panels, across="network passes per image (forward + backward)", up="AUROC both, %")


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table row by row, and write it and the figure."""
    parser = plain_parser(__doc__)
    parser.add_argument("--networks", default=",".join(EPS))
    parser.add_argument("--detectors", default="pro,ross")
    parser.add_argument("--budgets", default=",".join(map(str, BUDGETS)))
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--images", type=int, default=IMAGES, help=f"a population; default {IMAGES}")
    parser.add_argument("--runs", type=Path, help="where finished cells are kept; default the user's cache")
    parser.add_argument("--out", type=Path, default=Path("reports/frontier"), help="folder of the table and the figure")
    options = parser.parse_args(argv)
    rows: list[list[str]] = []

    def kept() -> Iterator[list[str]]:
        for row in rows_of(options):
            rows.append(row)
            yield row

    for line in markdown((*COLUMNS, *CONDITIONS), kept()):
        print(line, flush=True)
    save_table(options.out / "results.md", (*COLUMNS, *CONDITIONS), rows)
    save_text(figure(rows), options.out / "frontier.svg")


if __name__ == "__main__":
    main()
