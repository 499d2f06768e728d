"""The pages that readers follow, and what they hold: commands, Python blocks, options."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(page for folder in ("docs", "reports", "roodbench") for page in sorted(ROOT.glob(f"{folder}/**/*.md"))),
]
"""Not benchmarks/RESULTS.md and CHANGELOG.md: what they name was true of the revision that they speak of."""
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+(?:\n[^`\n]+)*)`")
COMMAND = re.compile(
    r"(python3? -|roodbench \w|roodbench -|pip |pytest |bash |source |ruff |\.venv/|\.ci/|[A-Z_]+=\S+ python"
    r"|(benchmarks|studies)/\w+\.sh\b)"
)
"""How a command begins, in a code span or in a block of no language."""


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language; that of a block without one is ''."""
    return [source for found, source in BLOCK.findall(text) if found == language]


def own_detectors() -> str:
    """The file mydetector.py that docs/custom-detector.md writes: its blocks that define a class."""
    text = (ROOT / "docs/custom-detector.md").read_text(encoding="utf-8")
    return "\n\n".join(source for source in blocks(text, "python") if "class " in source)


def own_network() -> str:
    """The file mynet.py that docs/network.md writes."""
    text = (ROOT / "docs/network.md").read_text(encoding="utf-8")
    return next(source for source in blocks(text, "python") if "class Net" in source)


def commands(text: str) -> list[str]:
    """Every shell command: all lines of `sh` blocks; of other blocks and code spans what begins like one.

    >>> commands("Run `python -m x` or `pgd`:\\n```sh\\npip install . \\\\\\n  --quiet  # once\\n```\\n")
    ['pip install . --quiet', 'python -m x']
    """
    found = [line for source in blocks(text, "sh") for line in lines(source)]
    found += [line for source in blocks(text, "") for line in lines(source) if COMMAND.match(line)]
    return found + [span for span in spans(text) if COMMAND.match(span)]


def options(text: str) -> list[str]:
    """Every option in a code span that begins with one.

    >>> options("`--limit 8 --steps=2`, `--plan` and `x --no`")
    ['--limit', '--steps', '--plan']
    """
    tokens = [token for span in spans(text) if span.startswith("--") for token in span.split()]
    return [token.split("=")[0] for token in tokens if token.startswith("--")]


def lines(source: str) -> list[str]:
    """The lines of a block without prompts and comments, those that end in a backslash joined with the next."""
    joined = re.sub(r"\s*\\\n\s*", " ", source)
    bare = [re.sub(r"(^|\s)#.*", "", line).strip().removeprefix("$ ") for line in joined.splitlines()]
    return [line for line in bare if line]


def spans(text: str) -> list[str]:
    """The code spans outside of blocks, each on one line."""
    return [" ".join(span.split()) for span in SPAN.findall(BLOCK.sub("", text))]
