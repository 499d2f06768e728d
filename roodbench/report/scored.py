"""ROC curves and histograms of a record's scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..record.pairs import scores_of_row, sizes_of
from ..record.result import Result
from ..record.row import Row, label_of
from ..record.rows import CONDITIONS
from ..record.table import cell, conditions_of, lines_of
from ..record.text import as_fraction
from .parts import Figures, Section, folded
from .plots import Pair, histograms, roc_curves
from .svg import Drawing

Lines = list[Mapping[str, Row]]
Drawn = list[tuple[str, Drawing]]
NONE = "The record was read without its scores: a scores.safetensors beside it is where they are."


def scored(result: Result) -> list[Section]:
    """Two sections: ROC curves, clean and at every radius, and histograms of what they are made of."""
    titles = (("roc", "ROC curves"), ("scores", "Scores"))
    if not result.scores:
        return [Section(key, title, NONE) for key, title in titles]
    worst = next(c for c in reversed(conditions_of(result)) if c in CONDITIONS)
    own = next(iter(sizes_of(result)))

    def pair_of(row: Row) -> Pair | None:
        return scores_of_row(result, row, own)

    found: dict[str, dict[str, Lines]] = {}
    for line in lines_of(result):
        row = line["clean"]
        if row.ood != "average" and pair_of(row) is not None:
            found.setdefault(label_of(row), {}).setdefault(f"{row.ood} ({row.group})", []).append(line)
    key = [("clean", "clean")] + ([(worst, f"{worst}, fainter at smaller radii")] if worst != "clean" else [])
    states = zip((("id moved", "ID attacked"), ("ood moved", "OOD attacked")), CONDITIONS[worst], strict=True)
    outlined = [its for its, state in states if state != "clean"]
    filled = [("id filled", "ID clean"), ("ood filled", "OOD clean"), *outlined]
    curves = [(label, [Figures(curves_of(sets, worst, pair_of), key, together=2)]) for label, sets in found.items()]
    bars = [
        (label, [Figures(histograms_of(sets, worst, pair_of), filled, together=max(map(len, sets.values())))])
        for label, sets in found.items()
    ]
    about = (
        "ID kept against OOD taken for ID, as the threshold falls; the dotted line keeps 95% of ID. Beside each curve "
        "the same over a logarithmic axis.",
        "The share of images by score, ID above the line and OOD below it; the dotted line is the threshold that 95% "
        "of clean ID reach. Of a detector with noise all draws are counted; the end bins hold what lies beyond them.",
    )
    return [
        Section(key, title, said, folded(parts))
        for (key, title), said, parts in zip(titles, about, (curves, bars), strict=True)
    ]


def curves_of(sets: Mapping[str, Lines], worst: str, pair_of: Callable[[Row], Pair | None]) -> Drawn:
    """Per OOD set a linear and a logarithmic drawing: clean, and the worst condition at each radius."""
    drawn: Drawn = []
    for name, lines in sets.items():
        attacked = sorted((line[worst] for line in lines if worst != "clean"), key=lambda row: row.eps or 0.0)
        rows = [lines[0]["clean"], *attacked]
        styles = ["clean", *(f"{worst} faint{len(attacked) - 1 - k}" for k in range(len(attacked)))]
        curves = [(s, pair) for s, row in zip(styles, rows, strict=True) if (pair := pair_of(row)) is not None]
        said = "; ".join(f"{row.condition}{at(row)} {cell(row)}" for row in rows)
        words = f"ROC, {label_of(rows[0])} against {name}. AUROC % {said}"
        drawn.append((name, roc_curves(curves, words, log=False)))
        drawn.append((f"{name}, log axis", roc_curves(curves, "The same over a logarithmic axis", log=True)))
    return drawn


def histograms_of(sets: Mapping[str, Lines], worst: str, pair_of: Callable[[Row], Pair | None]) -> Drawn:
    """Per OOD set and radius one drawing: clean scores, and attacked ones over them."""
    drawn: Drawn = []
    for name, lines in sets.items():
        clean, row = pair_of(lines[0]["clean"]), lines[0]["clean"]
        moved = [line[worst] for line in lines if worst != "clean"]
        places = {f"{worst}{at(r)} {cell(r)}": pair_of(r) for r in moved} or {worst: None}
        words = f"Histogram of scores, {label_of(row)} against {name}. AUROC % clean {cell(row)}"
        if clean is not None:
            captions = [name + at(r) for r in moved or [row]]
            drawn += zip(captions, histograms(clean, places, words), strict=True)
    return drawn


def at(row: Row) -> str:
    return "" if row.eps is None else f", eps {as_fraction(row.eps, row.norm)}"
