"""The suite against other libraries' attacks of as many passes: AUROC with both populations attacked, paired.

usage: python -m studies.peers_auroc [--images 100] [--detectors gen,ross] [--seeds 3]
       python -m studies.peers_auroc --data-root DATA --checkpoint WEIGHTS [--model cifar-resnet20] [--ood texture]

On digits, or with data on CIFAR-10. Every peer sees the full detector as two logits: its own gradient, of a randomised
one through as many noisy copies as the suite draws, of MSP also the gradient of the log-odds. It gets the steps or
queries that cost as many passes (a backward counted as two forwards) as the suite may spend; the image that the
detector misjudges more, clean or attacked, counts for a peer too. Finished cells are kept under --out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import attacks
from attacks import AttackPlan
from detectors import Detector
from roodbench import Store
from roodbench.engine.worker import Worker
from roodbench.evaluation.evaluator import Evaluator
from roodbench.evaluation.sweep import evaluated, strongest
from roodbench.metrics import paired_gap
from roodbench.setup.setting import Setting, plan_of
from roodbench.store.identity import identity
from studies.setting import parser_of, print_table, run_config, setting_of

COLUMNS = (
    "benchmark",
    "detector",
    "seed",
    "attack",
    "steps",
    "passes per image",
    "AUROC both",
    "suite lower by",
    "two std errors",
)
DETECTORS = ("msp", "gen", "ebo", "vim", "knn", "pro", "ross")
PEERS = ("foolbox:LinfPGD", "torchattacks:PGD", "torchattacks:APGD", "torchattacks:Square", "autoattack:APGD")
RANDOMIZED = ("torchattacks:EOTPGD",)
STARTS = 3
"""APGD is also given as many random starts, of a third of the steps each."""
SURROGATES = {"msp": "log-odds"}
"""Where the exact score saturates in float32, the peers also get a surrogate whose gradient does not vanish."""
EPS = {"digits": 16 / 255, "cifar10": 0.5 / 255}
"""Where AUROC is far from 0: a weaker attack shows there."""


def steps_of(detector: Detector, peer: str, plan: AttackPlan, draws: Mapping[str, int]) -> int:
    """Steps or queries of a peer that cost as much as the plan's suite, which draws so many copies by objective."""
    forward, backward = attacks.cost(detector, plan, draws)
    copies = draws.get("exact") if detector.randomized else None
    one = detector.score_passes() if "Square" in peer else detector.passes("exact", copies)
    each = one[0] + 2 * one[1]
    return max(1, round((forward + 2 * backward) / each / (2 if peer in RANDOMIZED else 1)))  # EOTPGD's eot_iter is 2


def attacks_on(name: str, detector: Detector, peers: Sequence[str]) -> list[tuple[str, str | None, int]]:
    """Every peer that a detector is attacked with: its name, the objective (None: the exact score), random starts."""
    own = [(peer, None, 1) for peer in (*peers, *(RANDOMIZED * detector.randomized))]
    surrogate = [(peer, SURROGATES[name], 1) for peer, _, _ in own if name in SURROGATES and "Square" not in peer]
    restarted = [(peer, objective, STARTS) for peer, objective, _ in (*own, *surrogate) if "APGD" in peer]
    return [*own, *surrogate, *restarted]


def spending(peer: str, steps: int, starts: int) -> dict[str, Any]:
    """A peer's settings of a strength."""
    return {"queries": steps} if "Square" in peer else {"steps": steps, "restarts": starts}


def compared(name: str, seed: int, setting: Setting, options: argparse.Namespace, store: Store) -> Iterator[list[str]]:
    """A detector's rows of the table, the suite's first."""
    bench, (detector, _) = setting.bench, setting.fitted(name)
    worker = Worker(detector, seed=seed, device=setting.device, store=store, key=identity(detector))
    evaluator = Evaluator(worker, bench)
    eps = EPS[bench.name] * (2 if name == "ross" and bench.name == "cifar10" else 1)
    plan = plan_of(
        bench,
        eps=eps if options.eps is None else options.eps / 255,
        strength=options.strength,
        steps=options.steps,
    )
    draws, suite = evaluator.sized(plan), None
    peers = [peer for peer in options.peers.split(",") if peer]
    for method, objective, starts in (("suite", None, 1), *attacks_on(name, detector, peers)):
        if method == "suite":
            own, steps = plan, plan.strength.steps
        else:
            steps = steps_of(detector, method, plan, draws) // starts
            spend = replace(plan.strength, **spending(method, steps, starts))
            own = replace(plan, method=method, objective=objective, strength=spend)
        found = evaluated(evaluator, "both", own, check=False)
        reached = strongest(found)
        suite = suite or reached
        spent = found.populations[bench.id_test.name, "min"].passes
        gap, error, _ = paired_gap(reached, suite)
        label = method if objective is None else f"{method} on {objective}"
        label += f", {starts} starts" if starts > 1 else ""
        passes = f"{spent[0]:.0f} + {spent[1]:.0f}"
        numbers = [f"{value:.4f}" for value in (reached.value, gap, 2 * error)]
        yield [bench.name, name, str(seed), label, str(steps), passes, *numbers]


def rows_of(options: argparse.Namespace) -> Iterator[list[str]]:
    """The cells of the table, one row per detector, seed and attack."""
    store = Store(options.out)
    with setting_of(run_config(options, compile="off" if options.data_root is None else "on")) as setting:
        for name in options.detectors.split(","):
            for seed in range(options.seeds):
                yield from compared(name, seed, setting, options, store)


def main(argv: Sequence[str] | None = None) -> None:
    """Print a Markdown table, one line per detector, seed and attack."""
    parser = parser_of(__doc__, images=32, seeds=1)
    parser.add_argument("--eps", type=float, help="in 255ths; default 16, on CIFAR-10 0.5 (ross: 1)")
    parser.add_argument("--strength", default="quick", choices=attacks.STRENGTHS)
    parser.add_argument("--steps", type=int, help="of the suite's attacks; default the strength's")
    parser.add_argument("--detectors", default=",".join(DETECTORS))
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--out", type=Path, default=Path("roodbench-runs"), help="where finished cells are kept")
    print_table(COLUMNS, rows_of(parser.parse_args(argv)))


if __name__ == "__main__":
    main()
