"""Several runs on one page: each number is that of its own run, and what cannot share a page is one line."""

from dataclasses import replace

import pytest

from roodbench import cli
from roodbench.entry.file import text_of
from roodbench.record.pairs import check_scores
from roodbench.report.html import page
from roodbench.report.joined import joined
from roodbench.report.read import Kept, read
from tests.docs.pages import ROOT
from tests.roodbench.entry.made import record
from tests.roodbench.report.reading import Tables


def kept(name="a", found=None, **settings):
    return Kept(name, found or record(**settings), {})


def test_the_page_has_the_lines_of_all():
    runs = [kept("a"), kept("b", labels=["three"])]
    its = joined(runs)
    check_scores(its.record)
    assert its.name == "a, b"
    assert its.record.config["detector"] == ["one", "two", "three"]
    assert its.record.rows == [row for run in runs for row in run.record.rows]
    assert its.record.averages == [row for run in runs for row in run.record.averages]
    assert its.record.timing.seconds == sum(run.record.timing.seconds for run in runs)
    shown, alone = (Tables(page(k)).lines["verdict"] for k in (its, runs[1]))
    assert shown[-len(alone) :] == alone
    assert joined(runs[:1]) is runs[0]


def test_checks_of_data_and_network_stand_once():
    its = joined([kept("a"), kept("b", labels=["three"])]).record
    places = [(i.detector, i.name, i.eps) for i in its.indicators]
    assert len(places) == len(set(places))
    assert {i.detector for i in its.indicators} >= {"one", "two", "three"}


def test_one_without_scores_leaves_all_without():
    bare = kept("b", replace(record(labels=["three"]), scores={}, scores_sha256=None))
    assert joined([kept("a"), bare]).record.scores == {}


def other(**changes):
    found = record(labels=["three"])
    return kept("b", replace(found, **{name: change(getattr(found, name)) for name, change in changes.items()}))


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (lambda: kept("b"), "'a' and 'b' both have one: expected each detector once"),
        (lambda: kept("b", labels=["three"], strength="strong"), "differ in config strength (quick, strong)"),
        (lambda: kept("b", labels=["three"], n=30), "differ in data ID test: id, images (40, 30)"),
        (lambda: other(environment=lambda env: replace(env, code="other")), "differ in code ("),
        (lambda: kept("b", read(ROOT / "reports" / "denoised" / "digits-bare-0.25").record), "is no record of `run`"),
    ],
    ids=["twice", "strength", "images", "code", "a certification"],
)
def test_what_cannot_share_a_page_is_one_line(second, words):
    with pytest.raises(ValueError, match="expected") as error:
        joined([kept("a"), second()])
    assert words in str(error.value)


def test_the_verb_takes_entries_of_a_leaderboard(tmp_path, capsys):
    for name, labels in (("a", ["one", "two"]), ("b", ["three"])):
        (tmp_path / f"{name}.json").write_text(text_of(record(labels=labels)))
    files, out = [str(tmp_path / f"{name}.json") for name in "ab"], tmp_path / "page.html"
    assert cli.main(["report", *files, "-o", str(out)]) == 0
    assert {line[0].split()[0] for line in Tables(out.read_text()).lines["verdict"]} == {"one", "two", "three"}
    assert cli.main(["table", *files, "--condition", "clean"]) == 0
    assert "| three |" in capsys.readouterr().out
    assert cli.main(["report", files[0], files[0], "-o", str(out)]) == 2
    assert "is given twice" in capsys.readouterr().err
