"""What was held against an entry, what does not hold, and what nobody looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..record.pairs import is_hashed
from ..record.record import Record
from .certified import Certification
from .file import Entry, contradictions_of

OPEN = (
    "that its hyper-parameters were not chosen on these images",
    "which code made it, on which machine, in which time: stated",
    "passes, and what attacks of its checks and the published attack left: stated, and agreeing with each other",
)
BEFORE = "its intervals and the words of its checks: its scores have no hash, as before these formulas"
"""What no check of an entry can show."""
SIGNED = "its bounds against network and images: `certify --verify` does that with its certificate"
UNSIGNED = "its bounds: taken as they are; `certify --verify` checks them where their certificate is handed in too"


@dataclass
class Verdict:
    """What was held against an entry, what does not hold, and what nobody looked at."""

    entry: str
    seed: int
    images: dict[str, list[int]] = field(default_factory=dict)
    """Per test set how many images were scored again, of how many."""
    attacked: int = 0
    """Images of every set that were attacked again."""
    pictures: int = 0
    """Attacked images of every set that were kept, and scored again."""
    failures: list[str] = field(default_factory=list)
    finds: dict[int, float] = field(default_factory=dict)
    """Number of images of a set whose clean scores are forged -> the probability that this is found, at least."""
    unchecked: list[str] = field(default_factory=list)


def inner(entry: Entry | Certification) -> Verdict:
    """The verdict of the record alone."""
    verdict = Verdict(entry.name, 0, failures=list(contradictions_of(entry)))
    if isinstance(entry, Certification):
        verdict.failures += [f"an attack got past a bound: {line}" for line in entry.violations[:3]]
        verdict.unchecked += [SIGNED if entry.certificate else UNSIGNED, *OPEN[1:2]]
        return verdict
    if not entry.record.scores:
        verdict.failures.append("it has no scores: expected an entry that `leaderboard --add RUN` wrote")
    scores = "its scores: taken as they are, clean and attacked, without --record-only the network scores images again"
    verdict.unchecked += [scores, *([] if is_hashed(entry.record) else [BEFORE]), *OPEN]
    return verdict


def open_of(verdict: Verdict, record: Record, *, noisy: bool) -> Iterator[str]:
    """What was not looked at."""
    seen = [f"{verdict.attacked} of each set that were attacked again"] if verdict.attacked else []
    seen += [f"{verdict.pictures} first ones that were kept"] if verdict.pictures else []
    if seen:
        yield f"attacked scores of other images than the {' and the '.join(seen)}"
    else:
        yield "attacked scores: taken as they are; --again N attacks N images of every set again"
    if noisy:
        yield "single clean scores of randomised detectors: the noise of another kind of device cannot be repeated"
    yield from [] if is_hashed(record) else [BEFORE]
    yield from OPEN
