"""Charts: where a point of a line ends up, and what a picture must have."""

import re
from xml.etree import ElementTree

import pytest

from studies.chart import COLOURS, HEIGHT, WIDTH, drawn

PANELS = {"a < b": {"ours": [(1000, 30), (10, 90)], "before": [(100, 60)]}, "c": {"theirs": [(10, 5), (20, 7)]}}


def test_points_lie_where_their_logarithm_and_value_are():
    root = ElementTree.fromstring(drawn(PANELS, across="passes", up="AUROC"))
    name = "{http://www.w3.org/2000/svg}"
    ours, theirs = root.iter(f"{name}polyline")
    (first, last) = [tuple(map(float, point.split(","))) for point in ours.get("points").split()]
    assert (first, last) == ((0, 0), (WIDTH, HEIGHT))  # 10 passes at 90, 1000 at 30: corners of the panel
    assert (ours.get("stroke"), theirs.get("stroke")) == (COLOURS[0], COLOURS[2])
    diamond = [path.get("d") for path in root.iter(f"{name}path") if path.get("fill") == COLOURS[1]]
    x, y = map(float, re.match(r"M([\d.]+),([\d.]+)l", diamond[0]).groups())
    assert (x, y + 6) == (WIDTH / 2, HEIGHT / 2)
    texts = [text.text for text in root.iter(f"{name}text")]
    assert {"a < b", "c", "ours", "before", "theirs", "10", "1000"} <= set(texts)


def test_a_line_that_is_level_is_drawn_too():
    assert "polyline" in drawn({"level": {"a": [(10, 50.0), (10, 50.0)]}}, across="x", up="y")


def test_nothing_is_no_chart():
    with pytest.raises(ValueError, match="nothing to draw: expected at least one line"):
        drawn({}, across="x", up="y")
