"""What a record says against itself, of everything that a cheater would edit."""

from dataclasses import fields, replace

import pytest
import torch

from roodbench.entry.consistency import contradictions_of
from roodbench.evaluation.indicators import Indicator
from roodbench.record.row import Row
from roodbench.record.verdicts import of_verdicts, unjudged
from roodbench.store.cells import checksum
from tests.roodbench.entry import made


def only(record, **kept):
    """The rows and attacks that have these fields."""
    rows = [r for r in record.rows if all(getattr(r, k) != v for k, v in kept.items())]
    return replace(record, rows=rows)


def first(entries, **changes):
    return [replace(entries[0], **changes), *entries[1:]]


def last(entries, **changes):
    return [*entries[:-1], replace(entries[-1], **changes)]


def failed(record):
    """A check that failed, and rows that are called reliable all the same."""
    return replace(
        record, indicators=[replace(i, passed=False) if i.name == "black-box" else i for i in record.indicators]
    )


def raised(record, key, by):
    """The scores of a key, higher."""
    scores = {**record.scores, key: record.scores[key] + by}
    return replace(record, scores=scores, scores_sha256=checksum(scores))


def dropped(record):
    """A population that was not attacked, and its scores."""
    scores = {key: value for key, value in record.scores.items() if "id/min" not in key}
    return replace(record, attacks=record.attacks[1:], scores=scores, scores_sha256=checksum(scores))


def clean_winner(record):
    entry = record.attacks[0]
    winner = [0, *entry.winner[1:]]
    wins = {c: winner.count(i) for i, c in enumerate(entry.components)}
    key = f"one/{entry.eps:.6g}/{entry.population}/{entry.condition}/winner"
    scores = {**record.scores, key: torch.tensor(winner)}
    return replace(record, attacks=first(record.attacks, winner=winner, wins=wins), scores=scores)


CHEATS = {
    "an AUROC": (
        lambda r: replace(r, rows=first(r.rows, auroc=0.999)),
        "clean: auroc is 0.999, its scores give 0.9",
    ),
    "scores and not their rows": (
        lambda r: raised(r, "one/0.0313725/noise/max", -1),
        "max at eps 0.0313725: auroc is 0.79",
    ),
    "the mean": (
        lambda r: replace(r, averages=last(r.averages, auroc=0.99)),
        "two on all OOD sets, both at eps 0.0313725: auroc is 0.99",
    ),
    "a dropped set": (lambda r: only(r, ood="noise"), "has no row of one on noise"),
    "a dropped condition": (lambda r: only(r, condition="both"), "has no row of one on noise, both at eps 0.0313725"),
    "a row twice": (lambda r: replace(r, rows=[*r.rows, r.rows[0]]), "has one row more of one on noise, clean"),
    "another radius": (lambda r: replace(r, config={**r.config, "eps": [16 / 255]}), "config attacks within [0.06"),
    "fewer images": (
        lambda r: replace(r, rows=first(r.rows, n_id=1000)),
        "n_id is 1000, the rest of the record gives 40",
    ),
    "another attack": (
        lambda r: replace(r, config={**r.config, "method": "pgd"}),
        "attack suite, linf: config says pgd",
    ),
    "another norm": (lambda r: replace(r, config={**r.config, "norm": "l2"}), "config says suite, l2"),
    "pixels": (lambda r: replace(r, rows=last(r.rows, eps_pixel=0.1)), "is 0.1 in pixels: config says otherwise"),
    "parameters": (
        lambda r: replace(r, rows=last(r.rows, params={"k": 1})),
        "params is {'k': 1}, the rest",
    ),
    "the network": (
        lambda r: replace(r, config={**r.config, "model": "x"}),
        "config names network x, its rows another",
    ),
    "no network": (lambda r: replace(r, config={**r.config, "network_sha256": None}), "has no network_sha256"),
    "a budget": (lambda r: replace(r, config={**r.config, "budget": "much"}), "budget is 'much': expected int"),
    "a setting": (lambda r: replace(r, config={**r.config, "base": 7}), "config, base is 7: expected str"),
    "a name": (
        lambda r: replace(r, config={**r.config, "detector": ["gen", "two"]}),
        "config names gen, two: its rows",
    ),
    "no passes": (lambda r: replace(r, rows=last(r.rows, passes={})), "passes {}: expected forward and backward"),
    "one side attacked": (lambda r: replace(r, config={**r.config, "attack": "min"}), "attack is min"),
    "an evaluation": (lambda r: replace(r, config={**r.config, "plan": {}}), "a record of roodbench.evaluate"),
    "a detector more": (lambda r: replace(r, config={**r.config, "detector": ["one"]}), "config names 1 detector,"),
    "a failed check": (failed, "is called reliable, though black-box failed"),
    "a check's verdict": (
        lambda r: replace(r, indicators=last(r.indicators, number=9.0)),
        "passed: its number is 9",
    ),
    "a threshold": (
        lambda r: replace(r, indicators=last(r.indicators, number=0.0, threshold=1.0)),
        "has threshold 1: expected",
    ),
    "an infinite score": (lambda r: raised(r, "one/id/clean", float("inf")), "one/id/clean: expected finite numbers"),
    "a population less": (dropped, "it has one row more of one on noise, min at eps 0.0313725"),
    "too few winners": (lambda r: replace(r, attacks=first(r.attacks, winner=[1], wins={})), "id/min/winner differs"),
    "winners": (lambda r: replace(r, attacks=first(r.attacks, wins={"clean": 40})), "wins are not the winners counted"),
    "passes": (
        lambda r: replace(r, attacks=first(r.attacks, passes=[1.0, 1.0])),
        "passes is {'id': [80.0, 60.0]",
    ),
    "a clean winner": (clean_winner, "an image that nothing moved has another score"),
}


