"""Certifications as entries: what their records say, what breaks them, and what cannot be true of one."""

import copy
import json

import pytest

from roodbench import cli
from roodbench.entry.certified import Certification, kind_of
from roodbench.entry.file import NoEntryError, contradictions_of, gathered, read, text_of
from roodbench.entry.schema import CERTIFICATION, faults, published
from tests.docs.pages import ROOT

REPORTS = ROOT / "reports"
FILES = [f for name in ("certified", "denoised", "interval") for f in sorted(REPORTS.glob(f"{name}/*/result.json"))]
KINDS = {"noise": "denoised/digits-bare-0.25", "intervals": "interval/digits-cnn"}


def raw(kind):
    return json.loads((REPORTS / KINDS[kind] / "result.json").read_text(encoding="utf-8"))


def edited(kind, *places):
    """A certification's record with other values at some places, each a path and a value."""
    found = copy.deepcopy(raw(kind))
    for *names, last, value in places:
        part = found
        for name in names:
            part = part[name]
        part[last] = value
    return found


def entry(found, folder, name="mine.json"):
    (folder / name).write_text(json.dumps(found))
    return read(folder / name)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_certifications_that_are_kept_are_entries(file):
    found = read(file.parent)
    assert isinstance(found, Certification)
    assert list(contradictions_of(found)) == []
    rows = [row for row in found.record["rows"] if row["condition"] == "both"]
    assert len(rows) == sum(len(claim.certified) for claim in found.claims)
    for claim in found.claims:
        its = {
            row["ood"]: row for row in rows if row["radius"] == claim.radius and claim.label.startswith(row["detector"])
        }
        its = {
            ood: row
            for ood, row in its.items()
            if claim.label in (row["detector"], f"{row['detector']}({row.get('base')})")
        }
        assert claim.certified == {ood: row["gauroc"] for ood, row in its.items()}
        assert claim.least() == min(row["gauroc"] for row in its.values())
        few = [row.get("deployed", {"certified": row["gauroc"]})["certified"] for row in its.values()]
        assert claim.least(deployed=True) == (None if None in few else min(few))


@pytest.mark.parametrize("kind", KINDS)
def test_an_entry_is_the_record(kind, tmp_path):
    found = entry(raw(kind), tmp_path)
    (tmp_path / "again.json").write_text(text_of(found))
    assert (found.name, found.record) == ("mine", raw(kind))
    assert read(tmp_path / "again.json").claims == found.claims
    assert (found.network is None, found.alpha) == ((False, 1e-3) if kind == "noise" else (True, 0.0))


def test_jsonschema_says_the_same():
    library = pytest.importorskip("jsonschema", reason="jsonschema is not installed: pip install jsonschema")
    checker = library.Draft202012Validator(published(CERTIFICATION))
    for kind in KINDS:
        assert list(checker.iter_errors(raw(kind))) == []
        assert list(checker.iter_errors(edited(kind, ("rows", 0, "gauroc", 1.5))))


BROKEN = [
    ("noise", ("rows", 0, "gauroc", 1.5), "rows, 0, gauroc is 1.5: expected at most 1"),
    ("noise", ("rows", 0, "deployed", "certified", "x"), 'deployed, certified is "x": expected number or null'),
    ("noise", ("rows", []), "rows has 0 entries: expected 1"),
    ("noise", ("network", {}), "network has no sha256"),
    ("intervals", ("method", "interval: mine"), "method is "),
    ("intervals", ("rows", 0, "condition", "clean"), "condition is "),
]


@pytest.mark.parametrize(("kind", "place", "words"), BROKEN, ids=lambda value: str(value)[:40])
def test_what_breaks_the_schema_is_one_line(kind, place, words, tmp_path):
    found = edited(kind, place)
    assert kind_of(found) is not None
    with pytest.raises(NoEntryError, match="breaks the schema of a certification: ") as error:
        entry(found, tmp_path)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def both(kind, **given):
    """The place of the first row of both populations with these values."""
    rows = raw(kind)["rows"]
    return next(i for i, r in enumerate(rows) if r["condition"] == "both" and given.items() <= r.items())


