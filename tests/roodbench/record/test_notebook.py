"""A record in a notebook: the table's cells as text, the rows as a DataFrame, figures."""

import importlib.util
import re
from dataclasses import asdict
from html import unescape

import pytest

from roodbench.record.table import cells_of, footnotes
from tests.roodbench.report import synthetic


@pytest.fixture(scope="module")
def record():
    return synthetic.hostile()


def test_html_has_the_tables_cells_and_names_are_text(record):
    text, (columns, lines) = record._repr_html_(), cells_of(record)
    found = [[unescape(cell) for cell in re.findall(r"<t[hd] [^>]*>(.*?)</t[hd]>", row)] for row in text.splitlines()]
    assert [row for row in found if row] == [columns, *lines]
    assert [unescape(note) for note in re.findall(r"<li>(.*)</li>", text)] == footnotes(record)
    assert set(re.findall(r"<(\w+)", text)) == {
        "table",
        "caption",
        "br",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "ul",
        "li",
    }


def test_rows_are_a_data_frame(record):
    pytest.importorskip("pandas", reason="pandas is not installed: pip install '.[notebook]'")
    frame = record.to_pandas()
    rows = [*record.rows, *record.averages]
    assert list(frame.columns) == list(asdict(rows[0]))
    assert frame.auroc.tolist() == [row.auroc for row in rows]
    assert frame.ood.tolist() == [row.ood for row in rows]


def test_without_pandas_the_line_says_how_to_get_it(record, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(ValueError, match=r"to_pandas needs pandas: pip install 'roodbench\[notebook\]'"):
        record.to_pandas()


def test_plots_are_the_figures(record):
    with pytest.raises(ValueError, match="unknown figure 'bar': did you mean 'bars'"):
        record.plot("bar")
    with pytest.raises(ValueError, match="figure bars takes no eps: it is drawn from the record"):
        record.plot("bars", eps=0.1)
    if importlib.util.find_spec("matplotlib") is not None:
        text = record.plot("scores", detectors=["plain"], ood="<i>noise</i>")._repr_svg_()
        assert "plain, &lt;i&gt;noise&lt;/i&gt;" in text
