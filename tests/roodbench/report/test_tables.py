"""The papers' table: the record's numbers, best bold, second underlined, in Markdown, LaTeX and CSV."""

import csv
import io
import json
import re
from dataclasses import replace

import pytest

from roodbench.cli import main
from roodbench.report.blocks import blocks_of
from roodbench.report.tables import papers_table
from tests.roodbench.report.small import SETS, evaluated, merged, several

COLUMNS = (*SETS, "average")


def rows_of(record):
    """Every row that a table shows, by detector, condition, radius and column."""
    found = {}
    for row in [*record.rows, *(row for row in record.averages if row.group == "all")]:
        label = row.detector + (f"({row.base})" if row.base else "")
        found[label, row.condition, row.eps, "average" if row.ood == "average" else row.ood] = row
    return found


def with_values(*values):
    """A clean record of as many detectors d0, d1, ... with (AUROC, FPR95, reliable) on one set."""
    first = next(row for row in evaluated("gen").rows if row.condition == "clean")
    rows = [
        replace(first, detector=f"d{i}", auroc=area, fpr95_ood=fpr, fpr95_id=1 - fpr, reliable=reliable)
        for i, (area, fpr, reliable) in enumerate(values)
    ]
    return replace(evaluated("gen"), rows=rows, averages=[])


def cells(text):
    """The last lines' cells of a Markdown table of one column, by detector."""
    return dict(re.findall(r"^\| (d\d) \| (.*) \|$", text, re.MULTILINE))


def test_validation_images_do_not_decide_what_is_compared_whatever_they_are_called():
    """Two runs on the same test images stand in one block, though their validation sets, called mytest, differ."""
    runs = {}
    for name, images in (("one", 10), ("two", 20)):
        record = with_values((0.5, 0.5, True), (0.6, 0.5, True))
        record = replace(record, rows=record.rows[:1] if name == "one" else record.rows[1:])
        runs[name] = replace(record, data={**record.data, "OOD val: mytest": {"images": images, "sha256": name}})
    assert [block.names for block in blocks_of(runs)] == [["d0", "d1"]]


