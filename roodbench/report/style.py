"""How figures look: colours that colour-blind readers tell apart, marks and hatches that a print in grey keeps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..record.row import Row

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
"""Okabe and Ito's."""
MARKS = "osD^vPX*"
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (2, 1)))
HATCHES = ("", "///", "...", "xx", "\\\\\\", "++", "oo")
THRESHOLD = "threshold of 95% of clean ID"
"""What the dashed line of scores is."""
GREY, FAINT = "#595959", "#d9d9d9"
INK = "#1a1a1a"
STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid.axis": "y",
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.5,
    "lines.markersize": 5,
    "hatch.linewidth": 0.6,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "roodbench",
    "pdf.fonttype": 42,
    "text.parse_math": False,
}
"""What `matplotlib.rc_context` takes; `$` in a name is a character, as no name is a formula."""


def shade(place: int, of: int) -> tuple[float, float, float, float]:
    """The colour of one of several values in order, dark for the first: cividis without its palest end."""
    from matplotlib import colormaps

    red, green, blue, alpha = colormaps["cividis"](0.85 * place / max(1, of - 1))
    return (red, green, blue, alpha)


def chance(axes: Any) -> None:
    """A line at an AUROC of 50%."""
    axes.axhline(50, color=GREY, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
    axes.annotate(
        "chance",
        (0, 50),
        xycoords=("axes fraction", "data"),
        xytext=(3, 2),
        textcoords="offset points",
        fontsize=7,
        color=GREY,
    )


def warn(axes: Any, mark: str, rows: Iterable[Row]) -> None:
    """What a mark means, in the legend, where a row has it: an attack that failed its checks; and where none ran."""
    verdicts = {row.reliable for row in rows}
    if False in verdicts:
        axes.plot([], [], " ", label=f"{mark}: a check failed, an upper bound only")
    if None in verdicts:
        axes.plot([], [], " ", label="not judged: the attack's checks did not run")
