"""Every Python block in README, CONTRIBUTING, docs/ and reports/ runs, and does what the page says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from roodbench import cli
from tests.docs.pages import PAGES, ROOT, blocks, name_of, own_detectors

BLOCKS = {
    f"{name_of(page)}-{number}": source
    for page in PAGES
    for number, source in enumerate(blocks(page.read_text(encoding="utf-8"), "python"))
}
SMALLER = {
    "docs/tour.md-0": {
        "limit=20": "limit=8, ood=['unseen-digits']",
        "eps=16 / 255)": "eps=16 / 255, steps=4, restarts=1)",
    },
    "docs/certification.md-0": {"limit=10": "limit=2, ood='unseen-digits', steps=2, restarts=1"},
}
"""What is changed in a block to keep it to seconds."""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs a block in an empty folder: its names, and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(name):
        names = {"__name__": "example"}
        block = BLOCKS[name]
        for old, new in SMALLER.get(name, {}).items():
            assert old in block
            block = block.replace(old, new)
        exec(compile(block, name, "exec"), names)
        return names, capsys.readouterr().out

    return run


def test_every_block_has_a_test():
    pages = ("docs/tour.md", "docs/attacks.md", "docs/certification.md", "docs/comparing.md", "docs/report.md")
    blocks = {"docs/custom-detector.md": 7, "docs/network.md": 2, "docs/data.md": 2, **dict.fromkeys(pages, 1)}
    assert set(BLOCKS) == {f"{page}-{n}" for page, count in blocks.items() for n in range(count)}
    own = [source for name, source in BLOCKS.items() if "custom-detector" in name and source in own_detectors()]
    assert len(own) == 5


def test_the_tours_python(run):
    names, printed = run("docs/tour.md-0")
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


@pytest.fixture
def own(tmp_path, monkeypatch, capsys):
    """Runs a detector of docs/custom-detector.md: its rows."""
    monkeypatch.chdir(tmp_path)
    Path("mydetector.py").write_text(own_detectors())

    def own(name, *arguments):
        command = ["--detector", name, *arguments, "--limit", "40", "--ood", "unseen-digits", "--format", "json"]
        assert cli.main([*command, "--out", "runs"]) == 0
        return json.loads(capsys.readouterr().out)["rows"]

    return own


OWN = {
    "mydetector.py:Energy": ("Energy", {}),
    "mydetector:Nearest --param norm=1": ("nearest", {"norm": 1}),
    "mydetector:Noisy --param sigma=0.1": ("noisy", {"sigma": 0.1}),
    "mydetector:Margin --param temperature=2": ("margin", {"temperature": 2}),
}


@pytest.mark.parametrize("command", OWN)
def test_your_own_detector(own, command):
    rows = own(*command.split())
    assert {(row["detector"], *row["params"].items()) for row in rows} == {(OWN[command][0], *OWN[command][1].items())}
    assert {row["condition"] for row in rows} == {"clean", "min", "max", "both"}
    assert {(row["model"], row["id_accuracy"]) for row in rows} == {("digits-cnn", 1.0)}
    assert all(row["reliable"] is not False for row in rows)
    assert rows[0]["auroc"] > 0.9
    assert rows[-1]["auroc"] < rows[0]["auroc"] - 0.05


def test_your_own_score_inside_another(own, run, monkeypatch):
    monkeypatch.syspath_prepend(".")
    assert run("docs/custom-detector.md-4")[1] == "ross(margin)\n"
    rows = own("pro", "--base", "mydetector:Margin", "--attack", "none")
    assert {(row["detector"], row["base"]) for row in rows} == {("pro", "margin")}
    assert all(row["auroc"] > 0.9 for row in rows if row["condition"] == "clean")


def test_a_plain_network_in_python(run):
    run("docs/network.md-0")
    names, printed = run("docs/network.md-1")
    assert "knn" in printed
    assert names["knn"].network.place == "3"


def test_your_own_network(own, run):
    names, printed = run("docs/custom-detector.md-5")
    assert "Sequential (ID accuracy " in printed
    expected = names["net"](names["bench"].id_test.shard(0, 20)).argmax(1) == names["bench"].id_test.labels[:20]
    (*_, both) = own("mydetector.py:Mine", "--attack", "min")
    assert both["model"] == "Sequential"
    assert both["id_accuracy"] > 0.85
    assert expected.float().mean() > 0.85


def test_a_benchmark_of_ones_own_arrays(run):
    assert run("docs/data.md-0")[1] == "Benchmark(mine: 20 ID images; OOD noise (far, 24); pixel space)\n"
    names, printed = run("docs/data.md-1")
    assert printed == "20 [0 1 2]\n"
    assert names["bench"].id_test.shape == (1, 8, 8)


def test_blocks_are_found():
    assert blocks("```python\nx = 1\n```\n```sh\ny\n```\n", "python") == ["x = 1\n"]
    assert ROOT / "README.md" in PAGES


def test_attacked_images_as_tensors(run):
    names, _ = run("docs/report.md-0")
    moved, scores = names["moved"], names["result"].scores_of("gen", "digits", "min")
    assert moved.shape == (8, 1, 8, 8)
    assert names["gen"](moved).detach().numpy() == pytest.approx(scores[0, :8])


def test_a_figure_on_axes_of_ones_own(run):
    pytest.importorskip("matplotlib", reason="pip install '.[report]'")
    names, _ = run("docs/comparing.md-0")
    heights = [bar.get_y() + bar.get_height() for group in names["axes"].containers for bar in group]
    assert heights == pytest.approx([100 * row.auroc for row in names["result"].rows])
