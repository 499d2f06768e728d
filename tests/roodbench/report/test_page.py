"""The page of a record: its numbers are the table's, its names are text, and it needs nothing else."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from roodbench import Result, cli
from roodbench.certify.config import CertifyConfig
from roodbench.certify.table import cells_of as certified_cells
from roodbench.certify.table import certified_table
from roodbench.record.row import CORRUPTED
from roodbench.record.table import cells_of, checks_table, table
from roodbench.report.html import page
from roodbench.report.read import Kept, read
from tests.roodbench.report import synthetic
from tests.roodbench.report.reading import Tables
from tests.roodbench.report.small import several

REPORTS = Path(__file__).parents[3] / "reports"
CERTIFIED = sorted((REPORTS / "certified").glob("*/result.json"))
PAGES = sorted(REPORTS.rglob("report.html"))
EVALUATED = sorted(
    set(REPORTS.glob("all-detectors/*/result.json")) | set(REPORTS.glob("ross-under-attack/*/result.json"))
)


def name_of(file):
    return str(file.parent.relative_to(REPORTS))


def shown(record):
    return Tables(page(Kept("record", record, {})))


def check_numbers(found, record):
    """The page's lines are those of the table that a run prints, and its verdict is lines of it."""
    columns, lines = cells_of(record)
    printed = {tuple(re.split(r"\s{2,}", text.strip())) for text in table(record).splitlines()}
    assert found.heads["lines"] == [*columns, "trust"]
    assert [line[:-1] for line in found.lines["lines"]] == lines
    whole = {tuple(line) for line in lines}
    assert whole <= printed
    conditions = [name for name in columns if name in found.heads["verdict"]]
    for line in found.lines["verdict"]:
        its = dict(zip(found.heads["verdict"], line, strict=True))
        gap = its.get("adaptive gap", "").split(" [")[0]
        wanted = {name: its[name] if name != "adaptive gap" else gap for name in conditions}
        assert any(all(dict(zip(columns, w, strict=True))[n] == v for n, v in wanted.items()) for w in whole)


@pytest.mark.parametrize("file", EVALUATED, ids=name_of)
def test_records_of_runs_are_shown_with_the_numbers_of_their_tables(file):
    kept = read(file.parent if "ross" in str(file) else file)
    found = Tables(page(kept))
    check_numbers(found, kept.record)
    assert "not kept: the record lies alone" in found.text
    assert ("Who won" in found.text) == bool(kept.record.attacks)


@pytest.mark.parametrize("condition", ["min", "max", "both"])
def test_the_key_of_histograms_names_what_was_attacked(condition):
    rows = [row for row in several().rows if row.condition in ("clean", condition)]
    said = shown(replace(several(), rows=rows, averages=[])).text
    assert ("ID attacked" in said, "OOD attacked" in said) == (condition != "max", condition != "min")


@pytest.mark.parametrize(("auroc", "words"), [(None, "nothing attacked. "), (0.9, "attacked: by the suite")])
def test_a_certification_without_an_attack_speaks_of_none(auroc, words):
    rows = [replace(row, auroc_attacked=auroc) for row in read(CERTIFIED[0]).record.rows]
    assert words in certified_table(rows, [], CertifyConfig())


@pytest.mark.parametrize("file", CERTIFIED, ids=name_of)
def test_records_of_certifications_are_shown_with_the_numbers_of_their_tables(file):
    kept = read(file.parent)
    found, (columns, lines) = Tables(page(kept)), certified_cells(kept.record.rows)
    assert found.heads["lines"] == columns
    assert found.lines["lines"] == lines
    printed = {
        tuple(re.split(r"\s{2,}", text.strip())) for text in certified_table(kept.record.rows, (), None).splitlines()
    }
    assert {tuple(line) for line in lines} <= printed
    for line, whole in zip(found.lines["verdict"], lines, strict=True):
        its = dict(zip(found.heads["verdict"], line, strict=True))
        assert [its["detector"], its["radius"], its["OOD set"], its["clean"]] == whole[:4]
        attacked = [whole[4 + k].split(" <= ")[1] for k in range(3)]
        assert [its[f"attacked {c}"] for c in ("min", "max", "both")] == attacked
        assert its["certified both"] == whole[6].split(" <= ")[0]


def test_the_gap_marks_and_verdicts_of_a_made_up_record():
    record = synthetic.record(["one", "two", "three"], ["noise", "photos"], [4 / 255, 8 / 255], n=40)
    found = shown(record)
    check_numbers(found, record)
    verdict = [dict(zip(found.heads["verdict"], line, strict=True)) for line in found.lines["verdict"]]
    assert [line["trust"] for line in verdict] == [
        *["inconclusive convergence"] * 2,
        *["not judged its checks did not run"] * 2,
        *["unreliable black-box"] * 2,
    ]
    assert {line["adaptive gap"] for line in verdict} == {"6.2 [3.0, 9.0]"}
    assert all(line["both"].endswith("*") == ("unreliable" in line["trust"]) for line in verdict)
    assert "Of 6 lines of the verdict 2 inconclusive, 2 not judged, 2 unreliable." in found.text
    assert "Checks that failed: black-box." in found.text


