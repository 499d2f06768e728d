"""docs/theorems.md and the code agree on what is proved and where it is used."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "theorems.md").read_text(encoding="utf-8")
SOURCES = {
    p: p.read_text(encoding="utf-8") for d in ("roodbench", "detectors", "attacks") for p in ROOT.glob(f"{d}/**/*.py")
}
DEFINED = {name for text in SOURCES.values() for name in re.findall(r"^\s*(?:def|class) (\w+)", text, re.MULTILINE)}


def sections(text):
    """Theorem -> its section."""
    parts = re.split(r"^## (T\d+)\. ", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def cited(code):
    """The theorems that code names; a linter's rule (noqa: T201) is none."""
    return set(re.findall(r"\bT\d+\b", re.sub(r"#\s*noqa.*", "", code)))


def used(section):
    """The functions and classes that a section names under "Used in"."""
    (paragraph,) = re.findall(r"^\*\*Used in:\*\* (.+?)(?=\n\n|\Z)", section, re.MULTILINE | re.DOTALL)
    return [name for name in re.findall(r"`([^`]+)`", paragraph) if "/" not in name]


def test_theorems_are_numbered_without_gaps_and_complete():
    found = re.findall(r"^## (T\d+)\.", TEXT, re.MULTILINE)
    assert found == [f"T{i}" for i in range(1, len(found) + 1)]
    assert len(found) >= 15
    for name, section in sections(TEXT).items():
        for part in ("**Statement.**", "**Assumptions.**", "**Proof.**", "[]", "**Used in:**"):
            assert section.count(part) == 1, f"{name}: {part}"


def test_citations_are_recognised():
    assert cited("'''Bounds (docs/theorems.md, T3, T12).'''\nprint(x)  # noqa: T201") == {"T3", "T12"}
    assert used("\n**Used in:** `a/b.py`: `f`,\n`G`; through T2.\n\nmore `h`") == ["f", "G"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_theorem_that_code_cites_exists(path):
    assert cited(SOURCES[path]) <= set(sections(TEXT))


@pytest.mark.parametrize("theorem", sections(TEXT))
def test_every_theorem_is_used_where_it_says(theorem):
    section = sections(TEXT)[theorem]
    assert set(used(section)) <= DEFINED
    assert used(section) or re.search(r"\*\*Used in:\*\* through T\d+", section)


def test_theorems_refer_to_theorems_that_exist():
    assert set(re.findall(r"\bT\d+\b", TEXT)) <= set(sections(TEXT))
