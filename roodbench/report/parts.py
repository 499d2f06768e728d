"""The parts of a page, before any HTML: sections of tables, figures, notes and facts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .svg import Drawing


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, as the table of the record prints it, and how it is shown."""

    text: str
    tone: str = ""
    """good, bad, doubtful, open or quiet; nothing for most."""
    note: str = ""
    """What is said below the text."""
    value: float | None = None
    """What it is sorted by, where that is not the number that its text begins with."""
    drawing: Drawing | None = None
    tint: float | None = None
    """In [0, 1], how strongly its ground is coloured."""

    @property
    def number(self) -> str:
        """The text without its interval."""
        return self.text.partition(" [")[0]

    @property
    def interval(self) -> str:
        """`[low, high]` and the mark behind it, empty where the text has none."""
        _, bracket, rest = self.text.partition(" [")
        return bracket.strip() + rest


@dataclass(frozen=True)
class Column:
    """A column: its name, its kind (text, words for sentences, number, drawing), whether its values are a choice."""

    name: str
    kind: str = "number"
    choice: bool = False
    first: str = ""
    """The value that is chosen when the page opens; empty for all."""


@dataclass(frozen=True)
class Block:
    """Lines of a table below one heading."""

    lines: Sequence[Sequence[Cell]]
    heading: str = ""
    about: str = ""


@dataclass(frozen=True)
class Table:
    """A table; as `cards` each line is a card where the screen is narrow."""

    key: str
    caption: str
    columns: Sequence[Column]
    blocks: Sequence[Block]
    cards: bool = False
    narrow: bool = False
    """Whether it is no wider than its content."""
    kind: str = field(default="table", init=False)

    @property
    def sizes(self) -> int:
        """How many lines it has."""
        return sum(len(block.lines) for block in self.blocks)


@dataclass(frozen=True)
class Figures:
    """Drawings beside each other, each with its caption, and the key of their lines: style and words."""

    drawings: Sequence[tuple[str, Drawing]]
    key: Sequence[tuple[str, str]] = ()
    together: int = 1
    """How many of them belong in one row."""
    kind: str = field(default="figures", init=False)


@dataclass(frozen=True)
class Picture:
    """A picture: what the browser reads, what a screen reader says, and a word or two below it."""

    source: str
    words: str
    label: str = ""


@dataclass(frozen=True)
class Card:
    """Pictures with a title and lines of words; the last of these in a tone, as that of a `Cell`."""

    title: str
    pictures: Sequence[Picture]
    lines: Sequence[str] = ()
    tone: str = ""


@dataclass(frozen=True)
class Wall:
    """Cards beside each other, below a title."""

    title: str
    cards: Sequence[Card]
    kind: str = field(default="wall", init=False)


@dataclass(frozen=True)
class Notes:
    """Sentences."""

    lines: Sequence[str]
    kind: str = field(default="notes", init=False)


@dataclass(frozen=True)
class Facts:
    """Names and what they stand for."""

    title: str
    entries: Sequence[tuple[str, str]]
    kind: str = field(default="facts", init=False)


@dataclass(frozen=True)
class Fold:
    """Parts that a reader may open."""

    title: str
    parts: Sequence[Table | Figures | Notes | Wall]
    open: bool = False
    kind: str = field(default="fold", init=False)


Part = Table | Figures | Notes | Facts | Fold | Wall


@dataclass(frozen=True)
class Section:
    """A section: the name of its place, its title, a sentence or two, and its parts."""

    key: str
    title: str
    about: str = ""
    parts: Sequence[Part] = ()


@dataclass(frozen=True)
class Page:
    """A page: its title, a line below it, what it says in a sentence or two, and its sections."""

    title: str
    subtitle: str
    said: Sequence[str]
    sections: Sequence[Section]
    kind: str = "report"
    """What it is, beside the name on top."""


def title_of(benchmark: str, labels: Sequence[str]) -> str:
    """A benchmark and its detectors, by name where they are few.

    >>> title_of("digits", ["gen", "knn"]), title_of("digits", ["a", "b", "c", "d"])
    ('digits: gen, knn', 'digits: 4 detectors')
    """
    return f"{benchmark}: {', '.join(labels) if len(labels) < 4 else f'{len(labels)} detectors'}"


def folded(parts: Iterable[tuple[str, Sequence[Table | Figures | Notes]]]) -> list[Part]:
    """One fold a detector, the first of them open; of one detector alone, its parts themselves."""
    found = list(parts)
    if len(found) == 1:
        return list(found[0][1])
    return [Fold(title, its, open=place == 0) for place, (title, its) in enumerate(found)]
