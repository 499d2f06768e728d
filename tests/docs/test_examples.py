"""Every Python block in README, CONTRIBUTING, docs/ and reports/ runs, and does what the page says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from roodbench import cli
from tests.docs.pages import PAGES, ROOT, blocks, name_of

BLOCKS = {
    f"{name_of(page)}-{number}": source
    for page in PAGES
    for number, source in enumerate(blocks(page.read_text(encoding="utf-8"), "python"))
}
SMALLER = {"README.md-0": ("limit=20", "limit=8"), "docs/certification.md-0": ("limit=10", "limit=2")}
"""What is changed in a block to keep it to seconds."""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs a block in an empty folder: its names, and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(name):
        names = {"__name__": "example"}
        old, new = SMALLER.get(name, ("", ""))
        assert old in BLOCKS[name]
        exec(compile(BLOCKS[name].replace(old, new) if old else BLOCKS[name], name, "exec"), names)
        return names, capsys.readouterr().out

    return run


def test_every_block_has_a_test():
    pages = ("README.md", "docs/attacks.md", "docs/certification.md", "docs/custom-detector.md", "docs/data.md")
    assert set(BLOCKS) == {f"{page}-0" for page in pages}


def test_the_readmes_python(run):
    names, printed = run("README.md-0")
    assert "ross(gen)" in printed
    assert printed == f"{names['result'].to_table()}\n"
    areas = {row.condition: row.auroc for row in names["result"].rows if row.ood == "unseen-digits"}
    assert areas["both"] < areas["clean"]


def test_the_view_for_other_libraries(run):
    names, _ = run("docs/attacks.md-0")
    logits = names["model"](names["x"])
    assert logits.shape == (32, 2)
    assert (logits[:, 0] >= 0).float().mean() > 0.95  # one of 32 is below


def test_certification_from_python(run):
    names, _ = run("docs/certification.md-0")
    assert names["verdict"].failures == []
    both = [row for row in names["result"].rows if row.condition == "both"]
    assert both
    assert all(row.radius == 0.1 for row in both)


def test_your_own_detector(tmp_path, monkeypatch, capsys):
    source = BLOCKS["docs/custom-detector.md-0"]
    assert len(source.splitlines()) <= 20
    monkeypatch.chdir(tmp_path)
    Path("mydetector.py").write_text(source)
    command = ["--detector", "mydetector:Margin", "--param", "temperature=2", "--attack", "both", "--limit", "100"]
    assert cli.main([*command, "--ood", "unseen-digits", "--out", "runs", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {(r["detector"], r["params"]["temperature"]) for r in rows} == {("margin", 2)}
    assert {r["condition"] for r in rows} == {"clean", "min", "max", "both"}
    assert all(r["reliable"] for r in rows)


def test_a_benchmark_of_ones_own_arrays(run):
    names, printed = run("docs/data.md-0")
    assert printed == "20 [0 1 2]\n"
    assert names["bench"].id_test.shape == (1, 8, 8)


def test_blocks_are_found():
    assert blocks("```python\nx = 1\n```\n```sh\ny\n```\n", "python") == ["x = 1\n"]
    assert ROOT / "README.md" in PAGES
