"""The suite against other libraries' attacks of as many passes: AUROC with both populations attacked, paired.

usage: python -m benchmarks.peers_auroc [--data-root DATA --checkpoint WEIGHTS] [--images 32] [--detectors gen,ross]

Every peer sees the full detector (its own gradient, 8 noisy copies for a randomised one; of MSP also the gradient of
the log-odds) as two logits, and gets the steps or queries that cost as many passes (a backward counted as two forwards)
as the suite may spend. The image that the detector misjudges more, clean or attacked, counts for a peer too. Finished
cells are kept under --out.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import attacks
import detectors
import roodbench
from detectors import WRAPPERS
from roodbench.attacker import AttackPlan
from roodbench.config import plan_of
from roodbench.evaluate import Evaluator
from roodbench.evaluated import Evaluated
from roodbench.metrics import components, paired_gap
from roodbench.run import identity

DETECTORS = ("msp", "gen", "ebo", "vim", "knn", "pro", "ross")
PEERS = ("foolbox:LinfPGD", "torchattacks:PGD", "torchattacks:APGD", "torchattacks:Square", "autoattack:APGD")
RANDOMIZED = ("torchattacks:EOTPGD",)
SURROGATES = {"msp": "log-odds"}
"""Where the exact score saturates in float32, the peers also get a surrogate whose gradient does not vanish."""
EPS = {"digits": 16 / 255, "cifar10": 0.5 / 255}
"""Where AUROC is far from 0: a weaker attack shows there."""


def steps_of(detector: detectors.Detector, peer: str, plan: AttackPlan) -> int:
    """Steps or queries of a peer that cost as much as the plan's suite."""
    forward, backward = attacks.cost(detector, "suite", None, plan.strength)
    copies = plan.strength.draws if detector.randomized else None
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
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--detectors", default=",".join(DETECTORS))
    parser.add_argument("--out", type=Path, default=Path("roodbench-runs"))
    options = parser.parse_args()
    digits = roodbench.load_benchmark("digits", limit=options.images).only(["unseen-digits"])
    benches = [(digits, roodbench.load_model("digits-cnn"))]
    if options.data_root is not None:
        bench = roodbench.load_benchmark("cifar10", root=options.data_root, ood=["texture"], limit=options.images)
        net = roodbench.load_model("cifar-resnet20", checkpoint=options.checkpoint)
        benches.append((bench, roodbench.prepare(net, bench.id_val.shard(0, 64), compile="on")))
    store = roodbench.Store(options.out)
    columns = "benchmark | detector | attack | steps | passes per image | AUROC both | suite lower by | two std errors"
    print(f"| {columns} |")
    print("|---|---|---|---|---|---|---|---|")
    for bench, net in benches:
        for name in options.detectors.split(","):
            params = {"base": "gen"} if name in WRAPPERS else {}
            params |= {"sigma": bench.sigma} if name == "ross" else {}
            detector = detectors.create(name, net, **params).fit(bench.id_train, bench.id_val)
            evaluator = Evaluator(detector, bench, store=store, key=identity(detector))
            plan = plan_of(bench, eps=EPS[bench.name] * (2 if name == "ross" and bench.name == "cifar10" else 1))
            suite = None
            rivals = [(method, None) for method in (*PEERS, *(RANDOMIZED if detector.randomized else ()))]
            rivals += [(method, SURROGATES[name]) for method in PEERS if name in SURROGATES and "Square" not in method]
            for method, objective in (("suite", None), *rivals):
                steps = plan.strength.steps if method == "suite" else steps_of(detector, method, plan)
                spend = {"queries": steps} if "Square" in method else {"steps": steps}
                strength = replace(plan.strength, **spend)
                own = replace(plan, method=method, objective=objective, strength=strength)
                found = evaluator.run("both", own, check=False)
                reached = area(found)
                suite = suite or reached
                spent = found.populations[bench.id_test.name, "min"].passes
                gap, error, _ = paired_gap(reached, suite)
                passes = f"{spent[0]:.0f} + {spent[1]:.0f}"
                numbers = f"{reached.value:.4f} | {gap:.4f} | {2 * error:.4f}"
                label = method if objective is None else f"{method} on {objective}"
                print(f"| {bench.name} | {name} | {label} | {steps} | {passes} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
