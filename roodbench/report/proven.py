"""Proven lower bounds on a board: certified AUROCs, best first, and those of detectors that were attacked too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..entry.certified import Certification, Claim
from ..record.pairs import evaluation_sets
from ..record.record import Record
from ..record.text import at_least
from .parts import Block, Cell
from .trust import TONES

WORDS = {"proven": "good", "says nothing": "open", "contradicted": "bad"}
"""What a bound is, and its tone."""

FITTED_ON = ("ID train: ", "ID val: ")
"""Splits that detectors are fitted on."""


@dataclass(frozen=True)
class Proof:
    """One detector of a certification at one radius."""

    entry: Certification
    claim: Claim

    @cached_property
    def least(self) -> tuple[float, str]:
        """The lowest bound over the OOD sets, and its set."""
        return min((value, ood) for ood, value in self.claim.certified.items())

    @property
    def word(self) -> str:
        """proven; says nothing of a bound of 0; contradicted where an attack of the certification got past a bound."""
        return "contradicted" if self.entry.violations else "proven" if self.least[0] > 0 else "says nothing"

    @property
    def name(self) -> str:
        """The detector, of one with noise in its population form."""
        return f"{self.claim.label}, all copies" if self.entry.by_noise else self.claim.label

    @property
    def sure(self) -> str:
        """With which probability all bounds of its line hold together, over all sets: of the population and, where it
        names them, of fresh copies (docs/theorems.md, T13, T11)."""
        return sure([self] if self.claim.copies is None else [self, self])

    @property
    def place(self) -> tuple[Any, ...]:
        """What it has in common with a board: benchmark, network by name and hash (12 digits), norm and radius."""
        row, network = self.entry.row, self.entry.network
        return row["benchmark"], row["model"], network and network[:12], row["norm"], round(self.claim.radius, 9)

    @property
    def order(self) -> tuple[Any, ...]:
        """The highest bounds first; what is contradicted, or says nothing, last."""
        return list(WORDS).index(self.word), -self.least[0], self.name, self.entry.name

    def concerns(self, record: Record, label: str, params: Mapping[str, Any], sets: Sequence[str]) -> bool:
        """Whether this bounds a detector of a run: the same one, on the same images of these sets; by noise, fitted on
        the same images with the same seed (scores with interval bounds are not fitted)."""
        images = {key: its["sha256"] for key, its in evaluation_sets(record).items()}
        wanted = {
            key: sha for key, sha in images.items() if key.startswith("ID test: ") or key.partition(": ")[2] in sets
        }
        same = (self.claim.label, self.claim.params) == (label, params) and {*sets} <= self.claim.certified.keys()
        fits = fit_of(self.entry.record) == fit_of({"data": record.data, "config": {"run": record.config}})
        return same and (fits or not self.entry.by_noise) and wanted.items() <= self.entry.images.items()

    def remarks(self) -> Iterator[str]:
        """What else a reader must know."""
        yield from self.entry.violations[:1]
        few = self.claim.least(deployed=True)
        if self.claim.copies is not None and few is not None:
            yield f"of {self.claim.copies} fresh copies at least {at_least(few)}"
        if self.entry.network is None:
            yield "its record has no hashes: network and images by name alone"
        if self.entry.by_noise and not self.entry.certificate:
            yield "no certificate beside it: its bounds as its record states them"


def sure(proofs: Iterable[Proof]) -> str:
    """With which probability one bound of each proof holds, all together (union bound): so does the highest of them.

    alpha is shared by the images of all sets, so that bounds of all sets are one event (docs/theorems.md, T13).
    """
    error = sum(proof.entry.alpha for proof in proofs if proof.entry.by_noise)
    return f"with probability {at_least(max(0.0, 1 - error))}%" if error else "certain"


def fit_of(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a detector was fitted with: hashes of ID train and val, and the seed."""
    data = record.get("data", {})
    return {key: data[key]["sha256"] for key in data if key.startswith(FITTED_ON)}, record["config"]["run"].get("seed")


def proofs_of(entries: Sequence[Certification]) -> list[Proof]:
    """The proofs of some certifications, in their order."""
    return sorted((Proof(entry, claim) for entry in entries for claim in entry.claims), key=lambda its: its.order)


def certified_of(proofs: Sequence[Proof], record: Record, label: str, params: Mapping[str, Any], sets: Any) -> Cell:
    """What is proven of a detector that a run attacked, as it is deployed: the highest of its bounds; a dash where
    there is none."""
    its = [p for p in proofs if p.concerns(record, label, params, list(sets))]
    proven = [p for p in its if p.word == "proven" and p.claim.least(deployed=True) is not None]
    if not proven:
        return Cell("-")
    best = max(proven, key=lambda p: (p.claim.least(deployed=True), p.entry.name))
    return bound(best.claim.least(deployed=True) or 0.0, f"{best.entry.name}, {picked(best, its)}")


def picked(best: Proof, among: Sequence[Proof]) -> str:
    """How sure the bound of a proof is that was chosen `among` several by its bound."""
    of = f"the highest of {len(among)}, " if len(among) > 1 else ""
    return of + (sure(among) if best.entry.by_noise else "certain")


def bound(value: float, note: str) -> Cell:
    return Cell(f"\N{GREATER-THAN OR EQUAL TO} {at_least(value)}", note=note, value=100 * value)


def blocks(proofs: Sequence[Proof], own: Sequence[Mapping[str, str]]) -> list[Block]:
    """Blocks of proofs, one for every set of images; `own` are hashes of the board's, by split and name."""
    by_images: dict[tuple[Any, ...], list[Proof]] = {}
    for proof in proofs:
        same = any(proof.entry.images and proof.entry.images == its for its in own)
        key = (not same, tuple(proof.entry.sizes.items()), tuple(sorted(proof.entry.images.items())))
        by_images.setdefault(key, []).append(proof)
    found = []
    for (other, sizes, _), its in sorted(by_images.items(), key=lambda entry: entry[0][:2]):
        said = ", ".join(f"{n} {name}" for name, n in sizes)
        about = f"on {said}: other images than the lines above" if other and own else f"on {said}"
        found.append(Block([cells(proof) for proof in its], "Proven: no adversary gets below", about))
    return found


def cells(proof: Proof) -> list[Cell]:
    """A line of a board's table."""
    value, ood = proof.least
    attacked = [seen for seen in proof.claim.attacked.values() if seen is not None]
    sound = len(attacked) == len(proof.claim.attacked)
    return [
        Cell(proof.name, note=proof.entry.name),
        Cell("-"),
        Cell(f"{100 * min(attacked):.1f}", note="its own attack") if sound else Cell("-"),
        bound(value, ood),
        Cell(f"{100 * proof.claim.clean[ood]:.1f}"),
        Cell("-"),
        Cell("-"),
        Cell(proof.word, WORDS[proof.word], value=len(TONES) + list(WORDS).index(proof.word)),
        Cell("; ".join([proof.sure, *proof.remarks()])),
    ]
