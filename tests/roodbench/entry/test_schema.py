"""The published schema: of the record's own types, in both places, and what breaks it."""

import copy
import json

import pytest

from roodbench.entry.schema import CERTIFICATION, FILE, KEYWORDS, faults, published
from tests.docs.pages import ROOT
from tests.docs.schema import texts
from tests.roodbench.entry import made

CERTIFICATIONS = ("certified", "denoised", "interval")
RECORDS = [f for f in sorted(ROOT.glob("reports/*/**/result.json")) if f.parts[-3] not in CERTIFICATIONS]


def keywords(schema):
    for name, part in schema.items():
        if name in ("properties", "$defs"):
            for inner in part.values():
                yield from keywords(inner)
        else:
            yield name
            if isinstance(part, dict):
                yield from keywords(part)


def test_they_are_those_of_the_types_in_both_places():
    """`python -m tests.docs.tables` rewrites them."""
    assert set(texts()) == {FILE.name, CERTIFICATION.name}
    for name, text in texts().items():
        assert FILE.with_name(name).read_text(encoding="utf-8") == text
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text


@pytest.mark.parametrize("file", [FILE, CERTIFICATION], ids=lambda file: file.name)
def test_our_reader_knows_every_keyword_in_it(file):
    assert set(keywords(published(file))) <= KEYWORDS


@pytest.mark.parametrize("file", RECORDS, ids=lambda file: file.parent.name)
def test_records_that_are_kept_keep_to_it(file):
    assert list(faults(json.loads(file.read_text(encoding="utf-8")))) == []


def test_jsonschema_says_the_same():
    library = pytest.importorskip("jsonschema", reason="jsonschema is not installed: pip install jsonschema")
    checker = library.Draft202012Validator(published())
    whole = json.loads(made.record().to_json())
    assert list(checker.iter_errors(whole)) == []
    for place, value in BROKEN:
        if value == float("inf"):  # which JSON has not
            continue
        assert list(checker.iter_errors(broken(whole, place, value))), place


BROKEN = [
    (("schema_version",), 2),
    (("rows",), []),
    (("rows", 0, "auroc"), 1.25),
    (("rows", 0, "auroc"), "0.9"),
    (("rows", 0, "auroc"), True),
    (("rows", 0, "auroc_ci"), None),
    (("rows", 0, "condition"), "none"),
    (("rows", 0, "n_id"), 0),
    (("rows", 0, "n_id"), 2.5),
    (("rows", 0, "norm"), "l1"),
    (("rows", 3, "reliable"), "yes"),
    (("data", "ID test: id", "images"), -1),
    (("environment",), []),
    (("timing", "seconds"), float("inf")),
    (("attacks", 0, "winner", 0), "clean"),
]


def broken(whole, place, value):
    found = copy.deepcopy(whole)
    part = found
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = value
    return found


@pytest.mark.parametrize(("place", "value"), BROKEN, ids=str)
def test_what_breaks_it_is_named(place, value):
    (fault,) = faults(broken(json.loads(made.record().to_json()), place, value))
    assert fault.startswith(", ".join(map(str, place)))
    assert "expected" in fault


def test_what_is_missing_is_named():
    whole = json.loads(made.record().to_json())
    del whole["rows"][1]["params"]
    del whole["timing"]
    assert list(faults(whole)) == ["the record has no timing", "rows, 1 has no params"]
    assert list(faults([1])) == ["the record is [1]: expected object"]
