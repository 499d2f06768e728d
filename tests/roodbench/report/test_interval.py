"""Certificates of interval bounds on a page and beside runs, and that an edited one contradicts itself."""

import contextlib
import copy
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

import roodbench
from roodbench import RunConfig
from roodbench.certify.certificate import read
from roodbench.certify.coherent import check_coherent
from roodbench.certify.interval.config import IntervalConfig
from roodbench.certify.interval.run import certify_intervals
from roodbench.cli import main
from roodbench.entry.file import read as read_entry
from roodbench.report.bounded import Claims
from roodbench.report.certificate import certificate_page
from roodbench.report.compare import compare
from tests.roodbench.report.reading import Tables

EPS = 4 / 255
RUN = RunConfig(
    detector=("ebo", "msp"), ood=("unseen-digits", "photos"), limit=4, device="cpu", compile="off", steps=2, restarts=1
)
CONFIG = IntervalConfig(replace(RUN, attack="none", steps=None, restarts=None), (EPS, 0.031376))


@pytest.fixture(scope="module")
def made(tmp_path_factory, private_cache):
    """The record of a certification, and its folder."""
    return certify_intervals(CONFIG, out=tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def run(tmp_path_factory, private_cache):
    """A run of the same scores on the same images, and its folder."""
    return roodbench.run(replace(RUN, eps=(EPS,)), out=tmp_path_factory.mktemp("runs"), check=False)


def test_the_page_has_every_figure_and_claims_no_more(made):
    result, folder = made
    file = folder / "certificate.json"
    page = Tables(certificate_page(file))
    rows = {(row.detector, row.radius, row.ood, row.condition): row for row in result.rows}
    lines = page.lines["figures"]
    assert len(lines) == 2 * 2 * 2
    radii = dict(zip(("4/255", "0.031376"), CONFIG.radius, strict=True))
    for name, radius, ood, *areas, fpr in lines:
        for condition, area in zip(("min", "max", "both"), areas, strict=True):
            assert 0 <= 100 * rows[name, radii[radius], ood, condition].gauroc - float(area) + 1e-9 < 0.1
        assert 0 <= float(fpr) - 100 * rows[name, radii[radius], ood, "both"].gfpr95 + 1e-9 < 0.1
    worst = min(rows["ebo", EPS, ood, "both"].gauroc for ood in ("unseen-digits", "photos"))
    said = re.search(r"ebo keeps within 4/255 an AUROC of at least ([\d.]+)%", page.text)
    assert float(said[1]) == pytest.approx(100 * worst, abs=0.1)
    assert "no probability is in it, and nothing is said of other images [T32]" in page.text
    assert "certify --verify certificate.json Print again" in page.text
    assert "Seed that was printed" not in page.text
    assert hashlib.sha256(file.read_bytes()).hexdigest() in page.text


def edited(certificate, change):
    found = copy.deepcopy(certificate)
    change(found)
    return found


def bounds(found, radius=f"{EPS:.9g}"):
    return found["detectors"][0]["populations"]["digits"]["bounds"][radius]


EDITS = {
    "gauroc, 2, gauroc is": lambda c: c["gauroc"][2].update(gauroc=1.5),
    "gauroc is [": lambda c: c["gauroc"].pop(),
    "a score lies outside its own bounds": lambda c: bounds(c).update(lower=[99.0] * 4, upper=[100.0] * 4),
    "is tighter than at": lambda c: bounds(c, "0.031376").update(copy.deepcopy(bounds(c, "0"))),
    "claim is": lambda c: c.update(claim="robust"),
    "threat, radii is": lambda c: c["threat"].update(radii=[]),
    "threat, radii, 0 is": lambda c: c["config"].update(radius=[0.01, 0.031376]),
    "detectors is": lambda c: c["detectors"].pop(),
    "config, run, detector is": lambda c: c["config"]["run"].update(detector=["gen"]),
    "digits, images is": lambda c: c["detectors"][1]["populations"]["digits"]["images"].pop(),
    "populations, 0 is 'seen'": lambda c: [
        e.update(populations={"seen": e["populations"].pop("digits"), **e["populations"]}) for e in c["detectors"]
    ],
    "data names no ID test set": lambda c: c["data"].pop("ID test: digits"),
    "the certificate has no network": lambda c: c.pop("network"),
}


@pytest.mark.parametrize("sentence", EDITS)
def test_an_edited_certificate_contradicts_itself(made, sentence):
    with pytest.raises(ValueError, match="certificate 'x' contradicts itself: ") as caught:
        check_coherent(edited(read(made[1]), EDITS[sentence]), "x")
    assert sentence in str(caught.value)


def test_junk_anywhere_is_said_and_never_raises(made):
    certificate = read(made[1])

    def places(value, *way):
        yield way
        parts = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
        for key, part in parts:
            yield from places(part, *way, key)

    for way in list(places(certificate))[1:]:
        for junk in (None, [], {}, "x", 10**400):
            found = copy.deepcopy(certificate)
            inner = found
            for key in way[:-1]:
                inner = inner[key]
            inner[way[-1]] = junk
            with contextlib.suppress(ValueError):
                check_coherent({**found, "schema": certificate["schema"]}, "x")


def test_certified_stands_beside_the_run_of_the_same_score(made, run):
    result, folder = made
    found = compare({"run": run[0], "bounds": Claims.read(folder / "certificate.json", result.rows)})
    rows = {(r.detector, r.radius, r.condition): [] for r in result.rows}
    for row in result.rows:
        rows[row.detector, row.radius, row.condition].append(row.gauroc)
    attacked = {(r.detector, r.condition): r.auroc for r in run[0].averages if r.group == "all"}
    lines = {(line.detector, line.radius): line for line in found.lines}
    assert set(lines) == {(name, round(radius, 12)) for name in ("ebo", "msp") for radius in CONFIG.radius}
    for name in ("ebo", "msp"):
        line = lines[name, round(EPS, 12)]
        assert line.certified == pytest.approx(sum(rows[name, EPS, "both"]) / 2)
        assert line.attacked == pytest.approx(attacked[name, "both"])
        assert line.certified <= line.attacked <= line.clean
    assert not found.contradictions
    assert any(note.startswith("interval bounds: of these images") for note in found.notes)
    assert not any("each with probability" in note for note in found.notes)


def test_an_attack_below_a_bound_is_a_contradiction(made, run):
    certificate = edited(read(made[1]), lambda c: None)
    for entry in certificate["detectors"]:
        for name, population in entry["populations"].items():
            value = 2.0 if name == "digits" else 1.0
            population["bounds"] = {key: {"lower": [value] * 4, "upper": [value] * 4} for key in population["bounds"]}
    record = run[0]
    low = replace(record, scores={k: v if "/min" not in k else v - 99 for k, v in record.scores.items()})
    lines = compare({"run": low, "bounds": Claims(certificate, None)}).contradictions
    assert len(lines) == 2
    assert lines[0].startswith("CONTRADICTION: ")
    assert " at linf 4/255: certified 100.00 is above attacked 0.00" in lines[0]


def test_on_the_command_line(made, run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for place in (made[1], made[1] / "certificate.json"):
        assert main(["report", str(place)]) == 0
        assert capsys.readouterr().out == "certificate.html\n"
        assert Path("certificate.html").read_text() == certificate_page(made[1] / "certificate.json")
        assert main(["compare", str(place), str(run[1]), "--format", "json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert {line["detector"] for line in found["lines"]} == {"ebo", "msp"}
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "result.json").write_text((made[1] / "result.json").read_text())
    for verb in ("report", "compare"):
        assert main([verb, "alone"]) == 2
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("name", ["detector", "ood", "condition", "radius", "n_id", "auroc_clean", "gauroc", "gfpr95"])
def test_a_record_says_what_the_certificate_beside_it_gives(name, made, tmp_path, capsys):
    assert read_entry(made[1]).certificate
    for file in made[1].glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    record = json.loads((tmp_path / "result.json").read_text())
    value = record["rows"][0][name]
    record["rows"][0][name] = {"detector": "msp", "ood": "x", "condition": "both", "n_id": 5}.get(name, 0.5)
    assert record["rows"][0][name] != value
    (tmp_path / "result.json").write_text(json.dumps(record))
    words = f"is not of the run in result.json beside it: rows, 0, {name} is "
    with pytest.raises(ValueError, match=words):
        read_entry(tmp_path)
    assert main(["compare", str(tmp_path), str(made[1])]) == 2
    assert words in capsys.readouterr().err
