"""Who computes what: claims on files, so that processes which share a folder do nothing twice."""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

BEAT, STALE = 10.0, 60.0
"""Seconds between signs of life, and after how many without one a process elsewhere counts as gone."""


class Claims:
    """This process's claims: `NAME.claim` beside a file says who computes it.

    A claim is taken over from a process of this machine that is gone, and from one elsewhere that gives no sign of life
    for a minute. It saves work and decides no number: where a folder takes no claim, or a process was only asleep, two
    compute the same file, and either replaces it whole.
    """

    def __init__(self) -> None:
        self._held: set[Path] = set()
        self._seen: dict[Path, tuple[int, float]] = {}
        """Of a claim elsewhere its last sign of life, and when we first saw that, by our own clock."""
        self._beating: threading.Thread | None = None

    @contextmanager
    def on(self, file: Path) -> Iterator[bool]:
        """Whether the file is ours to compute, for as long as this lasts."""
        claim = file.with_suffix(".claim")
        mine = self._take(claim)
        try:
            yield mine
        finally:
            if claim in self._held:
                self._held.discard(claim)
                with suppress(OSError):
                    if claim.read_text(encoding="utf-8") == json.dumps(me()):  # not taken over while we slept
                        claim.unlink()

    def is_free(self, file: Path) -> bool:
        """Whether nobody else computes a file, as far as can be told."""
        claim = file.with_suffix(".claim")
        try:
            owner, beat = claim.read_text(encoding="utf-8"), claim.stat().st_mtime_ns
        except OSError:
            return True
        return self._is_stale(claim, owner, beat)

    def _take(self, claim: Path) -> bool:
        try:
            if not create(claim) and not (self._take_over(claim) and create(claim)):
                return False
        except OSError:  # a folder that takes no claims
            return True
        self._held.add(claim)
        if self._beating is None:
            self._beating = threading.Thread(target=self._beat, daemon=True)
            self._beating.start()
        return True

    def _take_over(self, claim: Path) -> bool:
        """Move a claim out of the way whose owner is gone; whether we did."""
        try:
            owner, beat = claim.read_text(encoding="utf-8"), claim.stat().st_mtime_ns
        except FileNotFoundError:
            return True
        if not self._is_stale(claim, owner, beat):
            return False
        writing = list(claim.parent.glob(f"{claim.stem}.safetensors.*.tmp"))  # by that owner, not by the next one
        aside = claim.with_suffix(f".{secrets.token_hex(8)}.stale")
        with suppress(FileNotFoundError):  # another one was faster
            os.rename(claim, aside)
            same = aside.read_text(encoding="utf-8") == owner
            if not same:  # taken over, and claimed anew, since we read it
                with suppress(OSError):
                    os.link(aside, claim)
            for left in writing if same else ():
                left.unlink(missing_ok=True)
            aside.unlink()
            return same
        return False

    def sweep(self, folder: Path) -> None:
        """Clear away what processes that are gone left in a folder: claims on what they had finished, half claims.

        Not cells that are being written: who writes them, their claims say.
        """
        left: list[Path] = []
        with suppress(OSError):  # no such folder yet
            files = (file for file in folder.iterdir() if ".safetensors." not in file.name)
            left = [file for file in files if file.suffix in (".claim", ".stale", ".tmp")]
        for file in left:
            with suppress(OSError, ValueError):  # another process is faster, or it is no claim
                if file.suffix == ".claim":
                    self._take_over(file)
                elif self._is_stale(file, file.read_text(encoding="utf-8"), file.stat().st_mtime_ns):
                    file.unlink()

    def _is_stale(self, claim: Path, owner: str, beat: int) -> bool:
        with suppress(ValueError, KeyError, TypeError):
            said = json.loads(owner)
            if said["machine"] == machine():
                return not is_alive(said)
        seen, since = self._seen.get(claim, (None, 0.0))
        if seen != beat:
            self._seen[claim] = beat, time.monotonic()
            return False
        return time.monotonic() - since > STALE

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT)
            for claim in list(self._held):
                with suppress(OSError):
                    os.utime(claim)


def create(claim: Path) -> bool:
    """Whether the claim was free, and is ours now. Nobody sees one that does not name its owner yet."""
    claim.parent.mkdir(parents=True, exist_ok=True)
    written = claim.with_suffix(f".{secrets.token_hex(8)}.tmp")
    try:
        written.write_text(json.dumps(me()), encoding="utf-8")
        os.link(written, claim)
    except FileExistsError:  # or NFS made the link, lost its answer, and asked again
        return written.stat().st_nlink > 1
    finally:
        written.unlink(missing_ok=True)
    return True


def me() -> dict[str, Any]:
    """This process, so that another one can tell whether it lives: numbers of processes come again."""
    return {"machine": machine(), "pid": os.getpid(), "born": birth(os.getpid())}


def is_alive(process: dict[str, Any]) -> bool:
    """Whether a process of this machine, as `me` describes it, still runs."""
    pid = process.get("pid")
    return isinstance(pid, int) and process.get("born") is not None and birth(pid) == process["born"]


def birth(pid: int) -> str | None:
    """When a process of this machine began; None where there is none."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state == "Z" else rest[18]
    except OSError:
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
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
