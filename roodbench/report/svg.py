"""Drawings as SVG: lines with bands, steps, histograms; colours and type are the page's (templates/style.css)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

Points = Sequence[tuple[float, float]]
WIDTH, HEIGHT = 280, 200
LEFT, RIGHT, TOP, BOTTOM = 38, 10, 8, 40
"""Margins, in units of the drawing: about pixels on the screen."""


class Drawing(str):
    """SVG of ours, which a template writes as it is; whatever came from a record is escaped in it."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


def short(value: float) -> str:
    """A coordinate to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")


@dataclass
class Axes:
    """One pair of axes. `x` and `y` give the ends of the two scales, `words` what a screen reader says."""

    x: tuple[float, float]
    y: tuple[float, float]
    words: str
    log: bool = False
    parts: list[str] = field(default_factory=list)

    def across(self, x: float) -> float:
        low, high = self.x
        share = math.log(x / low) / math.log(high / low) if self.log else (x - low) / (high - low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def up(self, y: float) -> float:
        low, high = self.y
        return HEIGHT - BOTTOM - (y - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def at(self, points: Points) -> list[str]:
        return [f"{short(self.across(x))} {short(self.up(y))}" for x, y in points]

    def line(self, points: Points, style: str) -> None:
        self.parts.append(f'<path class="line {style}" d="M{"L".join(self.at(points))}"/>')

    def band(self, points: Points, others: Points, style: str) -> None:
        outline = "L".join([*self.at(points), *reversed(self.at(others))])
        self.parts.append(f'<path class="band {style}" d="M{outline}Z"/>')

    def steps(self, points: Points, style: str, *, kind: str = "line", close: float | None = None) -> None:
        """A staircase: each value from its x on; where there is an end to `close` it at, an area above 0."""
        d, last = "", None
        for x, y in points:
            here, there = short(self.across(x)), short(self.up(y))
            if last is None:
                d = f"M{here} {short(self.up(0))}V{there}" if close is not None else f"M{here} {there}"
            elif there != last:
                d += f"H{here}V{there}"
            last = there
        end = points[-1][0] if close is None else close
        d += f"H{short(self.across(end))}" + (f"V{short(self.up(0))}Z" if close is not None else "")
        self.parts.append(f'<path class="{kind} {style}" d="{d}"/>')

    def dots(self, points: Points, style: str) -> None:
        for x, y in points:
            self.parts.append(
                f'<circle class="dot {style}" cx="{short(self.across(x))}" cy="{short(self.up(y))}" r="3"/>'
            )

    def rules(self, style: str, *, levels: Iterable[float] = (), uprights: Iterable[float] = ()) -> None:
        """Straight lines from side to side, and from top to bottom."""
        d = "".join(f"M{LEFT} {short(self.up(y))}H{WIDTH - RIGHT}" for y in levels)
        d += "".join(f"M{short(self.across(x))} {TOP}V{HEIGHT - BOTTOM}" for x in uprights)
        self.parts.append(f'<path class="{style}" d="{d}"/>')

    def ticks_across(self, ticks: Iterable[tuple[float, str]], title: str) -> None:
        """Labels below, as many as have room, the last one always, and what they measure."""
        placed, kept = [(self.across(x), label) for x, label in ticks], list[tuple[float, str]]()
        for place, label in reversed(placed):
            if not kept or kept[-1][0] - place > 7 * max(len(label), len(kept[-1][1])) / 2 + 14:
                kept.append((place, label))
        for place, label in kept:
            at_edge = place + 3.2 * len(label) > WIDTH - 1
            self.text(WIDTH - 1 if at_edge else place, HEIGHT - BOTTOM + 17, label, "end" if at_edge else "")
        self.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, title)

    def ticks_up(self, ticks: Sequence[tuple[float, str]]) -> None:
        self.rules("grid", levels=[y for y, _ in ticks])
        for y, label in ticks:
            self.text(LEFT - 6, self.up(y) + 4, label, "end")

    def text(self, x: float, y: float, words: str, side: str = "") -> None:
        """Words in the middle of a place, or at the `end` or `start` of it."""
        style = f' class="{side}"' if side else ""
        self.parts.append(f'<text{style} x="{short(x)}" y="{short(y)}">{escape(words)}</text>')

    def drawing(self) -> Drawing:
        head = f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(self.words)}">'
        return Drawing(head + "".join(self.parts) + "</svg>")


def spread(points: Sequence[tuple[str, float, tuple[float, float]]]) -> Drawing:
    """How far a value in [0, 1] falls, on one short line: style, value, ends. The numbers stand beside it.

    The first and the last one have their intervals, and a line from one to the other.
    """
    places = [short(4 + 192 * min(max(value, 0.0), 1.0)) for _, value, _ in points]
    parts = ['<path class="grid" d="M4 10H196M4 6V14M100 7V13M196 6V14"/>']
    parts.append(f'<path class="fall {points[-1][0]}" d="M{places[0]} 10H{places[-1]}"/>')
    for style, _, ends in dict.fromkeys((points[0], points[-1])):
        low, high = (short(4 + 192 * min(max(end, 0.0), 1.0)) for end in ends)
        parts.append(f'<path class="whisker {style}" d="M{low} 10H{high}"/>')
    for (style, _, _), place in zip(points, places, strict=True):
        inner = place not in (places[0], places[-1])
        parts.append(f'<circle class="dot {style}" cx="{place}" cy="10" r="{2.5 if inner else 4}"/>')
    return Drawing(f'<svg class="spread" viewBox="0 0 200 20" aria-hidden="true">{"".join(parts)}</svg>')
