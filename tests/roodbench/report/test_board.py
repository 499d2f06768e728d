"""Boards: what stands on one, who is ranked, and what a cheater's line says."""

from dataclasses import replace

import pytest
import torch

from roodbench.entry.consistency import contradictions_of
from roodbench.entry.file import Entry
from roodbench.evaluation.indicators import verdict_of
from roodbench.metrics import auroc
from roodbench.report.board import boards_of, title_of
from tests.roodbench.entry.made import entry, recomputed, record, said


def changed(name="a", environment=None, data=None, **settings):
    """An entry with another environment, or other images."""
    found = record(**settings)
    if environment:
        found = replace(found, environment=replace(found.environment, **environment))
    if data:
        found = replace(found, data={k: {**v, "sha256": data} for k, v in found.data.items()})
    return Entry(name, found)


def only(entries):
    (board,) = boards_of(entries)
    return board


def test_the_worst_case_is_the_lowest_auroc_over_the_sets():
    found = entry(labels=["one"], sets=["noise", "photos"])
    (line,) = only([found]).lines
    scores = found.record.scores
    areas = {
        ood: auroc(scores["one/0.0313725/id/min"].numpy(), scores[f"one/0.0313725/{ood}/max"].numpy())
        for ood in ("noise", "photos")
    }
    assert line.worst.value == min(areas.values())
    assert line.row.ood == min(areas, key=areas.get)
    assert line.worst.low < line.worst.value < line.worst.high


def test_ranks_are_ranges_and_the_best_comes_first():
    found = entry(labels=["one", "two", "three"], n=100, shift={"one": 1.5, "two": 0.0, "three": 0.02})
    (field,) = only([found]).fields
    assert [line.label for line in field.lines][-1] == "one"
    assert [line.rank for line in field.lines] == [(1, 1, 2), (2, 1, 2), (3, 3, 3)]
    values = [line.worst.value for line in field.lines]
    assert values == sorted(values, reverse=True)


def test_one_detector_alone_has_no_rank():
    assert [line.rank for line in only([entry(labels=["one"])]).lines] == [None]


@pytest.mark.parametrize(
    "other",
    {
        "radius": {"radii": [4 / 255]},
        "images": {"data": "1" * 64},
        "fewer images": {"n": 30},
        "a set less": {"sets": ["noise"]},
        "network": {"network_sha256": "1" * 64},
        "threat": {"threat": "known-seed"},
    }.items(),
    ids=lambda item: item[0],
)
def test_nothing_is_ranked_across_boards(other):
    found = boards_of([entry("a", labels=["one"]), changed("b", labels=["two"], **other[1])])
    assert [[line.label for line in board.lines] for board in found] in ([["one"], ["two"]], [["two"], ["one"]])
    assert all(line.rank is None for board in found for line in board.lines)


@pytest.mark.parametrize("other", [{"environment": {"code": "other"}}, {"strength": "strong"}], ids=str)
def test_other_code_or_strength_is_another_list_of_the_board(other):
    board = only([entry("a"), changed("b", labels=["three"], **other)])
    assert [[line.label for line in field.lines] for field in board.fields] == [["one", "two"], ["three"]]
    assert board.fields[1].lines[0].rank is None


