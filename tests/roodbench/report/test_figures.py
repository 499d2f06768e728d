"""Figures draw the record's numbers, on axes that a caller gives, into SVG, PDF and PNG."""

import importlib.util
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from detectors import KNOWN
from roodbench.cli import main
from roodbench.report.blocks import blocks_of
from roodbench.report.figures import FIGURES, figure, save
from roodbench.report.figures_areas import bars, epsilon, lines_of
from roodbench.report.figures_scatter import FAMILIES, family_of, scatter
from roodbench.report.figures_scores import areas, edges_of, scores, shares
from tests.roodbench.report.small import evaluated, several

drawing = pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="pip install '.[report]'")


@pytest.fixture
def axes():
    from matplotlib.figure import Figure

    return Figure().add_subplot()


def test_without_matplotlib_there_is_one_line(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ValueError, match=r"matplotlib is not installed .*: pip install 'roodbench\[report\]'"):
        figure("bars", {"run": several()})


@drawing
@pytest.mark.parametrize("ood", [None, "noise", "near"])
def test_bars_are_the_aurocs(axes, ood):
    (block,) = blocks_of({"run": several()}, ["clean"])
    assert bars(axes, block, ood) is axes
    rows = [line[block.column(ood)] for line in block.rows]
    low = axes.get_ylim()[0]
    tops = sorted(p.get_y() + p.get_height() for bar in axes.containers for p in bar)
    assert tops == pytest.approx(sorted(100 * row.auroc for row in rows))
    ends = [line.get_ydata() for line in axes.lines if len(line.get_ydata()) == 2]
    assert sorted(e[0] for e in ends) == pytest.approx(sorted(100 * row.auroc_ci[0] for row in rows))
    assert low == 50
    assert [bar.get_label() for bar in axes.containers] == ["score alone", "with median"]
    assert {text.get_text() for text in axes.get_xticklabels()} == {"msp", "gen"}


@drawing
def test_bars_begin_at_zero_where_one_is_below_chance(axes):
    block = next(b for b in blocks_of({"run": several()}, ["both"]) if "96/255" in b.title)
    assert min(line[-1].auroc for line in block.rows) < 0.5
    assert bars(axes, block).get_ylim()[0] == 0
    assert any(label.startswith("*: a check failed") for label in axes.get_legend_handles_labels()[1])


@drawing
def test_the_scatter_is_of_fpr_and_auroc(axes):
    block = next(b for b in blocks_of({"run": several()}, ["max"]) if "96/255" in b.title)
    scatter(axes, block)
    points = np.asarray(np.concatenate([its.get_offsets() for its in axes.collections]))
    rows = [line[0] for line in block.rows]  # near is its only set, the first
    assert points[:, 0] == pytest.approx([100 * row.fpr95_ood for row in rows])
    assert points[:, 1] == pytest.approx([100 * row.auroc for row in rows])
    assert "unseen-digits" in axes.get_xlabel()
    assert {text.get_text() for text in axes.texts} == {"msp*", "gen*", "median(gen)*"}


def test_every_detector_has_a_family():
    row = several().rows[0]
    families = {name: family_of(replace(row, detector=name)) for name in KNOWN}
    assert set(families.values()) <= FAMILIES.keys()
    wanted = {
        "msp": "logits",
        "knn": "features",
        "odin": "gradients and maps",
        "pro": "perturbation",
        "ross": "smoothing",
    }
    assert {name: families[name] for name in wanted} == wanted
    assert family_of(replace(row, detector="mine")) == "other"


@drawing
def test_lines_are_the_aurocs_over_the_radius(axes):
    lines = lines_of({"run": several()}, "both", "noise")
    epsilon(axes, lines)
    drawn = {line.get_label(): line for line in axes.lines if not line.get_label().startswith(("_", "hollow"))}
    for name in ("msp", "gen", "median(gen)"):
        rows = [
            row
            for row in several().rows
            if (row.detector, row.ood) == (name.partition("(")[0], "noise") and row.condition in ("clean", "both")
        ]
        rows.sort(key=lambda row: row.eps or 0)
        assert list(drawn[name].get_ydata()) == pytest.approx([100 * row.auroc for row in rows])
        assert list(drawn[name].get_xdata()) == pytest.approx([0, 16, 96], abs=1)
    assert axes.get_ylabel() == "AUROC, noise (%)"


