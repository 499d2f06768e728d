"""The papers' figures from records: each draws on matplotlib's axes and returns them, in one style, as SVG, PDF or PNG.

Every number that is drawn is one of the records'; none is computed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from detectors import unknown

from ..record.record import Record
from ..store.files import replacing
from .blocks import blocks_of
from .figures_areas import bars, epsilon, lines_of
from .figures_scatter import scatter
from .figures_scores import areas, scores
from .style import GREY, STYLE

ENDINGS = ("svg", "pdf", "png")
ACROSS, DPI = 3, 200
"""Panels in a row at most, and dots an inch of a PNG."""


@dataclass(frozen=True)
class Asked:
    """What of the records is drawn; None stands for each figure's own choice."""

    ood: str | None = None
    condition: str | None = None
    detectors: Sequence[str] | None = None


Panels = list[tuple[str, str, Callable[[Any], Any]]]
"""Titles, what is said below them, and what draws on a panel's axes."""


@dataclass(frozen=True)
class Kind:
    """A figure by name."""

    about: str
    panels: Callable[[Mapping[str, Record], Asked], Panels]
    size: tuple[float, float]
    """Of a panel, in inches."""


def on_blocks(draw: Callable[..., Any]) -> Callable[[Mapping[str, Record], Asked], Panels]:
    """A panel per network, condition and attack."""

    def panels(records: Mapping[str, Record], asked: Asked) -> Panels:
        blocks = [b.only(asked.detectors) for b in blocks_of(records, [asked.condition or "clean"])]
        return [(b.network, b.title, partial(draw, block=b, ood=asked.ood)) for b in blocks]

    return panels


def over_radius(records: Mapping[str, Record], asked: Asked) -> Panels:
    condition = asked.condition or "both"
    lines = lines_of(records, condition, asked.ood, asked.detectors)
    row = lines[0].rows[-1]
    return [(f"{row.benchmark}, {row.model}", f"{condition}: {row.attack}", partial(epsilon, lines=lines))]


def histograms(records: Mapping[str, Record], asked: Asked) -> Panels:
    """A panel per detector, against the first OOD set or the one that was asked for."""
    panels: Panels = []
    for record in records.values():
        sets = list(dict.fromkeys(row.ood for row in record.rows))
        ood = asked.ood or sets[0]
        if ood not in sets:
            raise ValueError(unknown("OOD set", ood, sets))
        for label in dict.fromkeys(entry.detector for entry in record.detectors):
            if asked.detectors is None or label in asked.detectors:
                said = areas(record, label, ood)
                panels.append((f"{label}, {ood}", said, partial(scores, record=record, detector=label, ood=ood)))
    if not panels:
        labels = [entry.detector for record in records.values() for entry in record.detectors]
        raise ValueError(unknown("detector", (asked.detectors or [""])[0], labels))
    return panels


FIGURES = {
    "bars": Kind(
        "AUROC per network and base score, alone and with PRO and others over it (PRO, Fig. 4 and 5)",
        on_blocks(bars),
        (5.2, 3.2),
    ),
    "scatter": Kind("FPR95 against AUROC on near OOD, marks by family (PRO, Fig. 1)", on_blocks(scatter), (4.6, 3.8)),
    "epsilon": Kind("AUROC over the attack's radius, a line per detector or sigma (ROSS)", over_radius, (4.8, 3.4)),
    "scores": Kind("Histograms of scores of ID and OOD, clean and attacked", histograms, (3.4, 2.6)),
}
"""By name, as `roodbench figure NAME` draws them."""


def figure(
    name: str,
    records: Mapping[str, Record],
    *,
    ood: str | None = None,
    condition: str | None = None,
    detectors: Sequence[str] | None = None,
) -> Any:
    """A matplotlib Figure of some records. ValueError for a name or choice that there is not, or without matplotlib."""
    if name not in FIGURES:
        raise ValueError(unknown("figure", name, FIGURES))
    kind = FIGURES[name]
    panels = kind.panels(records, Asked(ood, condition, detectors))
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError(f"matplotlib is not installed ({error}): pip install 'roodbench[report]'") from None
    across = min(ACROSS, len(panels))
    down = -(-len(panels) // across)
    with rc_context(STYLE):
        drawn = Figure(figsize=(kind.size[0] * across, kind.size[1] * down + 0.3), layout="constrained")
        for place, (title, said, draw) in enumerate(panels):
            axes = drawn.add_subplot(down, across, place + 1)
            axes.set_title(title, pad=17)
            below = {"xycoords": "axes fraction", "textcoords": "offset points", "fontsize": 8, "color": GREY}
            axes.annotate(said, (0, 1), (0, 6), **below)
            draw(axes)
        add_legend(drawn)
    return drawn


def add_legend(drawn: Any) -> None:
    """One legend for all panels, below them."""
    entries: dict[str, Any] = {}
    for axes in drawn.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if len(entries) > 1:
        width = drawn.get_figwidth()
        longest = max(map(len, entries))
        columns = max(1, min(len(entries), int(width / (0.45 + 0.075 * longest))))
        drawn.legend(entries.values(), entries.keys(), loc="outside lower left", ncols=columns)


def save(drawn: Any, file: Path | str) -> None:
    """Write a figure as SVG, PDF or PNG, by the name's ending; the same figure gives the same bytes.

    ValueError for another ending, OSError where nothing can be written.
    """
    from matplotlib import rc_context

    ending = check_file(file)
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[ending]
    with rc_context(STYLE), replacing(Path(file)) as temporary:
        drawn.savefig(temporary, format=ending, metadata=undated, dpi=DPI)


def check_file(file: Path | str) -> str:
    """The ending of a figure's file; ValueError for one that is not drawn."""
    ending = Path(file).suffix.lower().removeprefix(".")
    if ending not in ENDINGS:
        raise ValueError(unknown("file ending", ending, ENDINGS))
    return ending
