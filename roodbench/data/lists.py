"""Image lists: `path label` lines, as OpenOOD writes them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ..words import counted
from .files import read_files
from .picture import Frame
from .source import Source

BLANK = " \t\r\ufeff"
"""Around a line: blanks, and a mark of byte order where lists were joined."""
LINE = re.compile(r"(.*[^ \t])[ \t]+(-?[0-9]{1,9})", re.DOTALL)
LARGEST = 2**30
"""Bytes of a list."""
COMMENT = ("# ", "#\t")


def list_source(file: Path, root: Path, frame: Frame) -> Source:
    """The images of a list, whose paths lie below `root`."""
    entries = entries_of(file)
    names, where = [path for path, _, _ in entries], f"list '{file}'"
    lines = np.array([line for _, _, line in entries])

    def read(index: np.ndarray) -> np.ndarray:
        return read_files(where, root, [names[i] for i in index], frame, lines[index])

    return Source(where, np.array([label for _, label, _ in entries]), names, read, lines)


def entries_of(file: Path) -> list[tuple[str, int, int]]:
    """(path, label, line number) of every line of an image list: UTF-8, `path label`, apart by spaces or tabs.

    Blank lines say nothing, nor do comments: lines that begin with `# `, or with `#` and have no label.
    """
    entries = []
    if file.exists() and not file.is_file():
        raise ValueError(f"list '{file}' is no regular file")  # a pipe would be waited for
    if file.exists() and file.stat().st_size > LARGEST:
        raise ValueError(f"list '{file}' has more than {LARGEST} bytes: expected 'path label' lines")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"list '{file}' cannot be read: {error}") from None
    for number, line in enumerate(re.split(r"\r\n|\n|\r(?!\n)", text), 1):  # U+2028 would be part of a name
        content = line.strip(BLANK)
        found = LINE.fullmatch(content)
        if content.startswith(COMMENT) or (content.startswith("#") and not found):
            continue
        if found:
            entries.append((found[1], int(found[2]), number))
        elif content:
            raise ValueError(f"list '{file}', line {number}: {content[:120]!r} is not 'path label' (-1 for OOD)")
    if len(entries) < 2:
        raise ValueError(f"list '{file}' has {counted(len(entries), 'image')}: expected at least 2")
    return entries
