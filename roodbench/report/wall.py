"""The wall of example images: each as it is, as the attack on each detector left it, and the difference, magnified."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..metrics import threshold95
from ..record.pairs import reported, sizes_of
from ..record.record import clean_key, score_key
from ..record.result import Result
from ..record.row import AttackedPopulation
from ..record.text import as_fraction
from .parts import Card, Fold, Picture, Section, Wall

EACH, BUDGET = 4, 350_000
"""Images of a set at most, and bytes of all pictures of a page: as many images as fit, of every set in turn."""
SIDE = 96
"""Pixels: larger pictures are made smaller."""
NONE = (
    "This record keeps no images: that of a run with --keep-images does, and its page shows them clean and attacked, "
    "with their difference and scores."
)


@dataclass(frozen=True)
class Shown:
    """What of a record is on the wall: its attacks at the largest radius, and by how much differences are magnified."""

    result: Result
    attacks: list[AttackedPopulation]
    factor: float
    """By what differences are multiplied so that the largest just fits: whole numbers but where that is below 1."""
    norm: str | None

    def moved(self, attack: AttackedPopulation, index: int) -> Tensor:
        key = score_key(attack.detector, attack.population, attack.condition, attack.eps)
        return self.result.images[key][index]

    def clean(self, population: str, index: int) -> Tensor:
        return self.result.images[clean_key(population)][index]


def wall(result: Result) -> Section:
    """The first images of every attacked set, as many as there is room for."""
    if not result.images:
        return Section("images", "Example images", NONE)
    most = max(a.eps for a in result.attacks)
    attacks = [a for a in result.attacks if a.eps == most]
    far = max(
        float((moved - result.images[clean_key(a.population)]).abs().max())
        for a in attacks
        if (moved := result.images.get(score_key(a.detector, a.population, a.condition, a.eps))) is not None
    )
    norm = next((row.norm for row in result.rows if row.eps == most), None)
    shown = Shown(result, attacks, factor_of(far), norm)
    found: dict[str, list[Wall]] = {}
    room = BUDGET
    for population, index in turns(result, attacks):
        group = group_of(shown, population, index)
        room -= sum(len(picture.source) for card in group.cards for picture in card.pictures)
        if room < 0 and found:
            break
        found.setdefault(population, []).append(group)
    folds = [
        Fold(f"{said(shown, name)} ({len(its)})", its, open=not place)
        for place, (name, its) in enumerate(found.items())
    ]
    missing = [name for name in dict.fromkeys(a.population for a in attacks) if name not in found]
    return Section("images", "Example images", about(shown, missing), folds)


def factor_of(far: float) -> float:
    """The largest whole number, below 1 the largest hundredth, that keeps a difference of `far` within half the range.

    >>> factor_of(8 / 255), factor_of(0.5), factor_of(0.9), factor_of(0.0)
    (15, 1, 0.55, 1)
    """
    if far <= 0.5:
        return math.floor(0.5 / far) if far > 0 else 1
    return math.floor(50 / far) / 100


def scaled(factor: float) -> str:
    """What became of a difference, in words.

    >>> scaled(15), scaled(0.55)
    ('magnified 15 times', 'made smaller, to 0.55 of it, to fit,')
    """
    return f"magnified {factor} times" if factor >= 1 else f"made smaller, to {factor:g} of it, to fit,"


def about(shown: Shown, missing: Sequence[str]) -> str:
    """What the pictures are, and are not."""
    draws = any(scores.shape[0] > 1 for key, scores in shown.result.scores.items() if not key.endswith("/winner"))
    words = (
        f"The first images of the sets, chosen by nobody, at the largest radius, {shown.norm} "
        f"{as_fraction(shown.attacks[0].eps, shown.norm)}: as they are, as the attack on each detector left them, and "
        f"the difference, {scaled(shown.factor)} around grey. Scores are clean, then attacked"
        f"{', of a detector with noise the mean over its draws' if draws else ''}; the threshold is that which 95% of "
        "clean ID reach: what is below it is flagged as OOD."
    )
    return words + (f" For want of room without {', '.join(missing)}." if missing else "")


def turns(result: Result, attacks: Sequence[AttackedPopulation]) -> Iterator[tuple[str, int]]:
    """Set and index: the first image of every set, then the second, and so on."""
    names = list(dict.fromkeys(a.population for a in attacks))
    for index in range(EACH):
        for name in names:
            if index < len(result.images[clean_key(name)]):
                yield name, index


def said(shown: Shown, population: str) -> str:
    """A set and what it is."""
    return f"{population} ({'ID' if population == next(iter(sizes_of(shown.result))) else 'OOD'})"


def group_of(shown: Shown, population: str, index: int) -> Wall:
    """One image: as it is, and a card for every detector."""
    name = f"{population}, image {index}"
    clean = shown.clean(population, index)
    cards = [Card("clean", [Picture(png(clean), f"{name}, as it is")])]
    change = f"change \N{MULTIPLICATION SIGN} {shown.factor:g}"
    for attack in shown.attacks:
        if attack.population != population:
            continue
        moved, who = shown.moved(attack, index), f"{name}, attacked against {attack.detector}"
        apart = 0.5 + shown.factor * (moved.double() - clean.double())
        pictures = [
            Picture(png(moved), who, "attacked"),
            Picture(png(apart, whole=False), f"what the attack on {attack.detector} changed", change),
        ]
        cards.append(Card(attack.detector, pictures, *words(shown, attack, index)))
    return Wall(name, cards)


def words(shown: Shown, attack: AttackedPopulation, index: int) -> tuple[list[str], str]:
    """Who won the image, its scores, what the threshold makes of them, and in which tone to say so."""
    winner = attack.components[attack.winner[index]]
    won = "nothing made it worse" if winner == "clean" else f"won by {winner}"
    if not shown.result.scores:
        return [won], ""
    own = next(iter(sizes_of(shown.result)))
    label, population = attack.detector, attack.population
    limit = float(np.mean(threshold95(reported(shown.result, score_key(label, own, "clean", None)))))
    clean, moved = (
        float(reported(shown.result, score_key(label, population, state, attack.eps))[:, index].mean())
        for state in ("clean", attack.condition)
    )
    right = [(score >= limit) == (population == own) for score in (clean, moved)]
    verdict = {
        (True, True): "still ID" if population == own else "still flagged",
        (True, False): "ID flagged as OOD" if population == own else "OOD taken for ID",
        (False, False): "flagged before" if population == own else "taken for ID before",
        (False, True): "ID now" if population == own else "flagged now",
    }[right[0], right[1]]
    tone = "good" if right[1] else "bad" if right[0] else ""
    return [won, f"{clean:.4g} \N{RIGHTWARDS ARROW} {moved:.4g}", f"threshold {limit:.4g}", verdict], tone


def png(image: Tensor, *, whole: bool = True) -> str:
    """An image (C, H, W) in [0, 1] as the address of a PNG.

    A large one is made smaller: by means of its pixels where it is a `whole` picture; of a difference every n-th pixel
    is taken, since means of it would vanish.
    """
    from PIL import Image

    pixels = (255 * image.double().clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()
    every = -(-max(pixels.shape[:2]) // SIDE)
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if every > 1 and whole:
        picture = picture.reduce(every)
    elif every > 1:
        picture = Image.fromarray(np.asarray(picture)[::every, ::every])
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
