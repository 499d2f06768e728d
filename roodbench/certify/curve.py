"""Certified, attacked and clean AUROC over the radius, as a figure."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from .row import CertifiedRow

HELD = "steps-pre"
"""How bounds are drawn: between two radii that of the larger one holds, and a straight line would claim more."""


def curve(rows: Sequence[CertifiedRow], operating: Sequence[Mapping[str, Any]] = ()) -> str | None:
    """AUROC over the radius, `both`, as SVG: clean, attacked, certified, and certified at all radii at once (a line).

    None where matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        return None
    with rc_context({"text.parse_math": False}):  # a `$` in a name
        return drawn(Figure(layout="constrained"), rows, operating)


def drawn(figure: Any, rows: Sequence[CertifiedRow], operating: Sequence[Mapping[str, Any]]) -> str:
    """The curves on a figure of matplotlib, a panel per OOD set."""
    sets = list(dict.fromkeys(row.ood for row in rows))
    figure.set_size_inches(5 * len(sets), 4)
    for place, ood in enumerate(sets):
        axes = figure.add_subplot(1, len(sets), place + 1)
        for number, name in enumerate(dict.fromkeys((row.detector, row.base) for row in rows)):
            own = [r for r in rows if (r.detector, r.base) == name and r.ood == ood and r.condition == "both"]
            own.sort(key=lambda r: r.radius)
            x, colour = [0.0, *(r.radius for r in own)], f"C{number}"
            label = f"{name[0]}({name[1]})"
            axes.plot(x[1:], [r.gauroc for r in own], "o-", drawstyle=HELD, color=colour, label=f"{label} certified")
            scale = own[0].radius_l2 / own[0].radius
            for entry in operating:
                if (entry["detector"], entry["base"]) == name:
                    points = [p for p in entry["curve"] if p["radius_l2"] <= 2 * own[-1].radius_l2]
                    radii, bounds = [p["radius_l2"] / scale for p in points], [p["gauroc"][ood] for p in points]
                    what = f"{label} at all radii at once"
                    axes.plot(radii, bounds, drawstyle=HELD, color=colour, linewidth=0.8, label=what)
            reached = [r.auroc_attacked for r in own if r.auroc_attacked is not None]
            if len(reached) == len(own):
                axes.plot(
                    x,
                    [own[0].auroc_clean, *reached],
                    color=colour,
                    marker="x",
                    linestyle="--",
                    label=f"{label} attacked",
                )
        axes.set(title=ood, xlabel=f"radius ({rows[0].norm})", ylabel="AUROC, both", ylim=(-0.02, 1.02))
        axes.legend(fontsize="small")
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()