@pytest.mark.parametrize("fpr", ["ood", "id"])
def test_every_number_is_the_records(fpr):
    record, metric = several(), f"fpr95_{fpr}"
    shown = papers_table({"run": record}, fpr=fpr)
    lines = [line.strip("| ").split(" | ") for line in shown.splitlines() if line.startswith("| ")]
    lines = [line for line in lines if "---" not in line[0] and line[0] != "detector"]
    expected = rows_of(record)
    keys = [(c, e) for c, e in dict.fromkeys((c, e) for _, c, e, _ in expected)]
    keys.sort(key=lambda key: (["clean", "min", "max", "both"].index(key[0]), key[1] or 0))
    assert len(lines) == 3 * len(keys)
    for place, (label, *texts) in enumerate(lines):
        condition, eps = keys[place // 3]
        for column, text in zip(COLUMNS, texts, strict=True):
            row = expected[label, condition, eps, column]
            numbers = re.sub(r"[*\\]|</?u>", "", text).split(" / ")
            assert numbers == [f"{100 * getattr(row, metric):.2f}", f"{100 * row.auroc:.2f}"]
            assert text.endswith(r"\*") == (row.reliable is False)


def test_csv_has_the_records_own_fractions():
    record = several()
    lines = list(csv.DictReader(io.StringIO(papers_table({"run": record}, "csv"))))
    expected = rows_of(record)
    assert len(lines) == len(expected)
    for line in lines:
        its = [
            row
            for (label, condition, _, column), row in expected.items()
            if (label, condition, column) == (line["detector"], line["condition"].partition(":")[0], line["ood"])
        ]
        assert (float(line["fpr95_ood"]), float(line["auroc"]), line["reliable"]) in [
            (row.fpr95_ood, row.auroc, json.dumps(row.reliable)) for row in its
        ]


def test_best_is_bold_second_underlined_and_ties_are_both():
    record = with_values((0.9, 0.2, True), (0.95, 0.1, True), (0.950001, 0.100001, True), (0.5, 0.9, True))
    assert cells(papers_table({"run": record})) == {
        "d0": "<u>20.00</u> / <u>90.00</u>",
        "d1": "**10.00** / **95.00**",
        "d2": "**10.00** / **95.00**",
        "d3": "90.00 / 50.00",
    }
    latex = papers_table({"run": record}, "latex")
    assert r"d0 & \underline{20.00} / \underline{90.00} \\" in latex
    assert r"d2 & \textbf{10.00} / \textbf{95.00} \\" in latex


def test_less_fpr_and_more_auroc_is_better():
    shown = cells(papers_table({"run": with_values((0.9, 0.4, True), (0.8, 0.3, True))}))
    assert shown == {"d0": "<u>40.00</u> / **90.00**", "d1": "**30.00** / <u>80.00</u>"}
    shown = cells(papers_table({"run": with_values((0.9, 0.4, True), (0.8, 0.3, True))}, fpr="id"))
    assert shown == {"d0": "**60.00** / **90.00**", "d1": "<u>70.00</u> / <u>80.00</u>"}


def test_what_is_unreliable_is_marked_and_wins_nothing():
    shown = papers_table({"run": with_values((0.99, 0.0, False), (0.9, 0.1, True), (0.8, 0.2, None))})
    assert cells(shown) == {
        "d0": r"0.00 / 99.00\*",
        "d1": "**10.00** / **90.00**",
        "d2": r"<u>20.00</u> / <u>80.00</u>\?",
    }
    assert "an AUROC under attack is an upper bound only" in shown
    assert "its attack was not judged" in shown


def test_one_detector_is_no_best():
    assert cells(papers_table({"run": with_values((0.9, 0.1, True))})) == {"d0": "10.00 / 90.00"}


HOSTILE = r"a_b & 50% of $x^2$ #1 {y} ~z\w <b>|c"


def hostile():
    first = several()
    rows = [replace(row, ood=HOSTILE if row.ood == "noise" else row.ood, model=HOSTILE) for row in first.rows]
    return replace(first, rows=rows, averages=[replace(row, model=HOSTILE) for row in first.averages])


def test_latex_is_balanced_and_escaped():
    text = papers_table({"run": hostile()}, "latex")
    assert text.startswith("% \\usepackage{booktabs}")
    stack = []
    for verb, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        stack.append(name) if verb == "begin" else None
        assert verb == "begin" or stack.pop() == name
    assert stack == []
    body = text.split("\n", 1)[1]
    bare = re.sub(r"\\[\\&%$#_{}]|\$\^\{[*?]\}\$", "", body)  # escapes and our own marks
    assert bare.count("{") == bare.count("}")
    assert not re.search(r"[%$#_^~<>|]", bare)
    for line in body.splitlines():
        if line.endswith(r"\\") and "multicolumn" not in line:
            assert line.replace(r"\&", "").count("&") == line_width(body, line) - 1


def line_width(body, line):
    """How many columns the tabular around a line has."""
    spec = re.findall(r"\\begin\{tabular\}\{(\w+)\}", body[: body.index(line)])[-1]
    return len(spec)


def test_markdown_shows_names_as_text():
    text = papers_table({"run": hostile()})
    heads = [line for line in text.splitlines() if line.startswith("| detector")]
    assert all(r"a\_b & 50% of $x^2$ \#1 {y} ~z\\w \<b\>\|c" in head for head in heads)
    assert "<b>" not in text


def test_other_networks_and_images_stand_apart():
    other = replace(evaluated("gen"), rows=[replace(r, model="other") for r in evaluated("gen").rows], averages=[])
    blocks = blocks_of({"a": several(), "b": other, "c": evaluated("msp", limit=8)}, ["clean"])
    assert sorted((b.network, b.names) for b in blocks) == [
        ("digits, digits-cnn", ["msp"]),
        ("digits, digits-cnn", ["msp", "gen", "median(gen)"]),
        ("digits, other", ["gen"]),
    ]


def test_what_two_runs_share_stands_once_and_what_differs_is_named():
    names = [b.names for b in blocks_of({"a": several(), "b": evaluated("median", sigma=0.2)}, ["clean"])]
    assert names == [["msp", "gen", "median(gen), sigma 0.05", "median(gen), sigma 0.2"]]
    (block,) = blocks_of({"a": several(), "b": evaluated("gen")}, ["clean"])
    assert block.names.count("gen") == 1


def test_columns_have_names():
    (block,) = blocks_of({"a": several()}, ["clean"])
    assert block.columns == list(COLUMNS)
    assert [block.column(name) for name in (None, "noise", "near", "far", "average")] == [2, 1, 0, 1, 2]
    with pytest.raises(ValueError, match="unknown OOD set 'nois': did you mean 'noise'"):
        block.column("nois")
    assert block.only(["gen"]).names == ["gen"]
    with pytest.raises(ValueError, match="unknown detector 'ge': did you mean 'gen'"):
        block.only(["ge"])
    with pytest.raises(ValueError, match="unknown condition 'bot': did you mean 'both'"):
        blocks_of({"a": several()}, ["bot"])


def test_on_the_command_line(tmp_path, capsys):
    several().save(tmp_path / "run")
    for format, sentence in {"markdown": "| detector |", "latex": r"\toprule", "csv": "network,condition,"}.items():
        assert main(["table", str(tmp_path / "run"), "--format", format, "--condition", "clean,both"]) == 0
        shown = capsys.readouterr().out
        assert sentence in shown
        assert "min: pgd" not in shown
    for arguments, sentence in {
        ("--format", "json"): "unknown format 'json'",
        ("--fpr", "x"): "unknown fpr 'x': expected one of ood, id",
    }.items():
        assert main(["table", str(tmp_path / "run"), *arguments]) == 2
        assert sentence in capsys.readouterr().err


def test_a_run_prints_it_too(tmp_path, capsys):
    words = "--detector gen --attack none --limit 4 --ood noise --quiet --format"
    assert main([*words.split(), "latex", "--out", str(tmp_path)]) == 0
    assert r"\toprule" in capsys.readouterr().out


def test_of_merged_records_nothing_is_lost():
    assert len(merged(evaluated("gen"), evaluated("msp")).rows) == 2 * len(evaluated("gen").rows)


def test_near_sets_stand_before_far_ones():
    """As both papers print them, whatever the order of a record."""
    record = several()
    rows = sorted(record.rows, key=lambda row: row.ood)
    (block,) = blocks_of({"run": replace(record, rows=rows)}, ["clean"])
    assert [row.ood for row in rows[:1]] == ["noise"]
    assert block.columns == ["unseen-digits", "noise", "average"]
