"""The page of a certificate: no more than the certificate claims, names as text, and where it comes from."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from roodbench.certify.certificate import code_in
from roodbench.certify.stated import UNVERIFIED
from roodbench.cli import main
from roodbench.report.certificate import certificate_page
from roodbench.report.wording import ASSUMED, EXCLUDED, FIGURES, VERIFIED
from tests.roodbench.report.claims import certificate, data_of
from tests.roodbench.report.reading import Tables

ROOT = Path(__file__).parents[3]
THEOREMS = (ROOT / "docs/theorems.md").read_text(encoding="utf-8")


def page_of(found, folder):
    """The page of a certificate, by way of its file."""
    file = folder / "certificate.json"
    file.write_text(json.dumps(found))
    return Tables(certificate_page(file))


@pytest.fixture(scope="module")
def whole():
    return certificate()


@pytest.fixture(scope="module")
def shown(whole, tmp_path_factory):
    return page_of(whole, tmp_path_factory.mktemp("page"))


def test_every_figure_is_the_certificates_and_rounded_to_claim_less(whole, shown):
    lines = shown.lines["figures"]
    rows = {(r["detector"], r["radius_l2"], r["ood"], r["condition"]): r for r in whole["gauroc"]}
    assert len(lines) == len(rows) / 3 == 8
    for label, radius, ood, *cells in lines:
        for figure, cell in zip(FIGURES, cells, strict=True):
            value = rows[label.partition("(")[0], float(radius), ood, figure.condition][figure.key]
            gap = 100 * value - float(cell)
            assert -1e-6 <= (gap if figure.least else -gap) < 0.1 - 1e-6
    heads = shown.heads["figures"]
    assert [name for name in heads if "copies" in name] == ["AUROC, 300 copies", "AUROC, 25 copies"]


def test_the_verdict_is_the_worst_set_at_every_radius_and_if_it_holds(whole, shown):
    areas, rates = {}, {}
    for row in whole["gauroc"]:
        if (row["detector"], row["condition"]) == ("ross", "both"):
            areas.setdefault(row["radius_l2"], []).append(100 * row["gauroc_joint"])
    for at in whole["operating"][1]["points"][1:]:
        rates[at["radius_l2"]] = 100 * at["tpr"], 100 * max(at["fpr"].values())
    for radius, found in areas.items():
        words = (
            rf"ross\(gen\) keeps .*?within {radius:g} an AUROC of at least (.*?)%, at its threshold a TPR of at least "
        )
        parts = re.search(words + "(.*?)% and an FPR of at most (.*?)%", shown.text)
        assert [float(part) for part in parts.groups()] == pytest.approx([min(found), *rates[radius]], abs=0.1)
    assert "What this certificate claims, if it holds; verification tests that, this page cannot know it:" in shown.text
    assert "Each of the images named below, against the worst of the OOD sets" in shown.text
    assert "all of them at once with probability at least 1 - 0.001 over the noise" in shown.text


def test_rates_at_the_threshold_are_rounded_to_claim_less(whole, shown):
    points = [at for point in whole["operating"] for at in point["points"]]
    assert len(shown.lines["rates"]) == len(points) == 6
    for line, at in zip(shown.lines["rates"], points, strict=True):
        its = dict(zip(shown.heads["rates"], line, strict=True))
        for head, name in {"TPR": "tpr", "TPR, new images": "tpr_new", "its TPR": "tpr_worst"}.items():
            assert -1e-6 <= 100 * at[name] - float(its[head]) < 0.1 - 1e-6
        for head, name in {"FPR": "fpr", "FPR, new images": "fpr_new", "FPR, 300 copies": "fpr_copies"}.items():
            assert -1e-6 <= float(its[head]) - 100 * max(at[name].values()) < 0.1 - 1e-6
    assert float(its["score at least"]) == whole["operating"][1]["threshold"]


def test_every_sentence_names_a_theorem_that_there_is(shown):
    cited = {number for its in re.findall(r"\[(T[\dT, ]+)\]", shown.text) for number in its.split(", ")}
    assert cited >= {"T2", "T10", "T11", "T12", "T13", "T15", "T25", "T26"}
    assert all(f"\n## {number}. " in THEOREMS for number in cited)
    said = [*ASSUMED, *EXCLUDED[:-1], VERIFIED[0], *(f"[{figure.stands_on}]" for figure in FIGURES)]
    assert all(re.search(r"\[T\d", sentence) for sentence in said)
    assert "no theorem" in EXCLUDED[-1]


def test_what_is_not_verified_stands_apart(shown):
    before, _, after = shown.text.partition("Stated, not verified")
    assert all(name in after for name in UNVERIFIED)
    assert "Clean AUROC of median(gen)" in after
    assert "Clean AUROC" not in before
    assert "verified:" not in before.lower()


def test_it_states_the_hash_of_the_bytes_that_it_was_printed_from(whole, tmp_path):
    seen = []
    for text in (json.dumps(whole), json.dumps(whole, indent=1) + "\r\n"):
        file = tmp_path / "certificate.json"
        file.write_bytes(text.encode())
        found = certificate_page(file)
        assert found.count(hashlib.sha256(text.encode()).hexdigest()) == 3
        seen.append(re.sub(r"\b[0-9a-f]{64}\b", "", found))
    assert seen[0] == seen[1]


def test_names_are_text_and_nothing_runs_or_is_fetched(tmp_path):
    names = ("<script>alert(1)</script>", "a\u202eb", "x" * 300, "noise', verified [T12]")
    found = certificate(data_of(own='"><img src=x>', sets=names), ("median",), radius=(0.1,))
    page = page_of(found, tmp_path)
    assert not {tag for tag, _ in page.tags} & {"script", "img", "iframe", "object", "form", "input", "a"}
    assert [attrs for tag, attrs in page.tags if tag == "link"] == [{"rel": "icon", "href": "data:,"}]
    assert {name for _, attrs in page.tags for name in attrs if name.startswith("on")} == set()
    (policy,) = [attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv")]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "<script>alert(1)</script>" in page.text
    assert "'a\\u202eb': 8" in page.text
    assert "\u202e" not in page.text
    assert "'noise\\', verified [T12]'" in page.text
    assert "x" * 77 + "..." in page.text
    assert "x" * 78 not in page.text


def test_commands_name_what_the_assessor_needs(tmp_path):
    found = certificate(data_of(sets=("near",)), ("median",), radius=(0.1,))
    assert "certify --verify certificate.json --power 0.95 Print again" in page_of(found, tmp_path).text
    found["config"]["run"] |= {
        "benchmark": "cifar10",
        "data_root": "/secret/data",
        "checkpoint": "w.pt",
        "denoiser": "residual",
        "denoiser_checkpoint": "/secret/d.safetensors",
        "model": "net.py:Net; rm -rf ~",
    }
    text = page_of(found, tmp_path).text
    assert code_in(found) == {"model": "net.py:Net; rm -rf ~"}
    assert (
        "--power 0.95 --data-root DIR --checkpoint FILE --denoiser-checkpoint FILE --model 'net.py:Net; rm -rf ~'"
        in text
    )
    assert "the certificate names code (model), which this runs" in text
    assert "/secret" not in text


def test_linf_radii_are_shown_with_the_ball_that_holds_them(tmp_path):
    found = page_of(certificate(data_of(sets=("near",)), ("ross",), "linf", radius=(1 / 255, 8 / 255)), tmp_path)
    assert [line[1] for line in found.lines["figures"]] == ["1/255", "8/255"]
    assert (
        "within linf 1/255, 8/255 in pixels of [0, 1], through the l2 ball that holds it (0.0313725, 0.25098)"
        in found.text
    )


def test_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file, small = Path("handed.json"), certificate(data_of(3, sets=("near",)), ("median",), radius=(0.1,))
    file.write_text(json.dumps(small))
    assert main(["report", "handed.json"]) == 0
    assert capsys.readouterr().out == "certificate.html\n"
    assert Path("certificate.html").read_text() == certificate_page(file)
    assert main(["report", "handed.json", "-o", "mine.html"]) == 0
    assert Path("mine.html").is_file()
    capsys.readouterr()
    row = small["gauroc"][2]
    file.write_text(json.dumps({**small, "gauroc": [*small["gauroc"][:2], {**row, "gauroc": row["gauroc"] + 0.1}]}))
    assert main(["report", "handed.json", "-o", "forged.html"]) == 2
    said = capsys.readouterr().err
    assert "certificate 'handed.json' contradicts itself: the row of median(gen), near, both at 0.1, gauroc is" in said
    assert said.count("\n") == 1
    assert not Path("forged.html").exists()
    file.write_text(json.dumps({**small, "schema": "roodbench-certificate/1"}))
    assert main(["report", "handed.json"]) == 2
    assert "certify again, or verify it with the RoodBench that made it" in capsys.readouterr().err


def test_a_radius_is_never_rounded_up(tmp_path):
    found = page_of(certificate(norm="linf", radius=(8 / 255, 0.031376)), tmp_path)
    assert [line[1] for line in found.lines["figures"][:4:2]] == ["8/255", "0.031376"]


def test_what_interval_bounds_left_has_no_table_of_runs(tmp_path, capsys):
    (tmp_path / "result.json").write_text((ROOT / "reports/interval/digits-cnn/result.json").read_text())
    assert main(["table", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert "is of interval bounds: expected " in err
    assert err.count("\n") == 1
