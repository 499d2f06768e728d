"""The table of the papers: FPR95 / AUROC per OOD set, near, far and on average, best bold, second underlined.

Every number is a row's or an average's of the records; none is computed here.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from ..record.record import Record
from ..record.row import Row
from .blocks import Block, blocks_of, printed
from .comparison import letters

FORMATS = ("markdown", "latex", "csv")
FPR = {
    "ood": ("fpr95_ood", "FPR95: ID flagged where 95% of OOD are, as OpenOOD and both papers have it"),
    "id": ("fpr95_id", "FPR95: OOD that passes the threshold which 95% of clean ID pass"),
}
MARKS = {True: "", False: "*", None: "?"}
SAID = {
    "*": "a check failed, an AUROC under attack is an upper bound only; neither best nor second",
    "?": "its attack was not judged",
}
LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}
MARKDOWN = {c: f"\\{c}" for c in "\\|*_`[]<>#"}


def papers_table(
    records: Mapping[str, Record],
    format: str = "markdown",
    *,
    fpr: str = "ood",
    conditions: Sequence[str] | None = None,
) -> str:
    """The table of some records in Markdown, LaTeX (with booktabs) or CSV; `conditions` default to all.

    Detectors of one network on the same images stand together, by condition. `fpr` chooses the FPR95: at the threshold
    of `ood` or of clean `id`. CSV has the records' own fractions, unrounded.
    """
    blocks, (metric, said) = blocks_of(records, conditions), FPR[fpr]
    if format == "csv":
        return as_csv(blocks, metric)
    cells = [row for block in blocks for line in block.rows for row in line if row is not None]
    used = {MARKS[row.reliable] for row in cells}
    names = [name for block in blocks for name in block.names]
    runs = [f"{letter}: {run}" for letter, run in zip(letters(len(records)), records, strict=True)]
    several = any(name.endswith(f" {letter}") for name in names for letter in letters(len(records)))
    notes = [f"{said}; AUROC: higher is better; percent", *(f"{m} {s}" for m, s in SAID.items() if m in used)]
    return (as_latex if format == "latex" else as_markdown)(blocks, metric, [*notes, *(runs if several else [])])


def escaped(text: str, table: Mapping[str, str]) -> str:
    """Text with each character that means something escaped.

    >>> escaped("my_net & 5%", LATEX), escaped("a|b", MARKDOWN)
    ('my\\\\_net \\\\& 5\\\\%', 'a\\\\|b')
    """
    return "".join(table.get(character, character) for character in text)


def cells(block: Block, metric: str, best: str, second: str, mark: str, none: str) -> list[list[str]]:
    """FPR95 / AUROC per detector and column; `best`, `second` and `mark` are patterns with a {}."""
    patterns = ["{}", best, second]
    lines = []
    for number, line in enumerate(block.rows):
        texts = []
        for column, row in enumerate(line):
            if row is None:
                texts.append(none)
                continue
            both = [patterns[block.places(m, column)[number]].format(printed(row, m)) for m in (metric, "auroc")]
            texts.append(" / ".join(both) + (mark.format(MARKS[row.reliable]) if MARKS[row.reliable] else ""))
        lines.append(texts)
    return lines


def together(blocks: Iterable[Block]) -> Iterable[tuple[tuple[str, list[str]], list[Block]]]:
    """Blocks that share network and columns, which may share a table."""
    for head, those in groupby(blocks, key=lambda block: (block.network, block.columns)):
        yield head, list(those)


def as_markdown(blocks: Sequence[Block], metric: str, notes: Sequence[str]) -> str:
    """A Markdown table per network, a column of conditions in it where there are several; best bold, second in <u>."""
    parts = []
    for (network, columns), those in together(blocks):
        heads = ["detector", *columns]
        lines = [f"**{escaped(network, MARKDOWN)}**"]
        for block in those:
            lines += ["", escaped(block.title, MARKDOWN), ""]
            lines += [" | ".join(["", *(escaped(head, MARKDOWN) for head in heads), ""]).strip()]
            lines += ["|".join(["", " --- ", *[" ---: "] * len(columns), ""])]
            body = cells(block, metric, "**{}**", "<u>{}</u>", r"\{}", "-")
            for name, texts in zip(block.names, body, strict=True):
                lines.append(" | ".join(["", escaped(name, MARKDOWN), *texts, ""]).strip())
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, "\n".join(f"- {escaped(note, MARKDOWN)}" for note in notes)])


def as_latex(blocks: Sequence[Block], metric: str, notes: Sequence[str]) -> str:
    r"""A table environment per network, its conditions between rules; needs \usepackage{booktabs}."""
    parts = ["% \\usepackage{booktabs}"]
    for (network, columns), those in together(blocks):
        heads = ["detector", *columns]
        lines = [r"\begin{table}[t]", r"\centering", r"\small"]
        said = ". ".join([f"{network}. FPR95 / AUROC", *notes])
        lines += [rf"\caption{{{escaped(said, LATEX)}.}}", rf"\begin{{tabular}}{{l{'r' * len(columns)}}}", r"\toprule"]
        lines.append(" & ".join(escaped(head, LATEX) for head in heads) + r" \\")
        for block in those:
            lines += [r"\midrule", rf"\multicolumn{{{len(heads)}}}{{l}}{{\textit{{{escaped(block.title, LATEX)}}}}} \\"]
            body = cells(block, metric, r"\textbf{{{}}}", r"\underline{{{}}}", r"$^{{{}}}$", "--")
            for name, texts in zip(block.names, body, strict=True):
                lines.append(" & ".join([escaped(name, LATEX), *texts]) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def as_csv(blocks: Sequence[Block], metric: str) -> str:
    """One line per detector, condition and column: fractions as the record has them, and whether they are reliable."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["network", "condition", "detector", "ood", metric, "auroc", "reliable"])
    for block in blocks:
        for name, line in zip(block.names, block.rows, strict=True):
            for column, row in zip(block.columns, line, strict=True):
                if row is not None:
                    writer.writerow([block.network, block.title, name, column, *values(row, metric)])
    return out.getvalue()


def values(row: Row, metric: str) -> list[object]:
    return [getattr(row, metric), row.auroc, json.dumps(row.reliable)]
