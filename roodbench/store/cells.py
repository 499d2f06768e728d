"""What was computed once is kept: cells of tensors under a hash of everything that decides them."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from .files import save_tensors
from .folder import runs_folder
from .identity import code_version, content_hash

log = logging.getLogger("roodbench")

Cell = tuple[dict[str, Tensor], dict[str, Any]]
"""Tensors and JSON-like facts about them."""


class Store:
    """A folder of cells, None for the one in the user's cache.

    A cell is a few tensors (scores of one population, say) named by the hash of its key.
    """

    def __init__(self, folder: Path | str | None) -> None:
        self.folder = runs_folder(folder)
        self._full = False

    def load(self, key: Mapping[str, Any]) -> Cell | None:
        """The cell, None where it was not computed yet (or its file is damaged)."""
        from safetensors import SafetensorError, safe_open

        file = self._file(key)
        try:
            if not file.is_file():
                return None
            with safe_open(file, "pt") as f:
                meta = json.loads((f.metadata() or {})["meta"])
                return {name: f.get_tensor(name) for name in f.keys()}, meta  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            log.warning("ignoring the damaged cell %s (%s)", file, error)
            return None

    def save(self, key: Mapping[str, Any], cell: Cell) -> None:
        tensors, meta = cell
        try:
            save_tensors(tensors, self._file(key), {"meta": json.dumps(meta), "key": json.dumps(key, default=str)})
        except OSError as error:  # a full disk: the run goes on, and what it computes is shown
            if not self._full:
                log.warning("cannot keep what is computed in '%s': %s", self.folder, error.strerror or error)
            self._full = True

    def _file(self, key: Mapping[str, Any]) -> Path:
        return self.folder / "cells" / f"{content_hash({**key, 'code': code_version()})}.safetensors"
