"""The page of a leaderboard, and the verb that makes it."""

import json
from dataclasses import replace

import pytest

from roodbench import cli
from roodbench.entry.file import Entry, gathered, text_of
from roodbench.report.board import boards_of
from roodbench.report.html import written
from roodbench.report.leaderboard import leaderboard
from tests.docs.pages import ROOT
from tests.roodbench.entry.made import entry, record
from tests.roodbench.report import synthetic
from tests.roodbench.report.reading import Tables

REPORTS = ROOT / "reports"
KEPT = ("leaderboard", "all-detectors", "ross-under-attack", "interval", "denoised", "certified")


def shown(entries, refused=None):
    return Tables(written(leaderboard(entries, refused or {})))


def test_the_lines_are_those_of_the_boards():
    entries = [entry("a", n=60, shift={"one": 2.0}), entry("b", labels=["weak"], budget=1, n=60)]
    (board,), found = boards_of(entries), shown(entries)
    assert found.heads["board-0"][:4] == ["detector", "rank", "worst case", "clean"]
    lines = found.lines["board-0"]
    assert [line.label for line in board.lines] == ["two", "one", "weak"]
    assert [line[1] for line in lines] == ["1", "2", "-"]
    for cells, line in zip(lines, board.lines, strict=True):
        low, high = (100 * end for end in line.worst.ci)
        assert cells[2] == f"{100 * line.worst.value:.1f} [{low:.1f}, {high:.1f}] {line.row.ood}"
        assert cells[3] == f"{100 * line.clean[line.row.ood].auroc:.1f}"
        assert (cells[0], cells[5]) == (f"{line.label} {line.entry}", "140")
    assert lines[-1][-2:] == ["not ranked", "another attack: budget 1"]
    assert "3 lines of 2 entries on 1 board." in found.text
    assert found.lines["boards"][0] == [
        *("made-up, no network, linf 8/255 60 id, 60 noise, 60 photos", "3", "2"),
        *(lines[0][2].rpartition(" ")[0], "two"),
    ]


def test_fewer_images_are_said():
    found = shown([entry("a", n=60), entry("b", n=30)])
    assert found.text.count("with more images or sets.") == 1
    assert "sets chosen by --ood" not in found.text
    assert "(sets chosen by --ood)" in shown([entry("a", ood=["noise", "photos"])]).text


def test_boards_of_other_images_of_the_same_names_are_said():
    found = entry("b")
    data = {k: {**v, "sha256": "1" * 64} for k, v in found.record.data.items()}
    shown_twice = shown([entry("a"), Entry("b", replace(found.record, data=data))])
    assert shown_twice.text.count("Another board has as many images of these names, of other content.") == 2
    assert "of other content" not in shown([entry("a"), entry("b", labels=["three"])]).text


def test_what_is_refused_is_shown_with_its_reason():
    found = shown([entry("a")], {"<b>bad</b>": "the AUROC of <i>x</i> is 0.1, the record's 0.9"})
    assert "1 file is refused." in found.text
    assert "<b>bad</b>: the AUROC of <i>x</i> is 0.1, the record's 0.9" in found.text


def test_names_with_html_are_text():
    found = shown([entry(synthetic.SCRIPT, labels=[synthetic.IMAGE, "plain"], sets=["<i>noise</i>"])])
    assert [tag for tag, _ in found.tags].count("script") == 1
    assert not {"img", "i"} & {tag for tag, _ in found.tags}
    assert any(line[0].startswith(synthetic.IMAGE) for line in found.lines["board-0"])


def test_code_of_ones_own_is_named():
    found = shown([entry("a", labels=["one"], detector=["mine.py:One"])])
    assert found.lines["board-0"][0][-1] == "code of its own: mine.py:One"


def test_one_file_adds_a_line(small_run, tmp_path, capsys):
    _, folder = small_run
    board, page = tmp_path / "board", tmp_path / "page.html"
    board.mkdir()
    assert cli.main(["leaderboard", str(board), "--add", str(folder), "-o", str(page)]) == 0
    assert capsys.readouterr().out == f"{page}\n"
    (file,) = board.iterdir()
    assert file.name == f"{folder.name}.json"
    assert {line[0].split()[0] for line in Tables(page.read_text()).lines["board-0"]} == {"median(gen)", "gen"}
    (board / "other.json").write_text(text_of(record()))
    assert cli.main(["leaderboard", str(board), "-o", str(page)]) == 0
    assert len(Tables(page.read_text()).lines["boards"]) == 2


def test_a_refused_file_is_a_line_and_exit_one(tmp_path, capsys):
    (tmp_path / "good.json").write_text(text_of(record()))
    edited = json.loads(text_of(record()))
    edited["rows"][0]["auroc"] = 0.99
    (tmp_path / "bad.json").write_text(json.dumps(edited))
    assert cli.main(["leaderboard", str(tmp_path), "-o", str(tmp_path / "page.html")]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "refused: bad: " in said
    assert "one on noise, clean: auroc is 0.99, its scores give 0.90" in said
    assert "bad" in Tables((tmp_path / "page.html").read_text()).text


@pytest.mark.parametrize("attack", ["none", "min", "max"])
def test_what_no_board_takes_is_not_put_into_one(attack, tmp_path, capsys):
    for name in ("board", "run"):
        (tmp_path / name).mkdir()
    whole = json.loads(text_of(record()))
    whole["config"]["attack"] = attack
    (tmp_path / "run" / "result.json").write_text(json.dumps(whole))
    page = tmp_path / "page.html"
    assert cli.main(["leaderboard", str(tmp_path / "board"), "--add", str(tmp_path / "run"), "-o", str(page)]) == 2
    said = capsys.readouterr().err
    assert f"its attack is {attack}" in said
    assert "expected a run with --attack both" in said
    assert not page.exists()
    assert not list((tmp_path / "board").iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    {
        (): "expected a folder of entries",
        ("nowhere",): "'nowhere' is no folder",
        ("empty",): "no entries in 'empty'",
        ("empty", "-o", "page.txt"): "expected a file that ends in .html",
        ("empty", "other", "--add", "x"): "expected one folder to put it into, not 2",
        ("empty", "--add", "x"): "no runs in",
    }.items(),
    ids=str,
)
def test_a_mistake_is_one_line(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert cli.main(["leaderboard", *arguments, "--out", str(tmp_path / "runs")]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


@pytest.mark.slow
def test_the_page_that_is_kept_is_that_of_the_entries():
    made = shown(*gathered([REPORTS / name for name in KEPT]))
    kept = Tables((REPORTS / "leaderboard" / "leaderboard.html").read_text(encoding="utf-8"))
    assert (kept.heads, kept.lines) == (made.heads, made.lines)
    assert "files are refused" not in kept.text


def test_an_entry_is_never_overwritten(small_run, tmp_path, capsys):
    _, folder = small_run
    (tmp_path / f"{folder.name}.json").write_text("mine")
    assert cli.main(["leaderboard", str(tmp_path), "--add", str(folder)]) == 2
    assert "an entry is never overwritten" in capsys.readouterr().err
