"""How much the published transfer attack misses, over seeds: at equal steps and restarts, and at equal passes.

usage: python -m studies.adaptive_gap [--data-root DATA --checkpoint cifar10_resnet20.safetensors]

Without data, on digits. For equal passes transfer gets the restarts that cost what the suite spent on these images,
a backward pass counted as two forwards.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from attacks import STRENGTHS
from roodbench import Result, RunConfig, run
from roodbench.metrics import Components, paired_gap
from studies.setting import area, parser_of, print_table, run_config

COLUMNS = (
    "seed",
    "clean",
    "transfer",
    "transfer, equal passes",
    "its restarts",
    "suite",
    "gap",
    "lower end",
    "gap, equal passes",
    "lower end",
)


def attacked(config: RunConfig, out: Path | None) -> tuple[Result, Components, float]:
    """The record, DeLong's components of ID under min against OOD under max, and the passes per image."""
    result, _ = run(config, out=out, check=False)
    (both,) = (row for row in result.rows if row.condition == "both")
    passes = [forward + 2 * backward for forward, backward in (both.passes["id"], both.passes["ood"])]
    return result, area(result, both), sum(passes) / 2


def restarts_for(spent: float, each: float, steps: int) -> int:
    """The restarts of a transfer attack, of which one costs `each` with so many steps, that cost what was spent."""
    look = each / (steps + 2)  # a run looks at the clean images, too, and once more after its last step
    return max(1, round((spent / look - 1) / (steps + 1)))


def rows_of(options: argparse.Namespace) -> Iterator[list[str]]:
    """The cells of the table, one row per seed."""
    eps = options.eps or (16 if options.data_root is None else 1)
    for seed in range(options.seeds):
        config = run_config(options, detector=(options.detector,), base=options.base, eps=(eps / 255,), seed=seed)
        result, suite, spent = attacked(config, options.out)
        _, transfer, each = attacked(replace(config, method="transfer"), options.out)
        restarts = restarts_for(spent, each, STRENGTHS[config.strength].steps)
        _, equal, _ = attacked(replace(config, method="transfer", restarts=restarts), options.out)
        clean = next(row.auroc for row in result.rows if row.condition == "clean")
        cells = [clean, transfer.value, equal.value, restarts, suite.value]
        for other in (transfer, equal):
            gap, _, low = paired_gap(other, suite)
            cells += [gap, low]
        yield [str(seed), *(str(cell) if isinstance(cell, int) else f"{cell:.3f}" for cell in cells)]


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
