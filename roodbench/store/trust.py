"""Whose kept files are believed: what lies in a cache decides numbers, so nobody else may have put it there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

ROOT = 0
"""The user who can write everywhere anyway."""
POSIX = hasattr(os, "geteuid")
"""Whether files have owners and modes that say who may write; elsewhere nothing is refused."""


def check_cache(folder: Path) -> None:
    """ValueError for a folder of the user's cache that is another user's, or that everybody may write to.

    Of a folder elsewhere, which somebody chose, nothing is asked here: a group may share it (`is_believed`).
    """
    from platformdirs import user_cache_path

    cache = user_cache_path("roodbench")
    for place in (folder, *folder.parents) if POSIX and folder.is_relative_to(cache) else ():
        if place.is_relative_to(cache) and place.exists():
            found = place.stat()
            if found.st_uid not in (os.geteuid(), ROOT):
                raise ValueError(
                    f"the cache '{place}' is user {found.st_uid}'s, and what is kept there decides numbers: set "
                    "XDG_CACHE_HOME to a folder of yours"
                )
            if found.st_mode & stat.S_IWOTH:
                raise ValueError(
                    f"everybody may write to the cache '{place}', and what is kept there decides numbers: "
                    f"chmod o-w '{place}'"
                )


def is_believed(file: Path) -> bool:
    """Whether a kept file is one's own, or lies where those alone who share the folder can have put it.

    False for another user's in one's own cache, or where everybody may write to its folder or to the one around that:
    there anybody can have made both.
    """
    from platformdirs import user_cache_path

    if not POSIX or file.stat().st_uid in (os.geteuid(), ROOT):
        return True
    shared = not any(place.stat().st_mode & stat.S_IWOTH for place in (file.parent, file.parent.parent))
    return shared and not file.is_relative_to(user_cache_path("roodbench"))