@pytest.mark.parametrize(
    ("conditions", "words"),
    {
        ("clean", "min"): " keeps the highest AUROC under attack at eps 8/255 (min): ",
        ("clean", "max"): " keeps the highest AUROC under attack at eps 8/255 (max): ",
        ("clean", "corrupted", "worst"): " keeps the highest AUROC under the worst corruption: ",
        ("clean",): " keeps the highest AUROC without an attack: ",
    }.items(),
    ids=str,
)
def test_records_of_other_conditions(conditions, words):
    record = synthetic.record(["one", "two", "three"], ["noise"], [8 / 255], n=20)

    def chosen(rows):
        found = [row for row in rows if row.condition in conditions]
        for place, name in enumerate(c for c in conditions if c in CORRUPTED):
            lower = 0.9 - place / 4
            clean = [row for row in rows if row.condition == "clean"]
            found += [replace(row, condition=name, auroc=lower * row.auroc, auroc_ci=[0.5, 0.75]) for row in clean]
        return found

    attacks = [entry for entry in record.attacks if entry.condition in conditions]
    rows, averages = chosen(record.rows), chosen(record.averages)
    found = shown(replace(record, rows=rows, averages=averages, attacks=attacks))
    check_numbers(found, replace(record, rows=rows, averages=averages))
    assert words in found.text
    assert found.heads["verdict"][:2] == ["detector", "eps" if len(conditions) == 2 else "clean"]


def test_checks_are_those_that_check_prints():
    record = synthetic.record(["one", "two"], ["noise"], [8 / 255], n=20)
    printed = {tuple(re.split(r"\s{2,}", line.strip())) for line in checks_table(record.indicators).splitlines()}
    found = shown(record)
    names = {line[2] for line in printed if len(line) == 6}
    for checked, eps, number, threshold, verdict, _ in found.lines["checks"]:
        assert any((checked, eps, name, number, threshold, verdict) in printed for name in names)
    assert len(found.lines["checks"]) == len(record.indicators)
    failed = [line for line in found.lines["checks"] if line[4] == "FAILED"]
    assert [line[5] for line in failed] == [synthetic.MESSAGE]
    assert found.lines["checks"][0] == failed[0]


def test_images_won_are_those_of_the_record():
    record = synthetic.record(["one", "two"], ["noise"], [8 / 255], n=20)
    found = shown(record)
    for place, label in enumerate(("one", "two")):
        its = [entry for entry in record.attacks if entry.detector == label]
        heads = found.heads[f"winners-{place}"]
        for line, entry in zip(found.lines[f"winners-{place}"], its, strict=True):
            cells = dict(zip(heads, line, strict=True))
            assert {name: int(cells[name]) for name in entry.components} == entry.wins
            assert cells["passes an image"] == "140"


def test_names_with_html_are_text(hostile_page):
    found = Tables(hostile_page)
    for name in (synthetic.SCRIPT, synthetic.IMAGE, synthetic.MESSAGE, "<i>noise</i>", "--detector '<b>mine</b>'"):
        assert " ".join(name.split()) in found.text
    assert not {"b", "i"} & {tag for tag, _ in found.tags}
    assert all(a["src"].startswith("data:image/png;base64,") for tag, a in found.tags if tag == "img")
    assert [tag for tag, _ in found.tags].count("script") == 1
    assert "roodbench --detector" in found.text


def test_the_page_names_no_other_place(hostile_page):
    found = Tables(hostile_page)
    for tag, attributes in found.tags:
        assert tag not in ("iframe", "object", "embed", "base")
        for name in ("src", "href", "action", "data", "srcset"):
            assert (attributes.get(name) or "#").startswith(("#", "data:,", "data:image/png;base64,"))
    assert "http:" not in hostile_page + hostile_page.replace("https:", "http:")
    assert "@import" not in hostile_page
    assert "default-src 'none'" in hostile_page


def test_tables_say_what_they_are(hostile_page):
    tags = Tables(hostile_page).tags
    tables = [t for t, _ in tags].count("table")
    assert tables == [t for t, _ in tags].count("caption") == 6
    assert all("scope" in attributes for tag, attributes in tags if tag == "th")
    assert all(a.get("aria-label") or a.get("aria-hidden") for tag, a in tags if tag == "svg")


