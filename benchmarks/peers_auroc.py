"""The suite against other libraries' attacks of as many passes: AUROC with both populations attacked, paired.

usage: python -m benchmarks.peers_auroc [--images 100] [--detectors gen,ross] [--seeds 3]
       python -m benchmarks.peers_auroc --data-root DATA --checkpoint WEIGHTS [--model cifar-resnet20] [--ood texture]

On digits, or with data on CIFAR-10. Every peer sees the full detector as two logits: its own gradient, of a randomised
one through as many noisy copies as the suite draws, of MSP also the gradient of the log-odds. It gets the steps or
queries that cost as many passes (a backward counted as two forwards) as the suite may spend; the image that the
detector misjudges more, clean or attacked, counts for a peer too. Finished cells are kept under --out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from roodbench.attacker import AttackPlan
from roodbench.config import plan_of
from roodbench.evaluate import Evaluator
from roodbench.evaluated import Evaluated
from roodbench.run import identity

import attacks
import detectors
import roodbench
from detectors import WRAPPERS
from roodbench.metrics import components, paired_gap

DETECTORS = ("msp", "gen", "ebo", "vim", "knn", "pro", "ross")
PEERS = ("foolbox:LinfPGD", "torchattacks:PGD", "torchattacks:APGD", "torchattacks:Square", "autoattack:APGD")
RANDOMIZED = ("torchattacks:EOTPGD",)
STARTS = 3
"""APGD is also given as many random starts, of a third of the steps each."""
SURROGATES = {"msp": "log-odds"}
"""Where the exact score saturates in float32, the peers also get a surrogate whose gradient does not vanish."""
EPS = {"digits": 16 / 255, "cifar10": 0.5 / 255}
"""Where AUROC is far from 0: a weaker attack shows there."""


def steps_of(detector: detectors.Detector, peer: str, plan: AttackPlan, draws: Mapping[str, int]) -> int:
    """Steps or queries of a peer that cost as much as the plan's suite, which draws so many copies by objective."""
    forward, backward = attacks.cost(detector, "suite", None, plan.strength, draws)
    copies = draws.get("exact") if detector.randomized else None
    one = detector.score_passes() if "Square" in peer else detector.passes("exact", copies)
    each = one[0] + 2 * one[1]
    return max(1, round((forward + 2 * backward) / each / (2 if peer in RANDOMIZED else 1)))  # EOTPGD's eot_iter is 2


def area(found: Evaluated):
    """DeLong's components of ID under min against OOD under max."""
    (ood,) = found.bench.ood
    keys = ((found.bench.id_test.name, "min"), (ood, "max"))
    return components(*(found.populations[key].scores.double().numpy() for key in keys))


def main() -> None:
    """Print a Markdown table, one line per benchmark, detector and attack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--model", help="default digits-cnn or cifar-resnet20")
    parser.add_argument("--ood", help="default unseen-digits or texture")
    parser.add_argument("--eps", type=float, help="in 255ths; default 16, on CIFAR-10 0.5 (ross: 1)")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--strength", default="quick", choices=attacks.STRENGTHS)
    parser.add_argument("--detectors", default=",".join(DETECTORS))
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--out", type=Path, default=Path("roodbench-runs"))
    options = parser.parse_args()
    bench, net = setting(options)
    store = roodbench.Store(options.out)
    columns = (
        "benchmark | detector | seed | attack | steps | passes per image | AUROC both | suite lower by | two std errors"
    )
    print(f"| {columns} |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in options.detectors.split(","):
        for seed in range(options.seeds):
            for cells in compare(name, seed, bench, net, options, store):
                print(f"| {bench.name} | {name} | {seed} | {' | '.join(cells)} |", flush=True)


def setting(options: argparse.Namespace) -> tuple[roodbench.Benchmark, roodbench.Classifier]:
    """The benchmark with one OOD set, and the network."""
    if options.data_root is None:
        bench = roodbench.load_benchmark("digits", ood=[options.ood or "unseen-digits"], limit=options.images)
        return bench, roodbench.load_model(options.model or "digits-cnn")
    ood = [options.ood or "texture"]
    bench = roodbench.load_benchmark("cifar10", root=options.data_root, ood=ood, limit=options.images)
    net = roodbench.load_model(options.model or "cifar-resnet20", checkpoint=options.checkpoint)
    return bench, roodbench.prepare(net, bench.id_val.shard(0, 64), compile="on")


def compare(
    name: str,
    seed: int,
    bench: roodbench.Benchmark,
    net: roodbench.Classifier,
    options: argparse.Namespace,
    store: roodbench.Store,
) -> Iterator[list[str]]:
    """A detector's lines of the table, the suite's first."""
    params = {"base": "gen"} if name in WRAPPERS else {}
    params |= {"sigma": bench.sigma} if name == "ross" else {}
    detector = detectors.create(name, net, **params).fit(bench.id_train, bench.id_val)
    evaluator = Evaluator(detector, bench, seed=seed, store=store, key=identity(detector))
    eps = EPS[bench.name] * (2 if name == "ross" and bench.name == "cifar10" else 1)
    plan = plan_of(bench, eps=eps if options.eps is None else options.eps / 255, strength=options.strength)
    draws = {target: copies for target, (copies, _) in evaluator.copies(plan).items()}
    own_gradient = [(method, None, 1) for method in (*options.peers.split(","), *(RANDOMIZED * detector.randomized))]
    surrogate = [(m, SURROGATES[name], 1) for m, _, _ in own_gradient if name in SURROGATES and "Square" not in m]
    restarted = [(m, o, STARTS) for m, o, _ in (*own_gradient, *surrogate) if "APGD" in m]
    suite = None
    for method, objective, starts in (("suite", None, 1), *own_gradient, *surrogate, *restarted):
        steps = plan.strength.steps if method == "suite" else steps_of(detector, method, plan, draws) // starts
        spend = (
            {}
            if method == "suite"
            else {"queries": steps}
            if "Square" in method
            else {"steps": steps, "restarts": starts}
        )
        own = replace(plan, method=method, objective=objective, strength=replace(plan.strength, **spend))
        found = evaluator.run("both", own, check=False)
        reached = area(found)
        suite = suite or reached
        spent = found.populations[bench.id_test.name, "min"].passes
        gap, error, _ = paired_gap(reached, suite)
        label = method if objective is None else f"{method} on {objective}"
        label += f", {starts} starts" if starts > 1 else ""
        passes = f"{spent[0]:.0f} + {spent[1]:.0f}"
        yield [label, str(steps), passes, f"{reached.value:.4f}", f"{gap:.4f}", f"{2 * error:.4f}"]


if __name__ == "__main__":
    main()
