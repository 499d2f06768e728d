"""Processes that share a folder: who one is, and whether it still runs."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

MARK = re.compile(r"(\d+)-(\d*)-([0-9a-f]{8})")


def me() -> dict[str, Any]:
    """This process, so that another one can tell whether it lives: numbers of processes come again."""
    return {"machine": machine(), "pid": os.getpid(), "born": birth(os.getpid())}


def is_alive(process: Mapping[str, Any]) -> bool | None:
    """Whether a process, as `me` describes it, still runs; None where it cannot be told from here: one elsewhere."""
    pid, born = process.get("pid"), process.get("born")
    if process.get("machine") != machine() or os.name == "nt":
        return None
    found = birth(pid) if isinstance(pid, int) and born is not None else None
    return None if found == "" != born else found == born


def mark_of(process: Mapping[str, Any]) -> str:
    """A process in a word that the name of a file may hold.

    >>> mark_of({"machine": "here", "pid": 12, "born": "345"})
    '12-345-fcec9150'
    """
    return f"{process.get('pid')}-{process.get('born') or ''}-{short(str(process.get('machine')))}"


def of_mark(mark: str) -> dict[str, Any] | None:
    """The process of such a word; None where it is no such word."""
    found = MARK.fullmatch(mark)
    if found is None:
        return None
    return {"machine": machine() if found[3] == short(machine()) else "", "pid": int(found[1]), "born": found[2]}


def birth(pid: int) -> str | None:
    """When a process of this machine began, "" where the system does not say, or hides it: of another user's processes
    it may; None where there is none."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].decode().split()
        return None if state == "Z" else rest[18]
    except OSError:
        pass
    try:
        if os.name != "nt":  # there signal 0 is Ctrl-C
            os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except OSError:
        pass
    return ""


@cache
def machine() -> str:
    """Where process numbers mean the same: the host since it was started, and the container."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")]
    return " ".join(parts)


def short(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:8]
