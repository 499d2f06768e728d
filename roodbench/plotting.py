"""A figure by its name, of finished runs: from their records, or from what their networks say again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from detectors import unknown

from .record.record import Record
from .report.figures import FIGURES, figure
from .surroundings import measured


def plot(
    name: str,
    records: Mapping[str, Record],
    *,
    ood: str | None = None,
    condition: str | None = None,
    detectors: Sequence[str] | None = None,
    configs: Mapping[str, Mapping[str, Any]] | None = None,
    **asked: Any,
) -> Any:
    """A matplotlib Figure, `bars`, `scatter`, `epsilon`, `scores`, or one of what is near images (docs/comparing.md).

    `shift`, `landscape` and `smoothing` open the runs again (`surroundings.measured`, which `asked` goes to, and of
    every run its `configs`). ValueError for a name or choice that there is not, without matplotlib, and for a run that
    is another one now.
    """
    if name not in FIGURES:
        raise ValueError(unknown("figure", name, FIGURES))
    found: Any = records
    if FIGURES[name].opens:
        found = []
        for key, record in records.items():
            config = (configs or {}).get(key)
            found += measured(name, record, config=config, detectors=detectors, ood=ood, **asked)
    elif asked:
        raise ValueError(f"figure {name} takes no {next(iter(asked))}: it is drawn from the record")
    return figure(name, found, ood=ood, condition=condition, detectors=detectors)
