"""What was computed once is kept: cells of tensors under a hash of everything that decides them."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from torch import Tensor

from .claims import Claims
from .files import save_tensors
from .folder import now_in, runs_folder
from .identity import code_version, content_hash, tensor_hash
from .journal import Journal
from .trust import is_believed

log = logging.getLogger("roodbench")

Cell = tuple[dict[str, Tensor], dict[str, Any]]
"""Tensors and JSON-like facts about them."""


class DamagedError(ValueError):
    """A file that should hold a cell holds something else."""


@dataclass
class Reuse:
    """How many cells a run asked for, how many of them were kept before it, and when the oldest of those was made."""

    asked: int = 0
    reused: int = 0
    oldest: float | None = None
    """Seconds since 1970."""
    grounds: Counter[str] = field(default_factory=Counter)
    """How many were reused since more than keys was compared, by what."""

    def noted(self, made: float, grounds: str) -> None:
        self.reused += 1
        if grounds:
            self.grounds[grounds] += 1
        self.oldest = made if self.oldest is None else min(self.oldest, made)

    def described(self) -> dict[str, Any]:
        """JSON-like: `cells` reused `of` so many, the date of the `oldest`, None where nothing was reused."""
        date = None if self.oldest is None else datetime.fromtimestamp(self.oldest).isoformat(" ", "seconds")
        return {"cells": self.reused, "of": self.asked, "oldest": date}


class Store:
    """A folder of cells, None for the one in the user's cache. Several processes may share it.

    A cell is a few tensors (scores of one population, say) named by the hash of its key.
    """

    def __init__(self, folder: Path | str | None) -> None:
        self.folder = runs_folder(folder)
        self.claims = Claims()
        self.journal: Journal | None = None
        self.begin()

    def begin(self, *, fresh: bool = False, since: float | None = None) -> None:
        """Count anew what is reused; `fresh` leaves alone what was kept before now (or `since`), and replaces it.

        `grounds`, set by whoever compares more than keys, or does so no longer, are what the notice names.
        """
        self.fresh, self.reuse, self.grounds = fresh, Reuse(), ""
        self.since = now_in(self.folder) if since is None else since
        """By the folder's own clock: what is younger was computed meanwhile, by this process or another one."""
        self._unkept: dict[Path, Cell] = {}
        """What the folder did not take."""
        self._asked: set[Path] = set()
        self._met: set[Path] = set()
        """Cells that were asked for, and those that are ours or were found."""
        self._warned = False
        self.claims.sweep(self.folder / "cells")

    def file(self, key: Mapping[str, Any]) -> Path:
        """Where the cell of a key lies, or will."""
        return place_of(self.folder / "cells", key)[0]

    def load(self, key: Mapping[str, Any]) -> Cell | None:
        """The cell, None where it was not computed yet, or its file is not what was written."""
        file, text = place_of(self.folder / "cells", key)
        self._asked.add(file)
        self.reuse.asked = len(self._asked)
        if file in self._unkept:
            return self._unkept[file]
        try:
            made = file.stat().st_mtime
            if self.fresh and made < self.since:
                return None
            if not is_believed(file):
                self._warn(f"the kept {file} is another user's: computing it anew, and whatever else is")
                return None
            cell = read_cell(file, text)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (DamagedError, OSError) as error:
            self._warn(f"the kept {file} is damaged ({error}): computing it anew, and whatever else is damaged")
            return None
        if file not in self._met:
            self._met.add(file)
            if made < self.since:
                self.reuse.noted(made, self.grounds)
            if self.journal is not None:
                self.journal.used(file)
        return cell

    def save(self, key: Mapping[str, Any], cell: Cell, **facts: Any) -> None:
        """Keep a cell, and note `facts` of it; a warning where the folder does not take it."""
        file, text = place_of(self.folder / "cells", key)
        self._met.add(file)
        try:
            write_cell(file, cell, text)
        except OSError as error:
            self._unkept[file] = cell
            self._warn(f"cannot keep {file} ({error.strerror or error}): going on without")
        else:
            if self.journal is not None:
                self.journal.made(file, **facts)

    def notice(self) -> dict[str, Any]:
        """Say what was reused since `begin`; returns it, JSON-like."""
        found = self.reuse.described()
        if self.reuse.reused:
            why = "".join(f", {n} of them since {what} are the same" for what, n in self.reuse.grounds.items())
            log.info("reused %d of %d kept parts, the oldest of %s%s: --fresh computes them anew", *found.values(), why)
        return found

    def _warn(self, text: str) -> None:
        if not self._warned:
            log.warning("%s", text)
        self._warned = True


def place_of(folder: Path, key: Mapping[str, Any]) -> tuple[Path, str]:
    """The file of a cell, by a hash of its key and this code, and the text of both, which the cell holds too."""
    whole = {**key, "code": code_version()}
    return folder / f"{content_hash(whole)}.safetensors", json.dumps(whole, sort_keys=True, default=str)


def write_cell(file: Path, cell: Cell, key: str) -> None:
    """Write a cell and its key, with a hash of all of it."""
    tensors, facts = cell
    text = {"meta": json.dumps(facts), "key": key}
    save_tensors(tensors, file, {**text, "sha256": checksum(tensors, text)})


def read_cell(file: Path, key: str | None = None) -> Cell:
    """The cell in a file; DamagedError, saying how, where that is not what `write_cell` wrote (under `key`)."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as f:
            text = f.metadata() or {}
            tensors = {name: f.get_tensor(name).clone() for name in f.keys()}  # noqa: SIM118 - no view of the file
    except (SafetensorError, OSError, ValueError, TypeError, RuntimeError) as error:
        raise DamagedError(str(error)) from None
    if text.pop("sha256", "") != checksum(tensors, text):
        raise DamagedError("its content is not what its checksum says")
    if key is not None and text["key"] != key:
        raise DamagedError("it is another's")
    return tensors, json.loads(text["meta"])


def checksum(tensors: Mapping[str, Tensor], text: Mapping[str, str] | None = None) -> str:
    """A hash of tensors with their names, and of text beside them."""
    return content_hash([{name: tensor_hash(tensor) for name, tensor in tensors.items()}, text])
