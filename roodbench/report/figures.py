"""The papers' figures: each draws on matplotlib's axes and returns them, in one style, as SVG, PDF or PNG.

Every number that is drawn is one of a record, or of what `roodbench.surroundings` measured; none is computed here.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from detectors import unknown

from ..record.record import Record
from ..record.surroundings import Copies, Landscape, Shifts
from ..record.text import as_fraction
from ..store.files import replacing
from .blocks import blocks_of
from .figures_areas import Line, bars, epsilon, lines_of
from .figures_near import heights, instabilities, landscape, medians, shift
from .figures_scatter import scatter
from .figures_scores import areas, scores
from .style import GREY, STYLE, THRESHOLD

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
    panels: Callable[[Any, Asked], Panels]
    """Of records by name, or of measurements."""
    size: tuple[float, float]
    """Of a panel, in inches."""
    opens: bool = False
    """Whether it is drawn of what `roodbench.surroundings` measured."""


def on_blocks(draw: Callable[..., Any]) -> Callable[[Mapping[str, Record], Asked], Panels]:
    """A panel per network, condition and attack."""

    def panels(records: Mapping[str, Record], asked: Asked) -> Panels:
        blocks = [b.only(asked.detectors) for b in blocks_of(records, [asked.condition or "clean"])]
        return [(b.network, b.title, partial(draw, block=b, ood=asked.ood)) for b in blocks]

    return panels


def over_radius(records: Mapping[str, Record], asked: Asked) -> Panels:
    """A panel per network, images, ball and adversary."""
    places: dict[str, list[Line]] = {}
    for line in lines_of(records, asked.condition or "both", asked.ood, asked.detectors):
        places.setdefault(line.place, []).append(line)
    rows = [(lines, lines[0].rows[-1]) for lines in places.values()]
    return [(f"{row.benchmark}, {row.model}", lines[0].attack, partial(epsilon, lines=lines)) for lines, row in rows]


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


def shifted(found: Sequence[Shifts], asked: Asked) -> Panels:
    """A panel per network and base score."""
    return [
        (f"{its.network}, {its.detector}", f"one step of {size_of(its.step)}", partial(shift, found=its))
        for its in found
    ]


def size_of(step: float) -> str:
    """A step in 255ths of the pixel range, as it is spoken of."""
    return as_fraction(step) if "/" in as_fraction(step) else f"{step:g} ({255 * step:.2g}/255)"


def surroundings(found: Sequence[Landscape], asked: Asked) -> Panels:
    """A panel per network, detector and image, with colours of its own: a random direction may move little."""
    return [
        (f"{its.network}, {its.detector}, {its.image}", heights(its), partial(landscape, found=its)) for its in found
    ]


def smoothed(found: Sequence[Copies], asked: Asked) -> Panels:
    """Two panels per network and detector: medians and instabilities, of ID and one OOD set, the first or as asked."""
    panels: Panels = []
    for its in found:
        ood = asked.ood or next(name for name in its.medians if name != its.own)
        areas = its.separates(ood)
        title = f"{its.network}, {its.detector}"
        for draw, what, area in ((medians, "of the median", areas[0]), (instabilities, "of low D", areas[1])):
            said = f"{ood}, sigma {its.sigma:g}: AUROC {what} {100 * area:.1f}%"
            panels.append((title, said, partial(draw, found=its, ood=ood)))
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
    "shift": Kind(
        "How far one step moves scores of ID and OOD, a panel per network (PRO, Fig. 3 and 7)",
        shifted,
        (4.4, 2.6),
        opens=True,
    ),
    "landscape": Kind(
        "A score around chosen images over two directions (PRO, Fig. 6)", surroundings, (3.9, 3.2), opens=True
    ),
    "smoothing": Kind(
        "Histograms of medians and instabilities of noisy copies (ROSS)", smoothed, (3.8, 2.6), opens=True
    ),
}
"""By name, as `roodbench figure NAME` draws them; the last three from what the network says again."""


def figure(
    name: str,
    records: Mapping[str, Record] | Sequence[Any],
    *,
    ood: str | None = None,
    condition: str | None = None,
    detectors: Sequence[str] | None = None,
) -> Any:
    """A matplotlib Figure of some records, or of what `roodbench.surroundings` measured of them for this figure.

    ValueError for an unknown name or choice, or without matplotlib.
    """
    if name not in FIGURES:
        raise ValueError(unknown("figure", name, FIGURES))
    kind = FIGURES[name]
    panels = kind.panels(records, Asked(ood, condition, detectors))
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError(f"matplotlib is not installed ({error}): pip install 'roodbench[report]'") from None
    across = 2 if len(panels) == 4 else min(ACROSS, len(panels))
    down = -(-len(panels) // across)
    with rc_context(STYLE):
        drawn = Figure(figsize=(kind.size[0] * across, kind.size[1] * down + 0.3), layout="constrained")
        for place, (title, said, draw) in enumerate(panels):
            axes = drawn.add_subplot(down, across, place + 1)
            axes.set_title(title, pad=17)
            below = {"xycoords": "axes fraction", "textcoords": "offset points", "fontsize": 8, "color": GREY}
            axes.annotate(said, (0, 1), (0, 6), **below).set_in_layout(False)  # it may be wider than its axes
            draw(axes)
        add_legend(drawn)
    drawn._repr_svg_ = partial(svg_of, drawn)  # a notebook shows it, whatever backend it has
    return drawn


def svg_of(drawn: Any) -> str:
    """A figure as the text of an SVG."""
    from matplotlib import rc_context

    out = io.StringIO()
    with rc_context(STYLE):
        drawn.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def add_legend(drawn: Any) -> None:
    """One legend for all panels, below them; of a single thing none, but of a line that nothing else names."""
    entries: dict[str, Any] = {}
    for axes in drawn.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if len(entries) > 1 or THRESHOLD in entries:
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
