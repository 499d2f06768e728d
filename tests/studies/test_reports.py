"""The records under reports/ load, agree with their scores, and give the tables that lie beside them."""

import argparse
import hashlib
import json
import lzma
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from sklearn.metrics import roc_auc_score

from roodbench import Result
from roodbench.certify.certificate import SCHEMA
from roodbench.certify.coherent import incoherences
from roodbench.certify.interval.row import IntervalRow
from roodbench.certify.interval.run import interval_table
from roodbench.certify.result import CertifiedResult
from roodbench.certify.row import CertifiedRow
from studies import certified, denoised, frontier, interval, papers_figures, ross_under_attack
from studies.setting import area

REPORTS = Path(__file__).parents[2] / "reports"
CERTIFIED = sorted((REPORTS / "certified").glob("*/result.json"))
DENOISED, INTERVAL = (sorted((REPORTS / name).glob("*/result.json")) for name in ("denoised", "interval"))
BOUNDED = [file for file in INTERVAL if "median" not in file.parent.name]
SMOOTHED = [*CERTIFIED, *DENOISED, *(file for file in INTERVAL if file not in BOUNDED)]
EVALUATED = sorted(set(REPORTS.rglob("result.json")) - {*SMOOTHED, *BOUNDED})
SCORED = [file for file in EVALUATED if file.with_name("scores.safetensors").is_file()]


def name_of(file):
    return str(file.parent.relative_to(REPORTS))


def test_no_record_is_left_out():
    assert (len(CERTIFIED), len(EVALUATED), len(SCORED)) == (10, 43, 17)
    assert (len(DENOISED), len(INTERVAL), len(BOUNDED)) == (10, 12, 3)


@pytest.mark.parametrize("file", EVALUATED, ids=name_of)
def test_evaluations_load_and_show_their_tables(file):
    raw, record = json.loads(file.read_text()), Result.from_json(file.read_text())
    assert [row.auroc for row in record.rows] == [row["auroc"] for row in raw["rows"]]
    assert [i.name for i in record.indicators] == [i["name"] for i in raw["indicators"]]
    assert record.environment.revision == raw["environment"]["revision"]
    first = record.rows[0]
    assert f"{100 * first.auroc:.1f} [" in record.to_table()


@pytest.mark.parametrize(
    "file", [f for f in EVALUATED if f.parts[-3] in ("all-detectors", "ross-under-attack")], ids=name_of
)
def test_a_gap_of_before_is_one_at_equal_steps_and_shown_under_no_other_name(file):
    rows, record = json.loads(file.read_text())["rows"], Result.from_json(file.read_text())
    assert [row.adaptive_gap_steps for row in record.rows] == [row.get("adaptive_gap") for row in rows]
    assert [row.adaptive_gap_steps_ci for row in record.rows] == [row.get("adaptive_gap_ci") for row in rows]
    assert {row.adaptive_gap for row in record.rows} == {row.adaptive_gap_ci for row in record.rows} == {None}
    assert "adaptive gap" not in record.to_table()


@pytest.mark.parametrize("file", SCORED, ids=name_of)
def test_aurocs_follow_from_the_scores(file):
    record, scores = Result.load(file), load_file(file.with_name("scores.safetensors"))
    rows = [row for row in record.rows if row.condition == "both"]
    assert rows
    for row in rows:
        prefix = f"{row.detector}({row.base})/{row.eps:.6g}"
        id_scores = scores[f"{prefix}/{row.benchmark}/min"]
        ood_scores = scores[f"{prefix}/{row.ood}/max"]
        labels = np.repeat([1, 0], [row.n_id, row.n_ood])
        oracle = [roc_auc_score(labels, np.concatenate(draw)) for draw in zip(id_scores, ood_scores, strict=True)]
        assert row.auroc == pytest.approx(np.mean(oracle), abs=1e-9)
        assert area(record, row).value == pytest.approx(row.auroc, abs=1e-9)


@pytest.mark.parametrize("file", SMOOTHED, ids=name_of)
def test_certifications_load(file):
    raw = json.loads(file.read_text())["rows"]
    rows = [CertifiedRow(**row) for row in raw]
    assert rows
    for row, entry in zip(rows, raw, strict=True):
        assert entry.items() <= asdict(row).items()
        assert row.gauroc <= (row.auroc_attacked if row.auroc_attacked is not None else row.auroc_clean)


@pytest.mark.parametrize("file", BOUNDED, ids=name_of)
def test_interval_bounds_load(file):
    rows = [IntervalRow(**row) for row in json.loads(file.read_text())["rows"]]
    assert all(row.gauroc - 1e-12 <= row.auroc_attacked <= row.auroc_clean for row in rows)


@pytest.mark.parametrize("file", [*DENOISED, *INTERVAL], ids=name_of)
def test_tables_are_those_of_the_records_beside_them(file):
    """So that what is certified is rounded as it is today."""
    text = file.read_text()
    rows = [IntervalRow(**row) for row in json.loads(text)["rows"]] if file in BOUNDED else []
    table = interval_table(rows) if file in BOUNDED else CertifiedResult.from_json(text).to_table()
    assert file.with_name("table.txt").read_text() == table + "\n"