@drawing
def test_one_line_per_sigma(axes):
    records = {"a": evaluated("median", sigma=0.2), "b": evaluated("median")}
    lines = lines_of(records, "both", None)
    assert sorted((line.name, line.setting) for line in lines) == [
        ("median(gen), sigma 0.05", ("sigma", 0.05)),
        ("median(gen), sigma 0.2", ("sigma", 0.2)),
    ]
    colours = {line.get_label(): line.get_color() for line in epsilon(axes, lines).lines}
    assert sum(colours["median(gen), sigma 0.05"][:3]) < sum(colours["median(gen), sigma 0.2"][:3])


def test_no_line_without_an_attack():
    clean = [row for row in several().rows if row.condition == "clean"]
    with pytest.raises(ValueError, match="no attacked rows"):
        lines_of({"run": replace(several(), rows=clean, averages=[])}, "both", None)
    with pytest.raises(ValueError, match="unknown attacked condition 'bot': did you mean 'both'"):
        lines_of({"run": several()}, "bot", None)


def test_what_has_no_radius_is_no_line():
    rows = [replace(row, condition="worst", eps=None) for row in several().rows if row.condition == "both"]
    clean = [row for row in several().rows if row.condition == "clean"]
    with pytest.raises(ValueError, match="no attacked rows"):
        lines_of({"run": replace(several(), rows=[*clean, *rows], averages=[])}, "worst", None)


@drawing
@pytest.mark.parametrize("field", ["norm", "space", "model", "attack"])
def test_lines_of_other_balls_networks_and_attacks_share_no_axis(field):
    other = replace(
        several(),
        rows=[replace(row, **{field: "l2"}) if row.eps or field == "model" else row for row in several().rows],
        averages=[],
    )
    drawn = figure("epsilon", {"a": several(), "b": other}, ood="noise")
    assert len(drawn.axes) == 2
    wanted = {"msp", "gen", "median(gen)"}
    assert all(wanted <= {*axes.get_legend_handles_labels()[1]} for axes in drawn.axes)
    assert len(figure("epsilon", {"a": several()}, ood="noise").axes) == 1


@drawing
def test_radii_are_drawn_in_pixels(axes):
    rows = [replace(row, space="normalized", eps=row.eps and 4 * row.eps) for row in several().rows]
    lines = lines_of({"run": replace(several(), rows=rows, averages=[])}, "both", "noise")
    epsilon(axes, lines)
    drawn = {line.get_label(): line for line in axes.lines}
    assert list(drawn["msp"].get_xdata()) == pytest.approx([0, 16, 96], abs=1)
    assert "in normalized space" in lines[0].attack


@pytest.mark.parametrize(("condition", "words"), {"min": "min alone", "max": "max alone", "both": "attacked"}.items())
def test_the_areas_are_of_what_was_attacked(condition, words):
    rows = [row for row in several().rows if row.condition in ("clean", condition)]
    largest = max(row.eps for row in rows if row.eps)
    (row,) = (r for r in rows if (r.detector, r.ood, r.eps) == ("gen", "noise", largest))
    said = areas(replace(several(), rows=rows), "gen", "noise")
    assert f", {words} {100 * row.auroc:.1f}%{'*' if row.reliable is False else ''} (96/255)" in said


