"""The certificate beside a certification's record: its own, in agreement with itself, and the record with it."""

from __future__ import annotations

import json
from pathlib import Path

from ..record.record import typed
from ..store.files import read_text
from .certificate import NAME, read
from .coherent import check_coherent
from .interval.claimed import other_rows
from .interval.row import IntervalRow
from .result import CertifiedResult


def check_beside(file: Path) -> bool:
    """Whether a certificate lies beside the record in a file; ValueError where it is not its own, as for
    `CertifiedResult.load`, where the rows do not follow from it, and where it contradicts itself."""
    beside = file.with_name(NAME)
    if not beside.is_file():
        return False
    found = json.loads(read_text(file))
    if "violations" in found:
        CertifiedResult.load(file)
    certificate = read(beside)
    check_coherent(certificate, str(beside))
    rows = [] if "violations" in found else [typed(IntervalRow, row) for row in found["rows"]]
    for line in other_rows(rows, certificate) if rows else ():
        raise ValueError(f"'{beside}' is not of the run in {file.name} beside it: {line}")
    return True