def test_an_honest_record_says_nothing_against_itself(small_run):
    assert list(contradictions_of(made.record())) == []
    assert list(contradictions_of(small_run[0])) == []


@pytest.mark.parametrize("cheat", CHEATS)
def test_what_a_cheater_edits_is_found(cheat):
    edit, words = CHEATS[cheat]
    found = list(contradictions_of(edit(made.record())))
    assert any(words in line for line in found), found


def test_an_attack_cannot_help_the_detector():
    record = made.record(radii=[8 / 255])
    key = "one/0.0313725/id/min"
    moved = record.scores[key].clone()
    moved[0, 3] = record.scores["one/id/clean"][0, 3] + 1
    edited = made.said(replace(record, scores={**record.scores, key: moved}))
    assert "an image is easier to tell than the clean one" in next(contradictions_of(edited))


def test_draws_that_differ_are_a_line():
    record = made.record()
    scores = {**record.scores, "one/id/clean": record.scores["one/id/clean"].repeat(3, 1)}
    line, *_ = contradictions_of(replace(record, scores=scores))
    assert "3 draws of ID scores but 1 of OOD scores" in line


def test_a_row_without_its_checks_is_not_judged():
    record = made.record()
    row = record.rows[-1]
    assert unjudged(record, row) == []
    left = replace(record, indicators=[i for i in record.indicators if i.name != "random"])
    assert unjudged(left, row) == ["random"]


STATED = ("passes_equal", "adaptive_gap_ci")
"""Of the published attack, whose scores no record has."""
FOLLOW = ("few-images", "duplicates", "constant", "reversed", "id-accuracy", "eot", "epsilon-monotone")
"""Checks whose number follows from scores, images or other numbers."""


def other(value):
    """Another value of the same type, near it."""
    if isinstance(value, bool) or value is None:
        return {True: False, False: True, None: 0.5}[value]
    if isinstance(value, dict):
        return {key: other(its) for key, its in value.items()} or {"k": 1}
    if isinstance(value, list):
        return [*value[:-1], other(value[-1])] if value else ["more"]
    return f"{value}x" if isinstance(value, str) else value + 1 if isinstance(value, int) else value + 1e-3