@drawing
@pytest.mark.parametrize("detector", ["gen", "median(gen)"])
def test_histograms_hold_every_score(axes, detector):
    record = several()
    scores(axes, record, detector, "noise", 16 / 255)
    found = [record.scores_of(detector, "digits"), record.scores_of(detector, "noise")]
    found += [
        record.scores_of(detector, "digits", "min", "16/255"),
        record.scores_of(detector, "noise", "max", "16/255"),
    ]
    edges = edges_of(found)
    lines = {p.get_label(): p.get_data() for p in axes.patches if not p.get_label().startswith("_")}
    for name, its in zip(("ID, clean", "OOD, clean", "ID, attacked", "OOD, attacked"), found, strict=True):
        assert lines[name].values.sum() == pytest.approx(100)
        assert lines[name].values == pytest.approx(shares(its, edges))
        inside = [((its >= a) & (its < b)).mean() for a, b in pairwise(edges[1:-1])]
        assert lines[name].values[1:-1] == pytest.approx(100 * np.array(inside))


def test_constant_scores_have_bins():
    assert len(edges_of([np.zeros((1, 5)), np.zeros((1, 5))])) > 2
    assert np.all(np.diff(edges_of([np.full((1, 5), 1.0)])) > 0)


@drawing
@pytest.mark.parametrize(
    ("name", "ending"),
    [*((name, "svg") for name, kind in FIGURES.items() if not kind.opens), ("epsilon", "pdf"), ("epsilon", "png")],
)
def test_every_figure_is_written(name, ending, tmp_path, capsys):
    several().save(tmp_path / "run")
    file = tmp_path / f"{name}.{ending}"
    assert main(["figure", name, str(tmp_path / "run"), "-o", str(file)]) == 0
    assert capsys.readouterr().out.strip() == str(file)
    begins = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}[ending]
    assert file.read_bytes().startswith(begins)
    if ending == "svg":
        assert "digits" in file.read_text()  # text is text


@drawing
@pytest.mark.parametrize("name", [name for name, kind in FIGURES.items() if not kind.opens])
@pytest.mark.parametrize("called", [r"$\frac{$", "5$ and $x^2$"])
def test_a_dollar_in_a_name_is_a_character(name, called, tmp_path):
    """matplotlib takes what stands between two for a formula: one that it cannot read ends in a traceback."""
    record = several()
    rows, averages = (
        [replace(row, model=called, ood=row.ood.replace("noise", called)) for row in its]
        for its in (record.rows, record.averages)
    )
    attacks = [replace(a, population=a.population.replace("noise", called)) for a in record.attacks]
    data = {key.replace("noise", called): its for key, its in record.data.items()}
    scores = {key.replace("noise", called): its for key, its in record.scores.items()}
    record = replace(record, rows=rows, averages=averages, attacks=attacks, data=data, scores=scores)
    save(figure(name, {"run": record}, ood=called), tmp_path / "x.svg")
    assert called in (tmp_path / "x.svg").read_text()


@drawing
def test_the_same_figure_is_the_same_bytes(tmp_path):
    for name in ("one", "other"):
        save(figure("epsilon", {"run": several()}), tmp_path / f"{name}.svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()


@drawing
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("bar",),
            "unknown figure 'bar': did you mean 'bars'? expected one of bars, scatter, epsilon, scores, shift, ",
        ),
        (("bars", "-o", "x.gif"), "unknown file ending 'gif': expected one of svg, pdf, png"),
        (("bars", "--detector", "ge"), "unknown detector 'ge': did you mean 'gen'"),
        (("scores", "--detector", "ge"), "unknown detector 'ge': did you mean 'gen'"),
        (("scores", "--ood", "nois"), "unknown OOD set 'nois': did you mean 'noise'"),
        (("bars", "--condition", "bot"), "unknown condition 'bot': did you mean 'both'"),
        (("epsilon", "--detector", "ge"), "unknown detector 'ge': did you mean 'gen'"),
        (("epsilon", "--ood", "nois"), "unknown OOD set 'nois': did you mean 'noise'"),
    ],
)
def test_mistakes_are_one_line(arguments, sentence, tmp_path, capsys):
    several().save(tmp_path / "run")
    name, *rest = arguments
    assert main(["figure", name, str(tmp_path / "run"), *rest]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


def test_a_figure_is_named(capsys):
    assert main(["figure"]) == 2
    assert "figure: expected its name, one of bars, scatter, " in capsys.readouterr().err
