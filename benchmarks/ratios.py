"""The ratios that matter, from a pytest-benchmark record: ours over the floor and over peers, medians of one run.

usage: python -m benchmarks.ratios RECORD.json [--strict]
(--strict: exit 1 where a ratio misses its target, or where nothing can be judged, overall or of a loop that was timed)
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

PGD_PEERS = ("peer[torchattacks_pgd]", "peer[foolbox_pgd]")
EOTPGD = "peer_torchattacks_eotpgd"
RATIOS: list[tuple[str, str, str, dict[str, float | None]]] = [
    ("PGD step", "step", "ours[msp-float32]", {"floor[float32]": 1.10, **dict.fromkeys(PGD_PEERS, 0.65)}),
    ("PGD step, bfloat16", "step", "ours[msp-bfloat16]", {"floor[bfloat16]": 1.10, **dict.fromkeys(PGD_PEERS, 0.30)}),
    ("ROSS score, N = 25", "score", "ours[ross]", {"floor_ross": 1.05, "eager_ross": 0.65}),
    ("PRO score, K = 3", "score", "ours[pro]", {"floor_pro": 1.10, "eager_pro": 0.65}),
    ("PRO score and gradient, bfloat16", "score", "ours_pro_bfloat16", {"eager_pro": 0.35}),
    (
        "PGD loop",
        "attack",
        "ours[msp-float32]",
        dict.fromkeys(("floor[msp-10-float32]", *PGD_PEERS, "peer[pyautoattack_apgd]")),
    ),
    ("PGD loop on PRO", "attack", "ours[pro-float32]", {"floor[pro-40-float32]": None}),
    ("EOT-PGD on ROSS", "attack", "ours[ross-float32]", {"floor[ross-80-float32]": 1.10, EOTPGD: 0.35}),
    ("EOT-PGD on ROSS, bfloat16", "attack", "ours[ross-bfloat16]", {"floor[ross-80-bfloat16]": 1.10, EOTPGD: 0.35}),
    ("Certification, MSP, N = 32", "certify", "ours[msp]", {"floor": 1.10}),
    ("Certification, GEN, N = 32", "certify", "ours[gen]", {"floor": 1.10}),
]
"""What, group, ours, and every other with the ratio aimed at."""
COLUMNS = "| what | ours (ms) | other | other (ms) | ratio | target |\n|---|---|---|---|---|---|"


def verdict(ratio: float, target: float | None) -> str:
    """`1.10 met`, `1.10 NOT met`, or nothing without a target.

    >>> verdict(1.1, 1.1), verdict(1.2, 1.1), verdict(1.2, None)
    ('1.10 met', '1.10 NOT met', '')
    """
    return "" if target is None else f"{target:.2f} {'met' if ratio <= target else 'NOT met'}"


class Compared(NamedTuple):
    """Lines of the table; the pairs that miss their target; pairs of which one half is missing; what was not judged."""

    lines: list[str]
    missed: list[str]
    halves: list[str]
    unjudged: list[str]


def compared(record: dict[str, Any]) -> Compared:
    """ours / other of every pair of which the record has both, or one half."""
    medians = {
        b["fullname"].rpartition("/")[2].replace(".py::test_", "::"): 1000 * b["stats"]["median"]
        for b in record["benchmarks"]
    }
    found = Compared([], [], [], [])
    for what, group, ours, others in RATIOS:
        judged, halves = False, []
        for other, target in others.items():
            a, b = (medians.get(f"test_{group}::{name}") for name in (ours, other))
            if a and b:
                said = verdict(a / b, target)
                found.missed.extend([f"{what} / {other}"] if said.endswith("NOT met") else [])
                found.lines.append(f"| {what} | {a:.1f} | {other.replace('_', ' ')} | {b:.1f} | {a / b:.2f} | {said} |")
                judged = judged or bool(said)
            elif a or b:
                halves.append(f"{what} / {other} lacks test_{group}::{other if a else ours}")
        found.halves.extend(halves)
        found.unjudged.extend([what] if halves and not judged and any(others.values()) else [])
    return found


def read(file: Path) -> dict[str, Any]:
    """A record of pytest-benchmark of the timings here; ValueError for another file."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        where = {"network", "batch", "device", "threads", "revision"}
        if not all(where <= timing["extra_info"].keys() for timing in record["benchmarks"]):
            raise KeyError
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            f"{file} is no record of these timings: make one with "
            "python -m pytest benchmarks --benchmark-only --benchmark-json=FILE"
        ) from None
    return record


def main(argv: Sequence[str] | None = None) -> int:
    """Print a Markdown table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", type=Path, metavar="RECORD.json")
    parser.add_argument("--strict", action="store_true", help="exit 1 where a ratio misses its target or has none")
    options = parser.parse_args(argv)
    try:
        record = read(options.record)
    except ValueError as error:
        parser.error(str(error))
    found = compared(record)
    if not found.lines:
        parser.error(f"{options.record} holds none of the pairs: time at least one of ours and its floor or peer")
    info = record["benchmarks"][0]["extra_info"]
    where = f"{info['device']}, {info['threads']} threads, {info['revision']}"
    print(f"{info['network']}, batch {info['batch']}, {where}\n")
    print("\n".join([COLUMNS, *found.lines]))
    for half in found.halves:
        print(f"not compared: {half}", file=sys.stderr)
    if all(line.endswith("|  |") for line in found.lines):
        print("no ratio has a target: nothing was judged", file=sys.stderr)
        found.unjudged.append("everything")
    return 1 if options.strict and (found.missed or found.unjudged) else 0


if __name__ == "__main__":
    raise SystemExit(main())