@pytest.mark.parametrize(("study", "names"), [(denoised, DENOISED), (interval, BOUNDED)], ids=["denoised", "interval"])
def test_studies_of_certificates_give_their_tables(study, names, tmp_path):
    folder = names[0].parents[1]
    for file in folder.glob("*/result.json"):
        (tmp_path / file.parent.name).mkdir()
        (tmp_path / file.parent.name / file.name).write_bytes(file.read_bytes())
    study.write_table(tmp_path, [name for name, _ in study.configs(options())])
    assert (tmp_path / "results.md").read_text() == (folder / "results.md").read_text()


def options(**given):
    usual = {"data_root": Path("D"), "weights": Path("W"), "images": 50, "samples": 2000, "device": "cpu"}
    own = {"denoisers": [Path("agreement"), Path("mixed")], "out": REPORTS / "interval"}
    return argparse.Namespace(**{**usual, **own, **given})


def test_the_certified_study_gives_its_tables(tmp_path):
    folder, names = REPORTS / "certified", [name for name, _ in certified.configs(options())]
    assert sorted(names) == [file.parent.name for file in CERTIFIED]
    for file in CERTIFIED:
        (tmp_path / file.parent.name).mkdir()
        (tmp_path / file.parent.name / file.name).write_bytes(file.read_bytes())
    certified.write_table(tmp_path, names)
    for table in ("results.md", "operating.md"):
        assert (tmp_path / table).read_text() == (folder / table).read_text()


@pytest.mark.parametrize("file", CERTIFIED, ids=name_of)
def test_certificates_are_the_records_and_the_pages(file):
    kept = lzma.decompress(file.with_name("certificate.json.xz").read_bytes())
    certificate, record = json.loads(kept), json.loads(file.read_text())
    assert hashlib.sha256(kept).hexdigest() in file.with_name("certificate.html").read_text()
    assert certificate["schema"] == SCHEMA
    for name in ("config", "environment", "operating", "network", "data", "code"):
        assert certificate[name] == record[name]
    for row, whole in zip(certificate["gauroc"], record["rows"], strict=True):
        assert row.pop("deployed") == whole["deployed"]["certified"]
        assert row.items() <= whole.items()


@pytest.mark.slow
@pytest.mark.parametrize("file", CERTIFIED, ids=name_of)
def test_certificates_agree_with_themselves(file):
    assert list(incoherences(json.loads(lzma.decompress(file.with_name("certificate.json.xz").read_bytes())))) == []


def test_the_study_of_ross_gives_its_table(tmp_path):
    folder = REPORTS / "ross-under-attack"
    given = options(bases="gen,fdbd", detectors="pro,ross", images=100, larger_eps=[])
    configs = dict(ross_under_attack.configs(given))
    assert sorted(configs) == sorted(file.parent.name for file in folder.glob("*/result.json"))
    for file in folder.glob("*/*"):
        (tmp_path / file.parent.name).mkdir(exist_ok=True)
        (tmp_path / file.parent.name / file.name).write_bytes(file.read_bytes())
    ross_under_attack.write_table(tmp_path, list(configs))
    assert (tmp_path / "results.md").read_text() == (folder / "results.md").read_text()


def test_the_study_of_ross_asks_for_what_its_records_were_made_with():
    given = options(bases="gen,fdbd", detectors="pro,ross", images=100, larger_eps=[])
    for name, config in ross_under_attack.configs(given):
        kept = json.loads((REPORTS / "ross-under-attack" / name / "result.json").read_text())["config"]
        asked = asdict(config)
        for key in (
            "detector",
            "base",
            "params",
            "protocol",
            "eps",
            "ood",
            "model",
            "limit",
            "space",
            "method",
            "seed",
        ):
            assert json.loads(json.dumps(asked[key])) == kept[key], f"{name}: {key}"


def test_the_frontier_is_drawn_from_its_table():
    folder = REPORTS / "frontier"
    heading, _, *lines = (folder / "results.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert heading == f"| {' | '.join((*frontier.COLUMNS, *frontier.CONDITIONS))} |"
    assert (folder / "frontier.svg").read_text() == frontier.figure(rows)


def test_the_papers_figures_give_their_tables():
    folder = REPORTS / "papers-figures"
    text = (folder / "README.md").read_text()
    assert "\n".join(papers_figures.tables(folder)) + "\n" == (folder / "results.md").read_text()
    made = dict(papers_figures.papers_tables(folder))
    assert {name: (folder / name).read_text() for name in made} == made
    named = {file.name for ending in ("*.*g", "pro-table-*") for file in folder.glob(ending)}
    assert set(re.findall(r"\((pro-.*?|ross-[\w.-]+)\)", text)) == named
