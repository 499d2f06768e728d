"""The table a run prints."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from ..evaluation.indicators import Indicator
from ..setup.protocols import faults_of
from ..words import counted
from .notes import failures_of, notes_of, undecided_of
from .record import Record
from .row import CORRUPTED, Row, ShiftedSet, label_of
from .text import as_fraction, framed

ORDER = ("clean", "min", "max", "both", *CORRUPTED)
CHECKED = ("checked", "eps", "check", "number", "threshold", "verdict")
LABELS = 3
"""How many columns, from the left, are text."""


def table(result: Record) -> str:
    """The whole result as text: a heading, one line per detector, radius and OOD set, and what to beware of."""
    columns, lines = cells_of(result)
    return framed(columns, lines, before=[heading(result)], after=footnotes(result), left=range(LABELS))


def checks_table(indicators: Sequence[Indicator]) -> str:
    """The verdicts of the checks as text, one a line."""
    lines = [check_cells(i) for i in indicators]
    return framed(CHECKED, lines, after=[*failures_of(indicators), *undecided_of(indicators)])


def check_cells(indicator: Indicator) -> tuple[str, ...]:
    """An indicator's cells, under the names in `CHECKED`."""
    i = indicator
    return i.detector or i.about, as_fraction(i.eps), i.name, f"{i.number:.3g}", limit_of(i), i.verdict


def limit_of(indicator: Indicator) -> str:
    """`<= 0.005`, `<= 0.005 + 0.01` with a margin, or `>= 2` for an indicator that must reach its threshold."""
    margin = indicator.detail.get("margin", 0.0)
    granted = f" + {margin:.2g}" if margin else ""
    return f"{'>=' if indicator.least else '<='} {indicator.threshold:g}{granted}"


def markdown(result: Record) -> str:
    """The same as a Markdown table."""
    columns, lines = cells_of(result)
    rule = ["---"] * LABELS + ["---:"] * (len(columns) - LABELS)
    rows = [f"| {' | '.join(cells)} |" for cells in (columns, rule, *lines)]
    notes = [f"- {note}" for note in footnotes(result)]
    return "\n".join([heading(result).replace("\n", ". ") + ".", "", *rows, *([""] if notes else []), *notes])


def heading(result: Record) -> str:
    rows, row = result.rows, result.rows[0]
    text = f"{row.benchmark}, {networks(rows)}, {counted(row.n_id, 'ID image')}"
    attacked = next((r for r in rows if r.condition not in ("clean", *CORRUPTED)), None)
    if any(row.condition in CORRUPTED for row in rows):
        kinds = {(entry.corruption, entry.severity) for entry in result.shifted_id if entry.corruption is not None}
        text += f"; threat: {len({kind for kind, _ in kinds})} corruptions, {len(kinds)} with their severities"
    if attacked is not None:
        text += f"; attack: {attacked.attack}, {attacked.norm}, {attacked.space} space{adversary_of(result.config)}"
        if attacked.space != "pixel" and attacked.eps:
            eps, in_pixels = (as_fraction(e, attacked.norm) for e in (attacked.eps, attacked.eps_pixel))
            text += f" (eps {eps} is {in_pixels} in pixels)"
    text += "\nAUROC % [95% interval], higher is better; FPR95 % of OOD above the threshold of clean ID"
    text += ", corrupted and worst of that ID" if any(row.condition in CORRUPTED for row in rows) else ""
    if any(row.adaptive_gap is not None for row in rows):
        text += "; adaptive gap: AUROC that an attack on the base score alone leaves above the suite's, at equal passes"
    return text


def networks(rows: Sequence[Row]) -> str:
    """The network and its accuracy; where detectors call different ones or none that is known, whose each is."""
    found: dict[str, dict[str, None]] = {}
    for row in (row for row in rows if row.condition not in CORRUPTED):
        accuracy = "" if row.id_accuracy is None else f" (ID accuracy {row.id_accuracy:.1%})"
        found.setdefault(f"{row.model or 'network unknown'}{accuracy}", {})[label_of(row)] = None
    if len(found) == 1:
        return next(iter(found))
    return ", ".join(f"{network} for {' and '.join(labels)}" for network, labels in found.items())


def adversary_of(config: dict[str, Any]) -> str:
    """What of the adversary is not the default, as `, resubmit:3, 8-bit images`; old records name it otherwise."""
    plan = config.get("plan", config)
    threat = plan["threat"] if isinstance(plan.get("threat"), dict) else plan
    noise = threat.get("noise") or plan.get("adversary") or threat.get("threat", "fresh")
    strength = config.get("strength", "quick")
    said = [noise] if noise != "fresh" else []
    said += ["8-bit images"] if threat.get("quantize") or plan.get("quantize") else []
    said += [f"strength {strength}"] if strength != "quick" else []
    said += [f"at most {budget} passes an image"] if (budget := config.get("budget")) else []
    return "".join(f", {words}" for words in said)