FALSE = {
    "a bound above clean": ("noise", [("rows", 0, "gauroc", 0.999)], "is above auroc_clean"),
    "a bound above an attack": ("intervals", [("rows", 0, "auroc_attacked", 0.2)], "is above auroc_attacked 0.2"),
    "a row twice": ("noise", [("rows", 1, "condition", "min")], "it has no row of median(gen) on unseen-digits, max"),
    "another alpha": ("noise", [("rows", 0, "alpha", 0.5)], "alpha 0.5, expected 0.001"),
    "another norm": ("intervals", [("config", "run", "norm", "l2")], "norm linf, expected l2"),
    "another detector": (
        "noise",
        [("config", "run", "detector", ["median"])],
        "config names ['median'], the rows are of",
    ),
    "more images": ("noise", [("data", "OOD test: photos", "images", 7)], "100 images, data has 7"),
    "a radius that helps": (
        "intervals",
        [("rows", both("intervals", detector="msp", radius=raw("intervals")["rows"][0]["radius"]), "gauroc", 0.0)],
        "msp on unseen-digits, both: certified ",
    ),
}


@pytest.mark.parametrize(("kind", "places", "words"), FALSE.values(), ids=FALSE)
def test_what_cannot_be_true_is_refused(kind, places, words, tmp_path):
    found = entry(edited(kind, *places), tmp_path)
    assert words in "; ".join(contradictions_of(found))
    entries, refused = gathered([tmp_path])
    assert (entries, list(refused)) == ([], ["mine"])


def test_a_certification_whose_attack_broke_it_is_kept(tmp_path):
    found = entry(
        edited("noise", ("violations", ["median(gen): digits, index 3 is attacked past its bound"])), tmp_path
    )
    assert list(contradictions_of(found)) == []
    assert cli.main(["validate-entry", str(tmp_path / "mine.json"), "--quiet"]) == 1


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    """A certification with its certificate."""
    words = "certify --detector median --base msp --sigma 0.25 --radius 0.1 --samples 300 --limit 4 --ood noise"
    out = tmp_path_factory.mktemp("runs")
    assert cli.main([*words.split(), "--attack", "none", "--quiet", "--out", str(out)]) == 0
    return next(out.glob("certify-*"))


def test_a_certificate_beside_it_must_be_its_own(certified, tmp_path):
    assert read(certified).certificate
    for file in certified.glob("*.json"):
        (tmp_path / file.name).write_text(file.read_text())
    record = json.loads((tmp_path / "result.json").read_text())
    record["rows"][0]["gauroc"] = max(0.0, record["rows"][0]["gauroc"] - 0.25)
    (tmp_path / "result.json").write_text(json.dumps(record))
    with pytest.raises(NoEntryError, match="is not of the run in"):
        read(tmp_path)


def test_the_verbs_take_it(certified, tmp_path, capsys):
    (board := tmp_path / "board").mkdir()
    page = ["-o", str(tmp_path / "page.html")]
    assert cli.main(["leaderboard", str(board), "--add", str(certified), *page]) == 0
    assert [file.name for file in board.iterdir()] == [f"{certified.name}.json"]
    assert cli.main(["leaderboard", str(board), "--add", str(certified), *page]) == 2
    assert "an entry is never overwritten" in capsys.readouterr().err
    for place, left in ((certified, "against network and images"), (next(board.iterdir()), "taken as they are")):
        assert cli.main(["validate-entry", str(place), "--quiet"]) == 0
        said = capsys.readouterr().out
        assert "holds, as far as it was checked" in said
        assert left in said
    assert cli.main(["validate-entry", str(certified), "--again", "4", "--quiet"]) == 2
    assert "takes no again: leave out --again" in capsys.readouterr().err
    assert (
        list(faults(json.loads(next(board.iterdir()).read_text()), file=CERTIFICATION, schema={"type": "object"})) == []
    )


def test_interval_bounds_name_network_and_images(tmp_path):
    """So that a leaderboard finds their board by hash, as those by noise."""
    words = "certify --detector ebo --norm linf --radius 1/255 --limit 2 --ood noise --attack none --quiet"
    assert cli.main([*words.split(), "--out", str(tmp_path)]) == 0
    found = read(next(tmp_path.glob("certify-*")))
    assert list(contradictions_of(found)) == []
    certificate = json.loads((next(tmp_path.glob("certify-*")) / "certificate.json").read_text())
    assert found.network == certificate["network"]["sha256"]
    assert set(found.images) == {"ID test: digits", "OOD test: noise"}


def test_images_of_id_are_those_of_data(tmp_path):
    """In whatever order data names its sets, and whatever else has the name of an OOD set."""
    found = raw("noise")
    ood = found["rows"][0]["ood"]
    found["data"][f"OOD val: {ood}"] = {"images": 7, "sha256": "0" * 64}
    assert list(contradictions_of(entry(found, tmp_path))) == []
    for row in found["rows"]:
        row["n_id"] += 1
    (line,) = contradictions_of(entry(found, tmp_path))
    assert "ID images, data has" in line
