"""What a second process buys: cold runs with 1, 2, ... workers, in turns, as ratios to one alone.

usage: python -m benchmarks.workers [--workers 1,2] [--repeats 2] [--strict] [-- options of the run]
       (--strict: exit 1 where two are less than 1.6 times as fast at what they share)

What is shared is the time from the beginning of the first part to the end of the last one: loading comes before that.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from roodbench.store.journal import lines_of

MAIN_JOB = ("--detector", "ross", "--attack", "both")
TARGET = 1.6


def timed(workers: int, options: Sequence[str]) -> tuple[float, float]:
    """Seconds of a cold run, and of what is shared in it."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "roodbench", *options, "--workers", str(workers), "--out", out, "--quiet"]
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        taken = time.perf_counter() - start
        (record,) = Path(out).glob("*/result.json")
        made = [line for line in lines_of(record.parent) if "made" in line]
        return taken, max(line["at"] for line in made) - min(line["at"] - line["seconds"] for line in made)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; exit code 1 where --strict and a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("options", nargs="*", default=MAIN_JOB)
    given = parser.parse_args(arguments)
    counts = [int(n) for n in given.workers.split(",")]
    found: dict[int, list[tuple[float, float]]] = {n: [] for n in counts}
    for _ in range(given.repeats):
        for n in counts:
            found[n].append(timed(n, given.options))
    print("| workers | whole run (s) | times as fast | shared (s) | times as fast |\n|---|---|---|---|---|")
    first, missed = [median(pair[k] for pair in found[counts[0]]) for k in (0, 1)], False
    for n in counts:
        whole, shared = (median(pair[k] for pair in found[n]) for k in (0, 1))
        missed |= n == 2 and first[1] / shared < TARGET
        print(f"| {n} | {whole:.1f} | {first[0] / whole:.2f} | {shared:.1f} | {first[1] / shared:.2f} |")
    return int(given.strict and missed)


if __name__ == "__main__":
    sys.exit(main())
