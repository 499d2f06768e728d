"""Certified, attacked and clean AUROC as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..record.text import as_radius, at_least, at_most, framed
from .config import CertifyConfig
from .row import CertifiedRow

CONDITIONS = ("min", "max", "both")
Line = dict[str, CertifiedRow]


def by_line(rows: Iterable[CertifiedRow]) -> list[Line]:
    """Rows that differ in their condition alone."""
    lines: dict[tuple[str, str, str, float, float], Line] = {}
    for row in rows:
        lines.setdefault((row.detector, row.base, row.ood, row.sigma, row.radius), {})[row.condition] = row
    return list(lines.values())


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def certified_table(rows: Sequence[CertifiedRow], operating: Sequence[Mapping[str, Any]], config: CertifyConfig) -> str:
    """One line per detector, radius and OOD set; certified <= attacked in each condition. Below it TPR and FPR at the
    threshold, one line per detector and radius, where a record has them."""
    columns, lines = cells_of(rows)
    auroc = framed(columns, lines, before=[heading(rows[0])], after=notes_of(rows), left=(0, 2))
    if not operating:
        return auroc
    radii = {row.radius_l2: row.radius for row in rows}
    columns, lines = operating_cells(operating, radii, rows[0].norm)
    before, after = [operating_heading(config, rows)], reaches(operating, rows, config)
    return "\n".join([auroc, framed(columns, lines, before=before, after=after, left=(0, 4, 5))])


def operating_cells(
    operating: Iterable[Mapping[str, Any]], radii: Mapping[float, float], norm: str
) -> tuple[list[str], list[list[str]]]:
    """The operating points' column names and lines; in brackets of new images."""
    columns = [
        "detector",
        "threshold",
        f"radius ({norm})",
        "TPR at least (new)",
        "worst class (new)",
        "FPR at most (new), worst OOD set",
        "fresh copies, new: TPR, FPR",
    ]
    lines = []
    for entry in operating:
        for point in entry["points"]:
            worst = max(point["fpr"], key=lambda name: (point["fpr"][name], point["fpr_new"][name]))
            new = max(point["fpr_new"].values())
            few = at_least(point["tpr_worst"]), at_least(point["tpr_worst_new"])
            lines.append(
                [
                    f"{entry['detector']}({entry['base']})",
                    f"{entry['threshold']:.4g}",
                    as_radius(radii.get(point["radius_l2"], 0.0), norm),
                    f"{at_least(point['tpr'])} ({at_least(point['tpr_new'])})",
                    f"class {point['worst_class']}: {few[0]} ({few[1]})",
                    f"{worst}: {at_most(point['fpr'][worst])} ({at_most(new)})",
                    f"{at_least(point['tpr_copies'])}, {at_most(max(point['fpr_copies'].values()))}",
                ]
            )
    return columns, lines


def operating_heading(config: CertifyConfig, rows: Sequence[CertifiedRow]) -> str:
    """What the operating points are of, and how sure they are."""
    how = (
        "a threshold that was given"
        if config.tpr is None
        else f"the highest threshold that {100 * config.tpr:g}% of ID validation images reach"
    )
    return (
        f"TPR and FPR %, ID where the score reaches {how}; no adversary moves it. ID is moved down, OOD up, each by "
        "the worst shift within the radius; new: of images of which these are a random sample.\n"
        f"All numbers of this table and those 'all at once' above hold together with probability {1 - config.alpha:g}; "
        f"each other certified number with {1 - config.alpha:g}, all of these together with "
        f"{max(0.0, 1 - config.alpha * events(rows)):.4g}."
    )


def events(rows: Sequence[CertifiedRow]) -> int:
    """On how many events, of probability 1 - alpha each, all printed numbers hold that hold alone: for each detector,
    at each radius and 0, the bounds of the population and of fresh copies, and the band of the deployed detector.

    Derived in docs/theorems.md, T30.
    """
    return 2 * len({row.detector for row in rows}) * (len({row.radius for row in rows}) + 1) + 1


def reaches(operating: Iterable[Mapping[str, Any]], rows: Sequence[CertifiedRow], config: CertifyConfig) -> list[str]:
    """Up to which radius each detector keeps its TPR."""
    norm, scale, lines = rows[0].norm, rows[0].radius_l2 / rows[0].radius, []
    for entry in operating:
        own, new = (entry[name] for name in ("largest_radius", "largest_radius_new"))
        said = [
            "at no radius, not even 0" if r is None else f"up to {norm} radius {math.floor(1e4 * r / scale) / 1e4:g}"
            for r in (own, new)
        ]
        label = f"{entry['detector']}({entry['base']})"
        lines.append(f"{label}: a TPR of at least {100 * config.least_tpr:g}% {said[0]}; of new images {said[1]}")
    return lines


def cells_of(rows: Sequence[CertifiedRow]) -> tuple[list[str], list[list[str]]]:
    """The table's column names and lines."""
    first = rows[0]
    columns = [
        "detector",
        f"radius ({first.norm})",
        "OOD set",
        "clean",
        *(f"{c}: certified <= attacked" for c in CONDITIONS),
    ]
    columns += [
        f"certified both, {first.samples} fresh copies",
        "all at once (new images)",
        "bounds that say something (ID, OOD)",
        f"{first.copies} draws: certified <= attacked <= clean",
    ]
    lines = []
    for line in by_line(rows):
        both = line["both"]
        d = both.deployed
        lines.append(
            [
                f"{both.detector}({both.base})",
                as_radius(both.radius, both.norm),
                f"{both.ood} ({both.group})",
                percent(both.auroc_clean),
                *(f"{at_least(line[c].gauroc)} <= {percent(line[c].auroc_attacked)}" for c in CONDITIONS),
                at_least(both.gauroc_predicted),
                f"{at_least(both.gauroc_joint)} ({at_least(both.gauroc_new)})",
                f"{percent(both.says_id)}, {percent(both.says_ood)}",
                " <= ".join([at_least(d["certified"]), percent(d["attacked"]), percent(d["clean"])]),
            ]
        )
    return columns, lines


def notes_of(rows: Iterable[CertifiedRow]) -> list[str]:
    """Why bounds say nothing, each reason once a detector."""
    return list(dict.fromkeys(f"{r.detector}({r.base}): {reason}" for r in rows for reason in r.reasons))


def heading(row: CertifiedRow) -> str:
    ball = (
        "l2 adversary"
        if row.norm == "l2"
        else f"linf adversary (through its l2 ball, {row.radius_l2 / row.radius:.3g} times)"
    )
    attacked = "nothing attacked" if row.auroc_attacked is None else "attacked: by the suite in that l2 ball"
    return (
        f"{row.benchmark}, {row.model}, {row.n_id} ID images; noise sigma {row.sigma:g}, {row.samples} samples each, "
        f"alpha {row.alpha:g} for each number\n"
        "AUROC % of the detector in its population form (of infinitely many copies, estimated from the samples): "
        f"clean; certified: no {ball} within the radius gets below; {attacked}. "
        "min: ID is moved, max: OOD, both: both. Fresh copies have noise of their own, so theirs is a little lower. "
        "What is certified is rounded to the side that claims less."
    )