@pytest.mark.parametrize("part", ["rows", "averages"])
def test_no_field_of_a_row_can_be_edited(part):
    record = made.record(labels=["one"], sets=["noise"], n=20)
    entries = getattr(record, part)
    for name in (f.name for f in fields(Row)):
        given = getattr(entries[-1], name)
        if given is None and name == "passes_equal":
            given = {"id": [0.0, 0.0], "ood": [0.0, 0.0]}
        edited = last(entries, **{name: [0.0, 1.0] if given is None and name.endswith("_ci") else other(given)})
        found = list(contradictions_of(replace(record, **{part: edited})))
        assert found or name in STATED, name


@pytest.mark.parametrize("name", [f.name for f in fields(Indicator)])
def test_no_field_of_a_check_that_follows_from_something_can_be_edited(name):
    record = made.record()
    for check in FOLLOW:
        edited = [replace(i, **{name: other(getattr(i, name))}) if i.name == check else i for i in record.indicators]
        given = next(i.detail for i in record.indicators if i.name == check)
        if name != "detail" or given:
            assert list(of_verdicts(replace(record, indicators=edited))), check


def test_a_margin_that_no_noise_grants_is_found():
    record = made.record()
    for check in ("black-box", "convergence", "random", "unbounded"):
        edited = [
            replace(i, number=i.threshold + 0.3, detail={"margin": 0.5, "images": 16}) if i.name == check else i
            for i in record.indicators
        ]
        assert any(f"{check} has a margin of 0.5" in line for line in of_verdicts(replace(record, indicators=edited)))


def test_a_margin_of_noise_that_is_wider_than_its_threshold_decides_nothing():
    """It may be granted up to the threshold: beyond that the check must say how many images would decide."""
    record = made.record()
    noisy = {k: v if k.endswith("winner") else v.expand(10, -1) for k, v in record.scores.items()}

    def said(number, margin, **more):
        its = {"margin": margin, "images": 16, **more}
        edited = [replace(i, number=number, detail=its) if i.name == "black-box" else i for i in record.indicators]
        return [line for line in of_verdicts(replace(record, scores=noisy, indicators=edited)) if "black-box" in line]

    assert said(0.003, 0.0015) == []
    assert any("has a margin of 0.1, wider" in line for line in said(0.05, 0.1))
    assert any("black-box is inconclusive" in line for line in said(0.05, 0.1, needed=40_000))


@pytest.mark.parametrize(
    ("where", "said", "words"),
    [
        ("ID test: id", {"related": [[40, 0]]}, "related is no list of images"),
        ("ID test: id", {"related": 3}, "related is no list of images"),
        ("ID test: id", {"copies": [[3, 1]], "related": []}, "related has not all that are copies"),
        ("ID test: id", {"copies": [[3, 1]], "related": [[3, 2]]}, "related has not all that are copies"),
        ("OOD test: photos", {"shared": "x"}, "shared is 'x': expected OOD sets before it"),
        ("OOD test: photos", {"shared": {"noise": 4}}, "expected OOD sets before it, each with [image, its image]"),
        ("OOD test: photos", {"shared": {"noise": [[0, 40]]}}, "expected OOD sets before it"),
        ("OOD test: photos", {"shared": {"noise": [[0, 1], [0, 2]]}}, "expected OOD sets before it"),
        ("OOD test: photos", {"copies": [[3, 1]], "shared": {"noise": [[3, 0]]}}, "expected OOD sets before it"),
        ("OOD test: photos", {"shared": {"id": [[0, 0]]}}, "expected OOD sets before it"),
        ("OOD test: noise", {"shared": {"photos": [[0, 0]]}}, "expected OOD sets before it"),
    ],
)
def test_what_a_set_says_of_equal_images_can_be(where, said, words):
    record = made.record()
    edited = replace(record, data={**record.data, where: {**record.data[where], **said}})
    (line,) = contradictions_of(edited, resampled=False)
    assert words in line


def test_details_that_no_number_follows_from_are_one_line():
    record = made.record()
    edited = [replace(i, detail={"margin": 0.1, "images": 0}) if i.name == "random" else i for i in record.indicators]
    assert any("expected that of this check" in line for line in of_verdicts(replace(record, indicators=edited)))
    rows = last(record.rows, passes_equal={"id": [1.0, 1.0]})
    assert any("passes_equal" in line for line in contradictions_of(replace(record, rows=rows)))
