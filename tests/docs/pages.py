"""The pages that readers follow, and what they hold: commands, Python blocks, options."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("reports/**/*.md")),
    *sorted(p for p in ROOT.glob("roodbench/**/*.md")),
]
"""Not benchmarks/RESULTS.md and CHANGELOG.md: what they name was true of the revision that they speak of."""
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+(?:\n[^`\n]+)*)`")
SHELL = re.compile(
    r"(python3? |roodbench |pip |pytest\b|bash |source |ruff |mypy\b|\.venv/|\.ci/|[A-Z_]+=\S+ python|(benchmarks|studies)/\w+\.sh)"
)
"""How a command begins. `ruff`, `mypy` and `pytest` alone are commands too."""


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language; the language of a block without one is ''."""
    return [source for found, source in BLOCK.findall(text) if found == language]


def commands(text: str) -> list[str]:
    """Every shell command of a page: lines of `sh` blocks, lines of other blocks that look like one, and code spans."""
    found = [line for source in blocks(text, "sh") for line in lines(source)]
    for source in blocks(text, ""):
        found += [line for line in map(prompted, lines(source)) if SHELL.match(line)]
    spans = [" ".join(span.split()) for span in SPAN.findall(BLOCK.sub("", text))]
    return found + [span for span in spans if SHELL.match(span)]


def lines(source: str) -> list[str]:
    """The lines of a block, without comments, those that end in a backslash joined with the next."""
    joined = re.sub(r"\\\n\s*", " ", source)
    bare = [re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines()]
    return [line for line in bare if line]


def prompted(line: str) -> str:
    return line.removeprefix("$ ")


def options(text: str) -> list[str]:
    """Every option that a code span begins with, as `--limit` in `--limit N`."""
    spans = [" ".join(span.split()) for span in SPAN.findall(BLOCK.sub("", text))]
    return [span.split()[0].split("=")[0] for span in spans if span.startswith("--")]