CHEATS = {
    "a small budget": ({"budget": 1}, "another attack: budget 1"),
    "few steps": ({"steps": 1, "restarts": 1}, "another attack: steps 1, restarts 1"),
    "one objective": ({"objective": "mean"}, "another attack: objective mean"),
    "a lucky seed": ({"seed": 7}, "another attack: seed 7"),
    "a published protocol": ({"protocol": "ross-2026"}, "another attack: protocol ross-2026"),
    "coarse images": ({"quantize": True}, "another attack: quantize True"),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_another_attack_has_no_rank_and_says_why(cheat):
    settings, words = CHEATS[cheat]
    board = only([entry("a"), entry("b", labels=["cheat"], shift={"cheat": -9.0}, **settings)])
    (line,) = board.unranked
    assert (line.label, line.reasons) == ("cheat", [words])
    assert [line.label for field in board.fields for line in field.lines] == ["one", "two"]


def flagged(reliable):
    """An entry whose attack failed a check, or was not judged."""
    found = record(labels=["bad"], shift={"bad": -9.0})
    if reliable is None:
        checks = [i for i in found.indicators if i.name not in ("random", "black-box")]
    else:
        _, said = verdict_of("bad", "black-box", 1.0, {})
        failed = {"number": 1.0, "passed": False, "message": said}
        checks = [replace(i, **failed) if i.name == "black-box" else i for i in found.indicators]
    return Entry("b", recomputed(replace(found, indicators=checks)))


@pytest.mark.parametrize(
    ("reliable", "words"),
    {False: "failed black-box: an upper bound only", None: "not judged: its checks did not run"}.items(),
)
def test_unreliable_lines_are_kept_and_have_no_rank(reliable, words):
    bad = flagged(reliable)
    assert list(contradictions_of(bad.record)) == []
    (line,) = only([entry("a"), bad]).unranked
    assert (line.label, line.reasons, line.rank) == ("bad", [words], None)


def test_deleted_checks_are_not_passed_ones():
    found = record(labels=["bad"])
    left = replace(found, indicators=[i for i in found.indicators if i.about != "attack"])
    (line,) = only([Entry("b", left)]).unranked
    assert line.reasons == ["not judged: it has no feasibility, black-box, random"]


def test_of_a_detector_that_is_handed_in_twice_the_lower_counts():
    board = only([entry("first", shift={"one": 0.5}), entry("lucky", labels=["one"], shift={"one": 0.4})])
    (line,) = board.unranked
    assert (line.entry, line.reasons) == ("lucky", ["the same detector again: in first less is left of it"])


def test_a_record_without_scores_is_shown_and_not_ranked():
    (board,) = boards_of([Entry("old", replace(record(labels=["one"]), scores={}))])
    (line,) = board.unranked
    assert line.reasons == ["without scores: its AUROCs cannot be computed again, nor compared"]
    assert line.worst.ci == line.row.auroc_ci


def test_titles():
    board = only([entry(labels=["one"])])
    assert title_of(board) == "made-up, no network, linf 8/255"
    assert title_of(replace(board, space="normalized", eps=0.00787, threat="known-seed")) == (
        "made-up, no network, linf 2.01/255, normalized space, known-seed"
    )


def test_draws_of_one_detector_and_none_of_the_other_are_compared():
    found = record(labels=["one", "two"], n=100, shift={"one": 1.5})
    scores = {
        key: value if "two/" not in key or key.endswith("winner") else value + 0.01 * torch.arange(10)[:, None]
        for key, value in found.scores.items()
    }
    board = only([Entry("a", said(replace(found, scores=scores)))])
    assert [line.rank for line in board.lines] == [(1, 1, 1), (2, 2, 2)]


def with_copies(found, copies):
    return replace(found, data={k: {**v, "copies": copies} for k, v in found.data.items()})


def test_an_entry_that_says_that_images_repeat_is_no_reason_for_others_to_lose_their_ranks():
    """The same hash and other copies: nothing is paired."""
    other = recomputed(with_copies(record(labels=["three"]), [[1, 0], [5, 0]]))
    assert list(contradictions_of(other)) == []
    boards = boards_of([entry("a"), Entry("b", other)])
    assert sorted(len(board.lines) for board in boards) == [1, 2]
    for wrong in ([[1, 1]], [[0, 1]], [[40, 0]], [[1, 0], [1, 0]], [[1, 0], [2, 1]], [[1]], "none", [[True, 0]]):
        assert "copies is no list of images" in next(contradictions_of(with_copies(other, wrong)))


def test_an_entry_of_other_draws_has_no_rank():
    """Of so few draws nothing is paired with those of a run."""
    found, few = record(labels=["one", "two"]), record(labels=["three"])

    def drawn(record, R):
        scores = {
            k: v if k.endswith("winner") else v[:1] + 0.01 * torch.arange(R)[:, None] for k, v in record.scores.items()
        }
        return said(replace(record, scores=scores))

    board = only([Entry("a", drawn(found, 10)), Entry("b", drawn(few, 5))])
    (line,) = board.unranked
    assert (line.label, line.reasons) == ("three", ["scores of 5 draws: expected 1 or 10"])
