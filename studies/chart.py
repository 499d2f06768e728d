"""Lines over a logarithmic axis, in small panels, as an SVG text: the same numbers give the same bytes anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, log10

Panel = dict[str, list[tuple[float, float]]]
"""By name the points (x, y) of a line; of a single one, a mark."""
WIDTH, HEIGHT, LEFT, TOP, GAP = 400, 250, 52, 30, 62
"""Of a panel and its margins."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
"""Okabe and Ito's, told apart also by colour-blind readers."""


def drawn(panels: Mapping[str, Panel], *, across: str, up: str) -> str:
    """The panels by title, two a row, with one legend; x is logarithmic. ValueError where there is nothing to draw."""
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    if not names:
        raise ValueError("nothing to draw: expected at least one line")
    colours = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names)}
    wide, high = 2 * (LEFT + WIDTH) + 20, -(-len(panels) // 2) * (TOP + HEIGHT + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high + 18 * len(names) + 10}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for place, (title, lines) in enumerate(panels.items()):
        x, y = LEFT + place % 2 * (LEFT + WIDTH), TOP + place // 2 * (TOP + HEIGHT + GAP)
        parts += [f'<g transform="translate({x},{y})">', *panel(title, lines, colours, across, up), "</g>"]
    for place, name in enumerate(names):
        y = high + 18 * place
        parts.append(f'<rect x="{LEFT}" y="{y - 9}" width="18" height="9" fill="{colours[name]}"/>')
        parts.append(f'<text x="{LEFT + 26}" y="{y}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def panel(title: str, lines: Panel, colours: Mapping[str, str], across: str, up: str) -> list[str]:
    """One panel's elements, its plot from (0, 0) to (WIDTH, HEIGHT)."""
    points = [point for line in lines.values() for point in line]
    left, right = floor(10 * log10(min(x for x, _ in points))) / 10, ceil(10 * log10(max(x for x, _ in points))) / 10
    low, high = floor(min(y for _, y in points)), ceil(max(y for _, y in points))
    right, high = max(right, left + 0.1), max(high, low + 1)

    def at(x: float, y: float) -> tuple[float, float]:
        return (log10(x) - left) / (right - left) * WIDTH, (high - y) / (high - low) * HEIGHT

    found = [
        f'<text x="0" y="-10" font-weight="bold">{escape(title)}</text>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#888"/>',
        f'<text x="{WIDTH / 2:g}" y="{HEIGHT + 34}" text-anchor="middle">{escape(across)}</text>',
        f'<text transform="translate(-38,{HEIGHT / 2:g}) rotate(-90)" text-anchor="middle">{escape(up)}</text>',
    ]
    for tick in (t for t in ticks() if left <= log10(t) <= right):
        x, _ = at(tick, low)
        found.append(f'<path d="M{x:.1f},0V{HEIGHT}" stroke="#ddd"/>')
        found.append(f'<text x="{x:.1f}" y="{HEIGHT + 16}" text-anchor="middle">{tick:g}</text>')
    for tick in range(low, high + 1, max(1, -(-(high - low) // 6))):
        _, y = at(10**left, tick)
        found.append(f'<path d="M0,{y:.1f}H{WIDTH}" stroke="#ddd"/>')
        found.append(f'<text x="-6" y="{y + 4:.1f}" text-anchor="end">{tick}</text>')
    for name, line in lines.items():
        found += marks([at(*point) for point in sorted(line)], colours[name])
    return found


def marks(points: Sequence[tuple[float, float]], colour: str) -> list[str]:
    """A line with a dot at each of its points; of one point, a diamond."""
    if len(points) == 1:
        ((x, y),) = points
        return [f'<path d="M{x:.1f},{y - 6:.1f}l6,6l-6,6l-6,-6z" fill="{colour}"/>']
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
    return [f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.6"/>', *dots]


def ticks() -> list[float]:
    """1, 2 and 5 of every decade up to a million."""
    return [base * 10.0**power for power in range(7) for base in (1, 2, 5)]
