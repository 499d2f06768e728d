"""What docs and help state of the code's tables is what the tables hold."""

from __future__ import annotations

import re

import pytest

from attacks import METHODS, NOISE, STRENGTHS
from detectors import BASES, SPECIAL, WRAPPERS
from roodbench import cli
from roodbench.data.load import BENCHMARKS
from roodbench.evaluation.checks import CHECKS
from roodbench.models.load import MODELS
from roodbench.setup.protocols import PROTOCOLS
from roodbench.setup.threats import THREATS
from tests.docs.pages import ROOT
from tests.docs.tables import MARKED, TABLES, rewritten

DOCS = {page.name: page.read_text(encoding="utf-8") for page in sorted(ROOT.glob("docs/*.md"))}


def test_every_table_stands_in_one_page():
    found = [name for text in DOCS.values() for _, name, _ in MARKED.findall(text)]
    assert sorted(found) == sorted(TABLES)


@pytest.mark.parametrize("page", [name for name, text in DOCS.items() if MARKED.search(text)])
def test_the_tables_are_those_of_the_code(page):
    """`python -m tests.docs.tables` rewrites them."""
    assert DOCS[page] == rewritten(DOCS[page])


def test_a_row_is_what_the_table_of_the_code_says():
    (black_box,) = [line for line in TABLES["indicators"]().splitlines() if line.startswith("| black-box |")]
    assert black_box == f"| black-box | <= 0.002 | {CHECKS['black-box'].fails_when} |"
    trust = TABLES["trust"]().splitlines()
    assert "| feasibility | attack |" in trust[-1]
    assert len(trust) == 2 + len(CHECKS)
    assert "| quick | 10 | 4 | 8 |" in TABLES["strengths"]()
    assert "| `known-seed` | knows the draws too |" in TABLES["threats"]()


def test_a_changed_table_is_noticed():
    before = "x\n<!-- table: threats -->\n| old |\n<!-- end -->\ny\n"
    assert rewritten(before) == f"x\n<!-- table: threats -->\n{TABLES['threats']()}\n<!-- end -->\ny\n"


@pytest.mark.parametrize(
    ("option", "names"),
    {
        "--method": METHODS,
        "--threat": NOISE,
        "--strength": STRENGTHS,
        "--protocol": PROTOCOLS,
        "--benchmark": BENCHMARKS,
        "--base": WRAPPERS,
    }.items(),
)
def test_help_names_everything_that_there_is(option, names, capsys):
    assert cli.main(["run", "--help"]) == 0
    text = re.sub(r"-\n\s+", "-", capsys.readouterr().out)  # a line that ends in a hyphen
    entry = re.search(rf"^  {option} .*?(?=^  -|^$)", text, re.MULTILINE | re.DOTALL)[0]
    shown = set(re.findall(r"[\w:-]+", entry))
    assert set(names) <= shown


def test_the_page_of_names_has_everything_that_there_is():
    table = DOCS["names.md"].partition("## Names")[2].partition("## Options")[0]
    rows = dict(re.findall(r"^\| ([^|]+?) \| (.*) \|$", table, re.MULTILINE))
    shown = {kind: set(expanded(cell)) for kind, cell in rows.items()}
    detectors = next(names for kind, names in shown.items() if "--base" in kind)
    scores = set().union(*(names for kind, names in shown.items() if kind.startswith("scores")))
    assert scores == {*BASES, *SPECIAL}
    assert detectors == set(WRAPPERS)
    assert shown["attacks (`--method`)"] == set(METHODS)
    assert shown["adversaries (`--threat`)"] == {*NOISE, *THREATS}
    assert shown["protocols (`--protocol`)"] == set(PROTOCOLS)
    assert shown["benchmarks"] == set(BENCHMARKS)
    assert shown["networks"] == set(MODELS)


def expanded(cell):
    r"""The names in the code spans of a cell; `a20\|32` is a20 and a32."""
    for span in re.findall(r"`([^`]+)`", cell):
        first, *more = span.split(r"\|")
        yield first
        stem = re.sub(r"\d+b?$", "", first)
        yield from (stem + tail for tail in more)