def cells_of(result: Record) -> tuple[list[str], list[list[str]]]:
    """The table's column names and lines (`lines_of`)."""
    conditions = conditions_of(result)
    worst = conditions[-1]
    rated = ["clean", *([c for c in conditions if c in CORRUPTED] or ([worst] if worst != "clean" else []))]
    columns = ["detector", "eps", "OOD set", "n", *conditions, *(f"FPR95 {c}".removesuffix(" clean") for c in rated)]
    gaps = any(row.adaptive_gap is not None for row in result.rows)
    columns += ["adaptive gap"] if gaps else []
    lines = []
    for line in lines_of(result):
        row, last = line["clean"], line[worst]
        where = f"mean of {row.group}" if row.ood == "average" else f"{row.ood} ({row.group})"
        cells = [
            label_of(row),
            as_fraction(last.eps, last.norm),
            where,
            str(row.n_ood),
        ]
        cells += [cell(line[c]) for c in conditions]
        cells += [f"{100 * (line[c].fpr95_id_refit if c in CORRUPTED else line[c].fpr95_id):.1f}" for c in rated]
        if gaps:
            cells.append("-" if last.adaptive_gap is None else f"{100 * last.adaptive_gap:.1f}")
        lines.append(cells)
    return columns, lines


def conditions_of(result: Record) -> list[str]:
    """The conditions that a record has, the worst last."""
    return [c for c in ORDER if any(row.condition == c for row in result.rows)]


def lines_of(result: Record) -> list[dict[str, Row]]:
    """The rows of each line by condition; an average only where it is over several OOD sets, and each once."""
    sets = list(dict.fromkeys((row.ood, row.group) for row in result.rows))
    members = {group: sum(group in ("all", its) for _, its in sets) for group in ("near", "far", "all")}
    shown = [g for g, n in members.items() if n > 1 and (g == "all" or n < len(sets))]
    return list(by_line([*result.rows, *(row for row in result.averages if row.group in shown)]))


def footnotes(result: Record) -> list[str]:
    lines = [
        f"{'* ' if entry.reliable is False else ''}shifted ID {entry.name}, {entry.detector}: "
        f"ID accuracy {entry.id_accuracy:.1%}, {flagged(entry)}"
        for entry in result.shifted_id
        if entry.corruption is None
    ]
    lines += corrupted_lines(result.shifted_id)
    row = next((row for row in result.rows if row.eps is not None), None)
    if row is not None:
        rounded = any(row.params.get("published") for row in result.rows)
        lines += faults_of(result.config.get("protocol", ""), row.eps, row.eps_pixel, rounded=rounded)
    failed = [f"* unreliable: {line}" for line in failures_of(result.indicators)]
    rows = [*result.rows, *(row for row in result.averages if row.group == "all")]
    return [*lines, *failed, *undecided_of(result.indicators), *notes_of(rows, result.indicators)]


def corrupted_lines(entries: Iterable[ShiftedSet]) -> list[str]:
    """One line a detector: AUROC by severity, and the corruption and severity with the least of it: in the mean over
    OOD sets and, where it is another one, of a set alone.
    """
    found: dict[str, list[ShiftedSet]] = {}

    def mean(areas: Iterable[float]) -> float:
        values = list(areas)
        return sum(values) / len(values)

    for entry in entries:
        if entry.auroc is not None:
            found.setdefault(entry.detector, []).append(entry)
    lines = []
    for detector, its in found.items():
        area = {entry.name: mean((entry.auroc or {}).values()) for entry in its}
        worst = min(its, key=lambda entry: area[entry.name])
        least = {ood: min(its, key=lambda entry: (entry.auroc or {})[ood]) for ood in worst.auroc or {}}
        others = ", ".join(f"{ood} {entry.name}" for ood, entry in least.items() if entry is not worst)
        severities = sorted({entry.severity or 0 for entry in its})
        by_severity = [f"{s}: {100 * mean(area[e.name] for e in its if e.severity == s):.1f}" for s in severities]
        accuracy = "" if worst.id_accuracy is None else f", ID accuracy {worst.id_accuracy:.1%}"
        lines.append(
            f"{detector}: AUROC % by severity, mean over corruptions and OOD sets: {', '.join(by_severity)}; worst "
            f"{worst.name}: {100 * area[worst.name]:.1f}{accuracy}, {flagged(worst)}"
            f"{'; alone, ' if others else ''}{others}"
        )
    return lines


def flagged(entry: ShiftedSet) -> str:
    return f"{entry.flagged:.1%} of {entry.n} images flagged as OOD, below the threshold that 95% of clean ID reach"


def cell(row: Row) -> str:
    low, high = (100 * end for end in row.auroc_ci)
    return f"{100 * row.auroc:.1f} [{low:.1f}, {high:.1f}]{'*' if row.reliable is False else ''}"


def by_line(rows: Iterable[Row]) -> Iterable[dict[str, Row]]:
    """Rows that differ in their condition alone, by condition; the clean row stands in the line of every radius."""
    detectors: dict[Any, dict[Any, dict[str, Row]]] = {}
    clean: dict[Any, Row] = {}
    for row in rows:
        detector = (row.detector, row.base, json.dumps(row.params))
        if row.condition == "clean":
            clean[detector, row.ood, row.group] = row
        lines = detectors.setdefault(detector, {})
        lines.setdefault((row.eps, row.ood, row.group), {})[row.condition] = row
    for detector, lines in detectors.items():
        attacked = [line for (eps, _, _), line in lines.items() if eps is not None]
        for line in attacked or lines.values():
            first = next(iter(line.values()))
            yield {"clean": clean[detector, first.ood, first.group], **line}
