"""How far a line of the table can be trusted, in a word and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..evaluation.checks import CHECKS
from ..evaluation.indicators import Indicator
from ..record.row import Row, label_of
from ..record.table import CHECKED, check_cells
from .parts import Block, Cell, Column, Section, Table

ORDER = ("unreliable", "not judged", "inconclusive", "reliable")
TONES = {"unreliable": "bad", "not judged": "open", "inconclusive": "doubtful", "reliable": "good"}
VERDICTS = {"FAILED": "bad", "inconclusive": "doubtful", "passed": "good"}


def by_detector(indicators: Iterable[Indicator]) -> dict[str, list[Indicator]]:
    """The checks of each detector by its label; those of data and network under the empty one."""
    found: dict[str, list[Indicator]] = {"": []}
    for indicator in indicators:
        found.setdefault(indicator.detector, []).append(indicator)
    return found


def trust(line: Mapping[str, Row], indicators: Mapping[str, Sequence[Indicator]]) -> Cell:
    """reliable, unreliable, inconclusive or not judged, and by which checks."""
    rows = list(line.values())
    label, radii = label_of(rows[0]), {row.eps for row in rows}
    own = [i for i in (*indicators[""], *indicators.get(label, ())) if i.eps is None or i.eps in radii]
    if any(row.reliable is False for row in rows):
        word, names = "unreliable", [i.name for i in own if any(marks(i, row) for row in rows)]
    elif any(row.reliable is None for row in rows):
        word, names = "not judged", ["its checks did not run"]
    else:
        names = [i.name for i in own if i.passed is None and i.detector == label]
        word = "inconclusive" if names else "reliable"
    return Cell(word, TONES[word], ", ".join(dict.fromkeys(names)), value=ORDER.index(word))


def marks(indicator: Indicator, row: Row) -> bool:
    """Whether a failed check makes a row unreliable; an average is where any of its sets is."""
    return indicator.marks(row.condition, indicator.concerns if row.ood == "average" else [row.ood])


def checks(indicators: Sequence[Indicator]) -> Section:
    """Every check: its number, threshold and verdict, below the sentence that says when it fails."""
    about = (
        "What was checked of data, network, detectors and attacks. A failed check marks its rows *: under attack their "
        "AUROC is an upper bound only."
    )
    if not indicators:
        return Section("checks", "Checks", "This record has no checks.")
    names = dict.fromkeys(i.name for i in sorted(indicators, key=worst_first))
    blocks = [
        Block(
            [cells_of(i) for i in sorted(indicators, key=worst_first) if i.name == name],
            name,
            f"Fails when {CHECKS[name].fails_when}.".replace("`", "") if name in CHECKS else "",
        )
        for name in names
    ]
    words, choices = ("checked", "verdict"), ("checked", "eps", "verdict")
    shown = [Column(n, "text" if n in words else "number", n in choices) for n in CHECKED if n != "check"]
    counts = {word: sum(i.verdict == word for i in indicators) for word in ("FAILED", "inconclusive", "passed")}
    caption = "Checks: " + ", ".join(f"{number} {word.lower()}" for word, number in counts.items())
    table = Table("checks", caption, [*shown, Column("in words", "words")], blocks)
    return Section("checks", "Checks in words", about, [table])


def cells_of(indicator: Indicator) -> list[Cell]:
    """A check's cells, as the table of `roodbench check` prints them, and its sentence."""
    checked, eps, _, number, threshold, verdict = check_cells(indicator)
    said = indicator.message or ("noise is wider than the limit" if indicator.passed is None else "")
    radius = Cell(eps, value=-1.0 if indicator.eps is None else indicator.eps)
    return [Cell(checked), radius, Cell(number), Cell(threshold), Cell(verdict, VERDICTS[verdict]), Cell(said)]


def worst_first(indicator: Indicator) -> int:
    """FAILED, inconclusive, passed."""
    return list(VERDICTS).index(indicator.verdict)
