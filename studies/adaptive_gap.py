"""How much the published transfer attack misses, over seeds: at equal steps and restarts, and at equal passes.

usage: python -m studies.adaptive_gap [--data-root DATA --checkpoint cifar10_resnet20.safetensors]

Without data, on digits. The numbers are those of the runs' records; gaps are in points, with paired 95% intervals.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from roodbench import run
from studies.setting import parser_of, print_table, run_config

COLUMNS = (
    "seed",
    "clean",
    "transfer",
    "transfer, equal passes",
    "suite",
    "gap",
    "gap, equal passes",
    "passes, suite",
    "passes, transfer",
)


def points(gap: float | None, ci: Sequence[float] | None) -> str:
    """`0.2 [0.1, 0.3]`; `-` where there is none."""
    return "-" if gap is None or ci is None else f"{100 * gap:.1f} [{100 * ci[0]:.1f}, {100 * ci[1]:.1f}]"


def mean_passes(passes: Mapping[str, Sequence[float]] | None) -> str:
    """`943 + 492` forward and backward, the mean of ID and OOD; `-` where there are none."""
    if passes is None:
        return "-"
    return " + ".join(f"{sum(kind) / 2:.0f}" for kind in zip(passes["id"], passes["ood"], strict=True))


def rows_of(options: argparse.Namespace) -> Iterator[list[str]]:
    """The cells of the table, one row per seed."""
    eps = options.eps or (16 if options.data_root is None else 1)
    for seed in range(options.seeds):
        config = run_config(options, detector=(options.detector,), base=options.base, eps=(eps / 255,), seed=seed)
        result, _ = run(config, out=options.out)
        clean, both = (next(r for r in result.rows if r.condition == condition) for condition in ("clean", "both"))
        areas = (clean.auroc, both.auroc_transfer, both.auroc_equal, both.auroc)
        yield [
            str(seed),
            *("-" if area is None else f"{area:.3f}" for area in areas),
            points(both.adaptive_gap_steps, both.adaptive_gap_steps_ci),
            points(both.adaptive_gap, both.adaptive_gap_ci),
            mean_passes(both.passes),
            mean_passes(both.passes_equal),
        ]


def main(argv: Sequence[str] | None = None) -> None:
    """Print a Markdown table, one line per seed."""
    parser = parser_of(__doc__, images=64, seeds=3)
    parser.add_argument("--detector", default="ross")
    parser.add_argument("--base", default="gen")
    parser.add_argument("--eps", type=float, help="in 255ths; default 16, on CIFAR-10 1")
    parser.add_argument("--out", type=Path, help="where the runs are kept; default the user's cache")
    print_table(COLUMNS, rows_of(parser.parse_args(argv)))


if __name__ == "__main__":
    main()