@pytest.mark.parametrize("detectors", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_twenty_detectors_fit_into_three_megabytes(detectors):
    radii = [k / 255 for k in (1, 2, 4, 8, 16)]
    text = page(Kept("many", synthetic.record([f"detector-{k}" for k in range(detectors)], list("abcdef"), radii), {}))
    assert len(text.encode()) < 20e3 + detectors * 140e3 < 3e6
    assert len(Tables(text).lines["lines"]) == detectors * 5 * 7


@pytest.mark.parametrize("file", PAGES, ids=name_of)
def test_pages_that_are_kept_are_those_of_the_records_beside_them(file):
    assert file.stat().st_size < 300e3
    kept, made = Tables(file.read_text(encoding="utf-8")), Tables(page(read(file.parent)))
    assert (kept.heads, kept.lines) == (made.heads, made.lines)


def test_what_a_record_lacks_is_said_in_a_line():
    record = synthetic.record(["one"], ["noise"], [8 / 255], n=20)
    clean = [row for row in record.rows if row.condition == "clean"]
    bare = replace(record, rows=clean, averages=[], attacks=[], indicators=[], scores={}, detectors=[])
    text = shown(bare).text
    for words in (
        "one has an AUROC without an attack of ",
        "It is reliable.",
        "one radius or none",
        "read without its scores",
        "There was no attack.",
        "This record has no checks.",
        "This record keeps no images",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    {
        (): "expected a run's folder, its result.json, a name",
        ("nothing-here",): "no runs in",
        ("empty/",): "'empty' has no result.json: expected a run's folder or its record",
        ("begun",): "'begun' has no result.json: stopped before its end",
        ("words.json",): "it is not JSON",
        ("other.json",): "schema version None: expected 1",
        ("no/such/place",): "'no/such/place' has no result.json",
        ("words.json", "-o", "page.json"): "--output 'page.json': expected a file that ends in .html",
        ("words.json", "-o", "a.html"): "--output 'a.html' is a folder",
    }.items(),
    ids=str,
)
def test_a_mistake_is_one_line(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "begun", "a.html"):
        (tmp_path / folder).mkdir()
    (tmp_path / "begun" / "manifest.json").write_text("{}")
    (tmp_path / "words.json").write_text("words")
    (tmp_path / "other.json").write_text("{}")
    assert cli.main(["report", *arguments, "--out", str(tmp_path / "runs")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err
    assert said.err.startswith("roodbench: error: ")
    assert said.err.count("\n") == 1


def test_without_jinja2_the_line_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    folder = str(EVALUATED[0].parent)
    assert cli.main(["report", folder, "-o", str(tmp_path / "page.html")]) == 2
    assert capsys.readouterr().err == "roodbench: error: report needs jinja2: pip install 'roodbench[report]'\n"


def test_scores_of_another_record_are_refused(tmp_path, capsys):
    one, other = (synthetic.record(["one"], ["noise"], [8 / 255], n=n) for n in (20, 30))
    one.save(tmp_path)
    replace(other, scores=other.scores).save(tmp_path / "other")
    (tmp_path / "other" / "scores.safetensors").replace(tmp_path / "scores.safetensors")
    assert cli.main(["report", str(tmp_path), "-o", str(tmp_path / "page.html")]) == 2
    assert "is not of the run in result.json beside it" in capsys.readouterr().err


def test_a_certification_that_cannot_be_is_refused(tmp_path, capsys):
    record = json.loads((REPORTS / "certified/digits-gen-0.25/result.json").read_text())
    record["rows"][0]["gauroc"] = 1.0
    (tmp_path / "result.json").write_text(json.dumps(record))
    assert cli.main(["report", str(tmp_path), "-o", str(tmp_path / "page.html")]) == 2
    assert "result.json' is not as a run wrote it: " in (said := capsys.readouterr().err)
    assert "certified 1 is above auroc_clean" in said


def test_a_run_is_found_by_its_name_and_its_command_is_shown(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quick = ["--detector", "gen", "--attack", "none", "--limit", "8", "--ood", "noise", "--out", "runs", "--quiet"]
    monkeypatch.setattr("sys.argv", ["/usr/bin/roodbench", *quick, "a b"])
    assert cli.main(quick) == 0
    (folder,) = Path("runs").iterdir() if not Path("runs/cells").exists() else Path("runs").glob("digits-*")
    capsys.readouterr()
    assert cli.main(["report", folder.name[:8], "--out", "runs"]) == 0
    assert capsys.readouterr().out == "report.html\n"
    found = Tables(Path("report.html").read_text())
    check_numbers(found, Result.load(folder))
    assert "roodbench --detector gen --attack none --limit 8 --ood noise --out runs --quiet 'a b'" in found.text
