"""Certified lines of a leaderboard: where they stand, in which order, and beside which attacked line."""

from dataclasses import replace

import pytest

from roodbench.entry.certified import Claim
from roodbench.entry.file import read
from roodbench.record.pairs import evaluation_sets
from roodbench.record.text import at_least
from roodbench.report.board import boards_of
from roodbench.report.html import written
from roodbench.report.leaderboard import leaderboard
from tests.docs.pages import ROOT
from tests.roodbench.entry.made import entry
from tests.roodbench.report import synthetic
from tests.roodbench.report.reading import Tables

KEPT = read(ROOT / "reports" / "denoised" / "digits-bare-0.25")
RADIUS = 8 / 255


def claim(label="one", bounds=(0.4, 0.3), radius=RADIUS, few=None):
    sets = ("noise", "photos")
    certified, clean, attacked = dict(zip(sets, bounds, strict=True)), dict.fromkeys(sets, 0.9), dict.fromkeys(sets)
    deployed = certified if few is None else dict(zip(sets, few, strict=True))
    return Claim(label, {}, radius, certified, clean, attacked, None if few is None else 25, deployed)


def certification(name, *claims, like=None, norm="linf", network="0" * 64, noise=True, **changes):
    """A made-up certification on the images of an entry, or on others."""
    images = {} if like is None else {key: its["sha256"] for key, its in evaluation_sets(like.record).items()}
    sizes = {"id": 40, "noise": 40, "photos": 40}
    row = {"benchmark": "made-up", "model": "no network", "norm": norm}
    data = {} if like is None else like.record.data
    record = {"rows": [row], "violations": [], "config": {"run": {"seed": 0}}, "data": data}
    own = {"images": images, "sizes": sizes, "network": network, "record": record, "alpha": 0.001 if noise else 0.0}
    return replace(KEPT, name=name, by_noise=noise, claims=list(claims), **{**own, **changes})


def table(entries, place=0):
    found = Tables(written(leaderboard(entries, {})))
    heads = found.heads[f"board-{place}"]
    return [dict(zip(heads, line, strict=True)) for line in found.lines[f"board-{place}"]], found


def test_they_stand_below_the_attacked_lines_highest_first():
    run = entry("a")
    proofs = [
        certification("low", claim("three", (0.4, 0.2)), like=run, noise=False),
        certification("high", claim("four", (0.5, 0.6)), like=run, noise=False),
        certification("none", claim("five", (0.5, 0.0)), like=run, noise=False),
    ]
    lines, found = table([run, *proofs])
    attacked = [line["detector"] for line in table([run])[0]]
    assert [line["detector"] for line in lines] == [*attacked, "four high", "three low", "five none"]
    assert [line["trust"] for line in lines[2:]] == ["proven", "proven", "says nothing"]
    assert [line["certified"] for line in lines] == ["-", "-", "≥ 50.0 noise", "≥ 20.0 photos", "≥ 0.0 photos"]
    assert {line["rank"] for line in lines[2:]} == {"-"}
    assert "3 certified lines of 3 certifications beside them." in found.text
    assert found.lines["proven"][0][1:] == ["3", "2", "≥ 50.0 the highest of 3, certain", "four high"]
    assert "2 lines, 2 ranked, 3 certified" in found.text
    assert len(found.lines["certifications"]) == 3


def test_a_bound_of_an_attacked_detector_on_its_images_stands_in_its_line():
    """Of a detector with noise that of its few copies; of other images, parameters or sets none."""
    run = entry("a")
    lines, _ = table([run, certification("mine", claim("one", (0.4, 0.3), few=(0.35, 0.25)), like=run)])
    assert {line["detector"]: line["certified"] for line in lines[:2]} == {
        "one a": "≥ 25.0 mine, with probability 99.9%",
        "two a": "-",
    }
    assert lines[-1]["remarks"].startswith("with probability 99.8%; of 25 fresh copies at least 25.0")
    for wrong in (
        certification("mine", claim("one")),
        certification("mine", claim("one"), like=entry("b", sets=["noise"])),
        certification("mine", replace(claim("one"), params={"sigma": 1}), like=run),
    ):
        assert [line["certified"] for line in table([run, wrong])[0][:2]] == ["-", "-"]


