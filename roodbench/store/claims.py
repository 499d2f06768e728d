"""Who computes what: claims on files, so that processes which share a folder do nothing twice."""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .files import sweep, temporary_of
from .process import is_alive, me

BEAT, STALE = 10.0, 60.0
"""Seconds between signs of life, and after how many without one a process elsewhere counts as gone."""


class Claims:
    """This process's claims: `NAME.claim` beside a file says who computes it.

    A claim is taken over from a process of this machine that is gone, and from one elsewhere that gives no sign of life
    for a minute. It saves work and decides no number: where a folder takes no claim, or a process was only asleep, two
    compute the same file, and either replaces it whole.
    """

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[int, float]] = {}
        """Of a claim elsewhere its last sign of life, and when we first saw that, by our own clock."""

    @contextmanager
    def on(self, file: Path) -> Iterator[bool]:
        """Whether the file is ours to compute, for as long as this lasts."""
        claim = file.with_suffix(".claim")
        if not self._take(claim):
            yield False
            return
        try:
            with beating(claim):
                yield True
        finally:
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
            return create(claim) or (self._take_over(claim) and create(claim))
        except OSError:  # a folder that takes no claims
            return True

    def _take_over(self, claim: Path) -> bool:
        """Move a claim out of the way whose owner is gone; whether we did."""
        try:
            owner, beat = claim.read_text(encoding="utf-8"), claim.stat().st_mtime_ns
        except FileNotFoundError:
            return True
        if not self._is_stale(claim, owner, beat):
            return False
        aside = claim.with_suffix(f".{secrets.token_hex(8)}.stale")
        with suppress(FileNotFoundError):  # another one was faster
            os.rename(claim, aside)
            same = aside.read_text(encoding="utf-8") == owner
            if not same:  # taken over, and claimed anew, since we read it
                with suppress(OSError):
                    os.link(aside, claim)
            aside.unlink()
            return same
        return False

    def sweep(self, folder: Path) -> None:
        """Clear away what processes that are gone left in a folder: half files, claims on what was finished."""
        sweep(folder)
        left: list[Path] = []
        with suppress(OSError):  # no such folder yet
            left = [file for file in folder.iterdir() if file.suffix in (".claim", ".stale")]
        for file in left:
            with suppress(OSError, ValueError):  # another process is faster, or it is no claim
                if file.suffix == ".claim":
                    self._take_over(file)
                elif self._is_stale(file, file.read_text(encoding="utf-8"), file.stat().st_mtime_ns):
                    file.unlink()

    def _is_stale(self, claim: Path, owner: str, beat: int) -> bool:
        with suppress(ValueError, AttributeError):
            alive = is_alive(json.loads(owner))
            if alive is not None:
                return not alive
        seen, since = self._seen.get(claim, (None, 0.0))
        if seen != beat:
            self._seen[claim] = beat, time.monotonic()
            return False
        return time.monotonic() - since > STALE


@contextmanager
def beating(file: Path) -> Iterator[None]:
    """Renew a file's date, a sign of life, for as long as this lasts."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT):
            with suppress(OSError):
                os.utime(file)

    threading.Thread(target=beat, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def create(claim: Path) -> bool:
    """Whether the claim was free, and is ours now. Nobody sees one that does not name its owner yet."""
    claim.parent.mkdir(parents=True, exist_ok=True)
    written = temporary_of(claim)
    try:
        written.write_text(json.dumps(me()), encoding="utf-8")
        os.link(written, claim)
    except FileExistsError:  # or NFS made the link, lost its answer, and asked again
        return written.stat().st_nlink > 1
    finally:
        written.unlink(missing_ok=True)
    return True
