"""What a zip archive (.npz, torch's files) says that it unpacks to, before anything of it is unpacked."""

from __future__ import annotations

import zipfile
from pathlib import Path

LARGEST = 2**36
"""Bytes that a file of arrays or weights may unpack to."""
STORED = 2
"""How many times its own size a file of torch may unpack to: it is not compressed."""
SLACK = 2**20


def unpacked(file: Path) -> int:
    """The bytes that the members of an archive say they have; 0 for a file that is not an archive."""
    try:
        with zipfile.ZipFile(file) as archive:
            return sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, LookupError, NotImplementedError):
        return 0


def bomb_in(file: Path, *, stored: bool) -> str:
    """For a message, how much an archive would unpack to if that is too much for anyone to want; else "".

    `stored`: its members are not compressed, so that they cannot be much more than the file.
    """
    size, found = file.stat().st_size, unpacked(file)
    most = min(LARGEST, STORED * size + SLACK) if stored else LARGEST
    return f"of {in_words(size)} says that it unpacks to {in_words(found)}" if found > most else ""


def in_words(size: int) -> str:
    """
    >>> in_words(2_500_000), in_words(4 * 10**12), in_words(7)
    ('2.5 MB', '4 TB', '7 B')
    """
    for unit, step in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= step:
            return f"{size / step:.3g} {unit}"
    return f"{size} B"
