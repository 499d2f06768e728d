"""How often the host waits for the GPU in each attack of one shard.

usage: python -m benchmarks.waits [--images 16] [--queries 500]
(without a GPU, on a pretend one: python -m tests.pretend benchmarks.waits)
"""

from __future__ import annotations

import argparse
import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

import detectors
import roodbench
from attacks import AttackPlan, Component, Strength, ThreatModel, component
from benchmarks.loops import TINY
from detectors import WRAPPERS
from roodbench.engine.worker import Worker
from roodbench.evaluation.attacker import Attacker

DETECTORS = ("ebo", "pro", "ross")
COMPONENTS = ("pgd:exact", "targeted:exact", "apgd:exact", "refine", "square", "noise")


@contextmanager
def counted() -> Iterator[Callable[[], int]]:
    """A function that says how many waits there were since it was last asked."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")

        def since() -> int:
            found = sum("synchronizing" in str(warning.message) for warning in caught)
            caught.clear()
            return found

        try:
            yield since
        finally:
            torch.cuda.set_sync_debug_mode("default")


def main(argv: Sequence[str] | None = None) -> None:
    """Print a Markdown table: waits of each component, beyond those of a shard that nothing attacks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2 if TINY else 16)
    parser.add_argument("--queries", type=int, default=3 if TINY else 500)
    options = parser.parse_args(argv)
    if not torch.cuda.is_available():
        parser.error("this machine has no CUDA device")
    bench = roodbench.load_benchmark("digits")
    plain = roodbench.load_model("digits-cnn")
    strength = Strength(10, 4, 8, queries=options.queries, compared=2)
    print(f"| detector | no attack | {' | '.join(COMPONENTS)} |\n|---|---|{'---|' * len(COMPONENTS)}")
    with counted() as waits:
        net = copy.deepcopy(plain).to("cuda")
        x = bench.id_test.shard(0, options.images).to("cuda")
        for name in DETECTORS:
            settings = {"base": "gen"} if name in WRAPPERS else {}
            detector = detectors.create(name, net, **settings).fit(bench.id_train, bench.id_val)
            attacker = Attacker(Worker(detector, device="cuda"))

            def of(*attacks: Component, attacker: Attacker = attacker) -> int:
                plan = AttackPlan(ThreatModel(16 / 255), strength=strength)
                waits()
                attacker.find(x, bench.id_test.name, 0, "min", plan, None, {}, attacks)
                return waits()

            none = of()
            found = [of(component(attack)) - none for attack in COMPONENTS]
            print(f"| {detector.label} | {none} | {' | '.join(map(str, found))} |", flush=True)


if __name__ == "__main__":
    main()