def test_the_highest_of_several_bounds_holds_with_the_probability_of_all():
    """Chosen by the bounds, it is as sure as all together: what is 0 or contradicted was looked at too."""
    run = entry("a")
    bounds = [(0.4, 0.3), (0.5, 0.35), (0.5, 0.0), (0.9, 0.8)]
    mine = [certification(f"of {b}", claim("one", b, few=b), like=run) for b in bounds]
    mine[3].record["violations"].append("one: id, index 3 is attacked past its bound")
    lines, found = table([run, *mine])
    said = "the highest of 4, with probability 99.6%"
    assert lines[0]["certified"] == f"≥ 35.0 of (0.5, 0.35), {said}"
    assert found.lines["proven"][0][3] == f"≥ 35.0 {said}"
    lines, found = table([run, *mine, certification("sure", claim("one", (0.6, 0.6)), like=run, noise=False)])
    assert lines[0]["certified"] == "≥ 60.0 sure, the highest of 5, certain"
    assert "that of the line alone" in found.text


def test_a_detector_that_was_fitted_otherwise_is_another_one():
    """As ROSS's tau is, on other images of ID train or with another seed."""
    run, its = entry("a"), claim("one", few=(0.4, 0.3))
    fitted = {"ID train: t": {"images": 9, "sha256": "1"}, "ID val: v": {"images": 9, "sha256": "2"}}
    run = replace(run, record=replace(run.record, data={**run.record.data, **fitted}))
    mine = certification("mine", its, like=run)
    assert table([run, mine])[0][0]["certified"].startswith("\u2265 30.0 mine")
    other = {**mine.record["data"], "ID train: t": {"images": 8, "sha256": "3"}}
    for changed in ({"data": other}, {"config": {"run": {"seed": 1}}}):
        found = [replace(mine, record={**mine.record, **changed}, by_noise=noise) for noise in (True, False)]
        assert [table([run, its])[0][0]["certified"] for its in found] == ["-", "\u2265 30.0 mine, certain"]


def test_a_record_without_a_hash_brings_no_networks_together():
    proofs = [
        certification("known", claim("one", (0.3, 0.3)), network="1" * 64),
        certification("other", claim("two", (0.2, 0.2)), network="2" * 64),
        certification("nameless", claim("three", (0.4, 0.4)), network=None),
    ]
    boards = boards_of(proofs)
    assert sorted(board.network for board in boards) == ["1" * 12, "2" * 12]
    (first,) = (board for board in boards if len(board.proofs) == 2)
    assert first.proofs[0].entry.name == "nameless"


@pytest.mark.parametrize(
    "other", [{"norm": "l2"}, {"network": "1" * 64}, {"radius": 4 / 255}], ids=lambda o: next(iter(o))
)
def test_another_ball_or_network_is_another_board(other):
    run = entry("a")
    its = claim(radius=other.get("radius", RADIUS))
    other = {name: value for name, value in other.items() if name != "radius"}
    boards = boards_of([run, certification("mine", its, like=run, **other)])
    assert [(len(board.lines), len(board.proofs)) for board in boards] == [(2, 0), (0, 1)]


def test_other_images_are_said():
    run = entry("a")
    text = table([run, certification("mine", claim())])[1].text
    assert "on 40 id, 40 noise, 40 photos: other images than the lines above" in text
    assert "other images" not in table([run, certification("mine", claim(), like=run)])[1].text


def test_a_record_without_hashes_is_known_by_name():
    (board,) = boards_of([entry("a"), certification("mine", claim(), network=None)])
    assert [its.entry.name for its in board.proofs] == ["mine"]
    lines, _ = table([entry("a"), certification("mine", claim(), network=None)])
    assert "network and images by name alone" in lines[-1]["remarks"]


def test_a_contradicted_one_is_kept_and_marked():
    run = entry("a")
    bad = certification("bad", claim("one", (0.9, 0.8)), like=run)
    bad.record["violations"].append("one: id, index 3 is attacked past its bound")
    lines, found = table([run, bad, certification("good", claim("six", (0.1, 0.1)), like=run)])
    assert [line["trust"] for line in lines[2:]] == ["proven", "contradicted"]
    assert lines[-1]["remarks"].startswith("with probability 99.9%; one: id, index 3 is attacked past its bound")
    assert {line["certified"] for line in lines[:2]} == {"-"}
    assert found.lines["proven"][0][-1] == "six, all copies good"


def test_without_certifications_nothing_changes():
    found = table([entry("a")])[1]
    assert "certified" not in found.heads["board-0"]
    assert "certif" not in found.text.lower().replace("certificates", "")


def test_names_with_html_are_text():
    mine = certification(synthetic.SCRIPT, claim(synthetic.IMAGE))
    found = table([mine])[1]
    assert [tag for tag, _ in found.tags].count("script") == 1
    assert "img" not in {tag for tag, _ in found.tags}


def test_a_bound_is_never_rounded_up():
    assert [at_least(v) for v in (0.95499, 0.955, 0.99999, 1.0, 0.29)] == [
        "95.4",
        "95.5",
        "99.9",
        "100.0",
        "29.0",
    ]
