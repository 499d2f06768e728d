"""Figures of what is near images draw the numbers that were measured."""

import importlib.util

import numpy as np
import pytest

from roodbench.record.surroundings import Copies, Landscape, Shifts
from roodbench.report.figures import FIGURES, figure
from roodbench.report.figures_near import ends_of, heights, instabilities, landscape, medians, shift

pytestmark = pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="pip install '.[report]'")
RNG = np.random.default_rng(0)
SETS = {"id": "ID", "near-set": "near", "far-set": "far"}
SHIFTS = Shifts("made-up, net", "msp", "id", 0.003, SETS, {n: RNG.normal(-k, 1, 200) for k, n in enumerate(SETS)})
OFFSETS = np.linspace(-8 / 255, 8 / 255, 41)
SCORES = np.add.outer(OFFSETS, 2 * OFFSETS)
HILL = Landscape("made-up, net", "msp", "id", "id:3", ("sign of the gradient", "random signs"), OFFSETS, SCORES, 0.01)
SPREADS = {name: np.abs(its) for name, its in SHIFTS.moved.items()} | {"id": np.r_[np.zeros(20), np.ones(180)]}
COPIES = Copies("made-up, net", "ross(msp)", "id", 0.05, 25, SHIFTS.moved, SPREADS, -1.5)


@pytest.fixture
def axes():
    from matplotlib.figure import Figure

    return Figure().add_subplot()


def test_a_shift_has_its_quantiles_and_areas(axes):
    assert shift(axes, SHIFTS) is axes
    lines = [line.get_xdata() for line in axes.lines[1:]]  # the first is 0
    for place, name in enumerate(SETS):
        low, first, middle, last, high = np.quantile(SHIFTS.moved[name], [0.05, 0.25, 0.5, 0.75, 0.95])
        assert [list(x) for x in lines[3 * place : 3 * place + 3]] == [[low, high], [first, last], [middle]]
    assert [text.get_text() for text in axes.get_yticklabels()] == list(SETS)
    said = [text.get_text() for text in axes.texts]
    assert said == [*(f"{100 * SHIFTS.separates(name):.1f}" for name in ("near-set", "far-set")), "AUROC %"]
    assert SHIFTS.separates("far-set") > SHIFTS.separates("near-set") > 0.5


def test_a_landscape_has_its_scores_and_threshold(axes):
    assert landscape(axes, HILL) is axes
    assert ends_of(SCORES) == (SCORES.min(), SCORES.max())
    assert axes.get_xlim() == pytest.approx((-8, 8))
    (line,) = [c for c in axes.collections if list(c.levels) == [0.01]][1:]
    path = line.get_paths()[0].vertices / 255
    assert path[:, 1] + 2 * path[:, 0] == pytest.approx(0.01, abs=1e-6)
    assert heights(HILL) == "score 0, nearby -0.0941 to 0.0941; threshold 0.01"


def test_a_flat_landscape_has_colours(axes):
    flat = Landscape("n", "d", "id", "id:0", ("u", "v"), OFFSETS, np.zeros((41, 41)), 1.0)
    low, high = ends_of(flat.scores)
    assert low < 0 < high
    landscape(axes, flat)
    assert axes.get_legend_handles_labels()[1] == []


@pytest.mark.parametrize("draw", [medians, instabilities])
def test_histograms_hold_every_image(axes, draw):
    assert draw(axes, COPIES, "far-set") is axes
    heights = {
        patch.get_label(): patch.get_data().values for patch in axes.patches if patch.get_label() in ("ID", "OOD")
    }
    assert {name: values.sum() for name, values in heights.items()} == pytest.approx({"ID": 100, "OOD": 100})
    if draw is instabilities:
        assert heights["ID"][0] >= 10  # of a tenth the copies all score alike
    else:
        assert [line.get_xdata()[0] for line in axes.lines] == [-1.5]


MEASURED = {"shift": [SHIFTS, SHIFTS], "landscape": [HILL], "smoothing": [COPIES]}


@pytest.mark.parametrize("name", MEASURED)
def test_every_figure_of_measurements_is_drawn(name):
    text = figure(name, MEASURED[name])._repr_svg_()
    assert text.startswith("<?xml")
    assert "msp" in text
    assert set(MEASURED) == {key for key, kind in FIGURES.items() if kind.opens}


def test_smoothing_says_what_tells_apart():
    text = figure("smoothing", [COPIES], ood="near-set")._repr_svg_()
    for area, what in zip(COPIES.separates("near-set"), ("of the median", "of low D"), strict=True):
        assert f"near-set, sigma 0.05: AUROC {what} {100 * area:.1f}%" in text
