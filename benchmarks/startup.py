"""What starting the command line costs, as ratios to `import torch`: medians of fresh processes, taken in turns.

usage: python -m benchmarks.startup [--repeats 5] [--strict]        (--strict: exit 1 where a ratio misses its target)

The kept rerun of the main job goes on from a first run, which is not counted, in a cache of its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

from benchmarks.ratios import verdict


class Case(NamedTuple):
    """A command, the exit code that it must give, and how many times `import torch` it may take."""

    arguments: tuple[str, ...]
    code: int = 0
    target: float | None = None


TORCH = "import torch"
MAIN_JOB = ("-m", "roodbench", "--detector", "ross", "--attack", "both", "--quiet")
CASES = {
    TORCH: Case(("-c", TORCH)),
    "--version": Case(("-m", "roodbench", "--version"), target=0.15),
    "--help": Case(("-m", "roodbench", "--help"), target=0.15),
    "run --help": Case(("-m", "roodbench", "run", "--help"), target=0.15),
    "list": Case(("-m", "roodbench", "list"), target=1.1),
    "usage error": Case(("-m", "roodbench", "--detector", "rosss"), code=2, target=1.1),
    "kept rerun": Case(MAIN_JOB, target=1.5),
}
COLUMNS = "| command | median (s) | times `import torch` | target |\n|---|---|---|---|"


def seconds(case: Case, environment: Mapping[str, str]) -> float:
    """Wall-clock seconds of a fresh process; RuntimeError where it gives another exit code than it must."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *case.arguments], env=environment, capture_output=True, text=True)
    taken = time.perf_counter() - start
    if done.returncode != case.code:
        said = (done.stderr.strip().splitlines() or [""])[-1]
        raise RuntimeError(f"{' '.join(case.arguments)}: exit code {done.returncode}, expected {case.code}: {said}")
    return taken


def measure(cases: Mapping[str, Case], repeats: int) -> dict[str, list[float]]:
    """Seconds of every case, in turns, so that what else runs on the machine is shared by all."""
    found: dict[str, list[float]] = {name: [] for name in cases}
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "XDG_CACHE_HOME": cache}
        for case in cases.values():  # compiles Python files, reads libraries from disk, does the main job once
            seconds(case, environment)
        for _ in range(repeats):
            for name, case in cases.items():
                found[name].append(seconds(case, environment))
    return found


def compared(cases: Mapping[str, Case], found: Mapping[str, Sequence[float]]) -> tuple[list[str], list[str]]:
    """The lines of the table, and the cases that miss their target."""
    medians = {name: median(times) for name, times in found.items()}
    said = {name: verdict(medians[name] / medians[TORCH], case.target) for name, case in cases.items()}
    lines = [
        f"| {name} | {medians[name]:.2f} | {medians[name] / medians[TORCH]:.2f} | {said[name]} |" for name in cases
    ]
    return lines, [name for name in cases if said[name].endswith("NOT met")]


def main(argv: Sequence[str] | None = None) -> int:
    """Print a Markdown table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="fresh processes of every command; default 5")
    parser.add_argument("--strict", action="store_true", help="exit 1 where a ratio misses its target")
    options = parser.parse_args(argv)
    if options.repeats < 1:
        parser.error(f"repeats {options.repeats}: expected at least 1")
    lines, missed = compared(CASES, measure(CASES, options.repeats))
    print("\n".join([COLUMNS, *lines]))
    return 1 if missed and options.strict else 0


if __name__ == "__main__":
    raise SystemExit(main())
