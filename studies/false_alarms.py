"""Which indicators speak on detectors without a known mistake: every failed or undecided one, over networks and seeds.

usage: python -m studies.false_alarms [--networks digits-cnn,digits-cnn-at] [--seeds 3] [--minutes 45]

On the digits against unseen digits, at the default strength and with all checks, whatever they cost. Detectors of which
a look at the score takes one pass of the network come first, and none begins after `--minutes`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence

import roodbench
from detectors import DETECTORS, Detector
from roodbench import RunConfig
from studies.frontier import EPS
from studies.setting import plain_parser, print_table, setting_of

COLUMNS = ("network", "eps", "detector", "seed", "images", "both", "failed", "inconclusive", "seconds")
ELSEWHERE = ("approximate-mass", "rankfeat", "g-odin")
"""The first fails `finite-difference`, and should (docs/attacks.md); the others need another network."""


def dearness(detector: Detector) -> int:
    """Passes that a look at every objective takes."""
    return sum(sum(detector.passes(objective, 8)) for objective in detector.objectives)


def rows_of(options: argparse.Namespace) -> Iterator[list[str]]:
    """The cells of the table, one row per evaluation."""
    end = time.monotonic() + 60 * options.minutes
    chosen = [name for name in options.detectors.split(",") if name not in ELSEWHERE]
    jobs = [(seed, network) for seed in range(options.seeds) for network in options.networks.split(",")]
    for dear in (False, True):
        for seed, network in jobs:
            config = RunConfig(model=network, ood=("unseen-digits",), limit=options.images, seed=seed)
            with setting_of(config) as setting:
                looks = {name: dearness(setting.detector(name)) for name in chosen}
                for name in sorted(chosen, key=looks.__getitem__):
                    one = setting.detector(name)
                    if dear is (one.passes("exact", 8) == (1, 1)) or time.monotonic() > end:
                        continue
                    begun = time.monotonic()
                    detector, _ = setting.fitted(name)
                    eps = EPS[network]
                    found = roodbench.evaluate(detector, setting.bench, eps=eps / 255, thorough=True, seed=seed)
                    failed = [f"{i.name} {i.number:.3g}" for i in found.indicators if i.passed is False]
                    undecided = [f"{i.name} {i.number:.3g}" for i in found.indicators if i.passed is None]
                    both = next(row.auroc for row in found.rows if row.condition == "both")
                    numbers = [str(seed), str(len(setting.bench.id_test)), f"{100 * both:.1f}"]
                    said = [", ".join(failed) or "-", ", ".join(undecided) or "-", f"{time.monotonic() - begun:.0f}"]
                    yield [network, f"{eps}/255", detector.label, *numbers, *said]


def main(argv: Sequence[str] | None = None) -> None:
    """Print a Markdown table, one line per evaluation."""
    parser = plain_parser(__doc__)
    parser.add_argument("--networks", default=",".join(EPS))
    parser.add_argument("--detectors", default=",".join(DETECTORS))
    parser.add_argument("--images", type=int, default=32, help="a population; default 32")
    parser.add_argument("--seeds", type=int, default=3, help="from 0 on; default 3")
    parser.add_argument("--minutes", type=float, default=45, help="after which none begins; default 45")
    print_table(COLUMNS, rows_of(parser.parse_args(argv)))


if __name__ == "__main__":
    main()
