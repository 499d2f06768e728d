"""Two records of the same configuration side by side: what another revision or machine changes of AUROC and scores.

usage: python -m studies.compare_records BEFORE AFTER          (run folders, or result.json with the scores beside it)

Differences of AUROC are the largest over OOD sets and radii; those of scores the largest over images, draws and radii,
relative to the larger of the two scores. Exits 1 where clean scores differ by more than 1e-5, 2 where the records
cannot be compared.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from roodbench import Result
from studies.setting import label_of, plain_parser, print_table

MOST = 1e-5
"""Largest relative difference of clean scores that is rounding."""
CONDITIONS = ("clean", "min", "max", "both")


def auroc_differences(before: Result, after: Result) -> dict[tuple[str, str], float]:
    """(detector, condition) -> the largest absolute difference of AUROC over OOD sets and radii."""
    old, new = ({(label_of(r), r.condition, r.ood, r.eps): r.auroc for r in record.rows} for record in (before, after))
    check_same("rows", old, new)
    found: dict[tuple[str, str], float] = {}
    for key, value in old.items():
        found[key[:2]] = max(found.get(key[:2], 0.0), abs(value - new[key]))
    return found


def score_differences(before: Result, after: Result) -> dict[tuple[str, str], float]:
    """(detector, population and condition) -> the largest relative difference of scores over images, draws and radii.

    |a - b| / max(|a|, |b|), so that 2 is the most; 0 where both are equal.
    """
    old, new = (
        {key: scores.double().numpy() for key, scores in record.scores.items() if not key.endswith("/winner")}
        for record in (before, after)
    )
    check_same("scores", old, new)
    found: dict[tuple[str, str], float] = {}
    for key, scores in old.items():
        detector, *_, population, condition = key.split("/")
        place = detector, f"{population} {condition}"
        found[place] = max(found.get(place, 0.0), relative(scores, new[key]))
    return found


def relative(a: np.ndarray, b: np.ndarray) -> float:
    """The largest |a - b| / max(|a|, |b|); ValueError for another number of images or draws.

    >>> relative(np.array([2.0, 0.0]), np.array([1.0, 0.0]))
    0.5
    """
    if a.shape != b.shape:
        raise ValueError(f"scores of shape {a.shape} and {b.shape}: expected as many draws and images in both")
    larger = np.maximum(np.abs(a), np.abs(b))
    return float(np.divide(np.abs(a - b), larger, out=np.zeros_like(a), where=a != b).max())


def check_same(what: str, old: Mapping[Any, Any], new: Mapping[Any, Any]) -> None:
    """ValueError for what one record alone has, or where both have none."""
    if not old:
        raise ValueError(f"no {what} in BEFORE: expected a run folder with result.json and scores.safetensors")
    for name, one, other in (("BEFORE", old, new), ("AFTER", new, old)):
        alone = [key for key in one if key not in other]
        if alone:
            raise ValueError(f"{what} in {name} alone: {alone[0]} and {len(alone) - 1} more")


def check_configuration(before: Result, after: Result) -> None:
    """ValueError for a setting or for images that differ; settings that one record alone knows count for nothing."""
    for what, old, new in (("config", before.config, after.config), ("data", before.data, after.data)):
        for key in old.keys() & new.keys():
            if old[key] != new[key]:
                raise ValueError(f"{what} {key} is {old[key]} in BEFORE and {new[key]} in AFTER: not the same run")


def shown(difference: float | None) -> str:
    """`equal`, a number, or `-` for what is not there."""
    return "-" if difference is None else "equal" if difference == 0 else f"{difference:.1e}"


def print_differences(title: str, found: Mapping[tuple[str, str], float], columns: Sequence[str]) -> None:
    """A Markdown table with one row per detector."""
    print(f"\n{title}\n")
    rows = [[name, *(shown(found.get((name, c))) for c in columns)] for name in dict.fromkeys(n for n, _ in found)]
    print_table(("detector", *columns), rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Print two Markdown tables and what they come to; returns the exit code."""
    parser: argparse.ArgumentParser = plain_parser(__doc__)
    parser.add_argument("before", type=Path, metavar="BEFORE")
    parser.add_argument("after", type=Path, metavar="AFTER")
    options = parser.parse_args(argv)
    try:
        before, after = Result.load(options.before), Result.load(options.after)
        check_configuration(before, after)
        areas, scores = auroc_differences(before, after), score_differences(before, after)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print_differences("Largest absolute difference of AUROC", areas, CONDITIONS)
    places = sorted({place for _, place in scores}, key=lambda place: (not place.endswith(" clean"), place))
    print_differences("Largest relative difference of scores", scores, places)
    worst = max(value for (_, place), value in scores.items() if place.endswith(" clean"))
    everything = [*areas.values(), *scores.values()]
    same = sum(value == 0 for value in everything)
    said = "equal" if same == len(everything) else f"{same} of {len(everything)} differences are 0"
    print(f"\n{said}; clean scores differ by {worst:.1e} at most, {'within' if worst <= MOST else 'beyond'} {MOST:g}")
    return 0 if worst <= MOST else 1


if __name__ == "__main__":
    raise SystemExit(main())
