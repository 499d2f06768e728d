"""The page of a leaderboard: boards with their ranks, what was refused and why, and what every entry states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..entry.file import Entry
from ..record.text import as_fraction
from ..words import counted
from .board import Board, Field, Line, boards_of, title_of
from .comparison import named
from .parts import Block, Cell, Column, Fold, Notes, Page, Section, Table
from .trust import by_detector, trust

COLUMNS = [
    Column("detector", "text"),
    Column("rank"),
    Column("worst case"),
    Column("clean"),
    Column("mean"),
    Column("passes"),
    Column("trust", "text", True),
    Column("remarks", "words"),
]
BOARDS = [
    Column("board", "text"),
    Column("lines"),
    Column("ranked"),
    Column("best worst case"),
    Column("may be the best", "words"),
]
CAPTION = (
    "AUROC % [95% interval] with ID and OOD attacked, against the set named below it, where it is lowest; clean is on "
    "that set, mean over all sets; passes are network passes an image, forward and backward"
)
STATED = (
    *("entry", "detectors", "benchmark, network", "eps", "attack", "seed"),
    *("code", "revision", "torch", "device", "scores"),
)
READING = [
    "A board is one benchmark, network, set of images (both by hash) and radius. Nothing is compared across boards.",
    "Worst case: the lowest AUROC over the OOD sets with both populations attacked. It is what the best attack that "
    "ran left, so the truth may be lower.",
    "A rank is a range: below every detector that is significantly better in its worst case, above every one that is "
    "significantly worse. Tests are paired by image and corrected for all pairs of a list (Holm): with 95% probability "
    "no range of the list is wrong.",
    "Ranked together are lines of one code and one attack alone: the suite of one strength at its own steps and "
    "restarts, seed 0, with all checks passed. Lines that anything speaks against stand below, and say what.",
    "Below a detector stands the name of its entry. Every AUROC was computed again from the entry's scores, and its "
    "rows, means, verdicts and counts agree with each other. What nobody can see in a file: that the attacked scores "
    "are those of attacked images, and which code ran. `roodbench validate-entry` scores images again with the "
    "network, and attacks some again.",
]


def leaderboard(entries: Sequence[Entry], refused: Mapping[str, str]) -> Page:
    """The page of some entries, and of files that are none, by name with the reason."""
    boards = boards_of(entries)
    lines = sum(len(board.lines) for board in boards)
    said = [
        f"{counted(lines, 'line')} of {counted(len(entries), 'entry')} on {counted(len(boards), 'board')}.",
        "No rank says anything beyond its board.",
    ]
    said += [f"{counted(len(refused), 'file')} {'is' if len(refused) == 1 else 'are'} refused."] if refused else []
    folds = [folded(board, place, boards) for place, board in enumerate(boards)]
    sections = [overview(boards), Section("ranks", "Ranks", "", folds)]
    sections.append(Section("reading", "How to read it", "", [Notes(READING)]))
    if refused:
        notes = Notes([f"{name}: {reason}" for name, reason in refused.items()])
        about = "These files are no entries, or say what cannot be true of one run."
        sections.append(Section("refused", "Refused", about, [notes]))
    sections.append(stated(entries))
    networks = list(dict.fromkeys((board.benchmark, board.model) for board in boards))
    subtitle = "; ".join(f"{benchmark}: {model}" for benchmark, model in networks) or "no entries"
    return Page("Detectors under adaptive attack", subtitle, said, sections, kind="leaderboard")


def overview(boards: Sequence[Board]) -> Section:
    """A line a board: its longest list, and who may be first on it."""
    lines = []
    for board in boards:
        its = board.fields[0].lines if board.fields else []
        may = [name for name, line in zip(names_of(its), its, strict=True) if line.rank and line.rank[1] == 1]
        best = f"{100 * its[0].worst.value:.1f} {interval(its[0])}" if its else "-"
        images = ", ".join(f"{n} {name}" for name, n in board.images.items())
        counts = [Cell(str(len(board.lines))), Cell(str(len(its)))]
        more = (
            f"and {counted(len(board.fields) - 1, 'list')} of other code or strength" if len(board.fields) > 1 else ""
        )
        lines.append(
            [
                Cell(title_of(board), note=images),
                *counts,
                Cell(best),
                Cell(", ".join(may) or "-", note=more if len(board.fields) > 1 else ""),
            ]
        )
    about = (
        "A benchmark, a network, a set of images and a radius each, and of its lists, each of one code and attack, the "
        "longest. Whoever may be the best has nobody on it who is significantly better in the worst case."
    )
    table = Table("boards", "AUROC % [95% interval], worst case over the OOD sets", BOARDS, [Block(lines)], cards=True)
    return Section("boards", "Boards", about, [table])


def folded(board: Board, place: int, boards: Sequence[Board]) -> Fold:
    """One board: its lists, and the lines without rank; open where there are ranks."""
    (own, n), *others = board.images.items()
    sets = ", ".join(f"{count} {name}" for name, count in others)
    about = f"{n} {own} against {sets}{' (sets chosen by --ood)' if board.chosen else ''}; network {board.network}."
    if any(
        (other.benchmark, other.model) == (board.benchmark, board.model) for other in boards if is_other(other, board)
    ):
        about += " Another board has a network of this name with other weights."
    if any(is_alike(other, board) for other in boards):
        about += " Another board has as many images of these names, of other content."
    if any(larger(other, board) for other in boards):
        about += " Another board has this benchmark, network and radius with more images or sets."
    blocks = [
        Block(
            [cells(line, name) for line, name in zip(found.lines, names_of(found.lines), strict=True)],
            heading(found),
            f"code {found.code}, revision {found.revision}",
        )
        for found in board.fields
    ]
    if board.unranked:
        lines = [cells(line, name) for line, name in zip(board.unranked, names_of(board.unranked), strict=True)]
        blocks.append(Block(lines, "Not ranked", "The last column says why."))
    table = Table(f"board-{place}", CAPTION, COLUMNS, blocks, cards=True)
    ranks = sum(len(found.lines) for found in board.fields)
    title = f"{title_of(board)}: {counted(len(board.lines), 'line')}, {ranks} ranked"
    return Fold(title, [Notes([about]), table], open=any(len(found.lines) > 1 for found in board.fields))


def is_other(one: Board, other: Board) -> bool:
    return (one.network, one.space) != (other.network, other.space) and one.space == other.space


def is_alike(one: Board, other: Board) -> bool:
    """Whether two boards differ by the images' content alone."""
    first, second = ((title_of(board), board.images, board.network) for board in (one, other))
    return one is not other and first == second


def larger(one: Board, other: Board) -> bool:
    """Whether a board has what another one has, and more images or sets."""
    more = all(one.images.get(name, 0) >= n for name, n in other.images.items())
    return title_of(one) == title_of(other) and more and sum(one.images.values()) > sum(other.images.values())


def heading(found: Field) -> str:
    one = "one detector, nothing to rank" if len(found.lines) == 1 else f"{len(found.lines)} detectors"
    return f"Suite, {found.strength}: {one}"


def names_of(lines: Sequence[Line]) -> list[str]:
    """Names of detectors, with what tells those of one label apart."""
    return named([(line.label, line.row.params, f"({line.entry})") for line in lines])


def cells(line: Line, name: str) -> list[Cell]:
    row = line.row
    mean = sum(its.auroc for its in line.rows.values()) / len(line.rows)
    passes = max(sum(its) for its in row.passes.values())
    mark = "*" if line.reliable is False else ""
    return [
        Cell(name, note=line.entry),
        Cell(place_of(line)),
        Cell(f"{100 * line.worst.value:.1f} {interval(line)}{mark}", note=row.ood),
        Cell(f"{100 * line.clean[row.ood].auroc:.1f}"),
        Cell(f"{100 * mean:.1f}"),
        Cell(f"{passes:.0f}"),
        *verdict(line),
    ]


def place_of(line: Line) -> str:
    """The rank, and the range that the tests leave it."""
    if line.rank is None:
        return "-"
    rank, best, worst = line.rank
    return f"{rank}" if best == worst else f"{rank} [{best}-{worst}]"


def interval(line: Line) -> str:
    return "[{:.1f}, {:.1f}]".format(*(100 * end for end in line.worst.ci))


def verdict(line: Line) -> list[Cell]:
    """Whether to believe it; why it has no rank, and whose code it needs."""
    found = trust(line.rows, by_detector(line.record.indicators))
    named = [name for name in (*line.record.config["detector"], line.record.config.get("base", "")) if ":" in name]
    remarks = [*line.reasons, *([f"code of its own: {', '.join(named)}"] if named else [])]
    if line.reasons and found.tone in ("good", "doubtful"):
        found = Cell("not ranked", "open")
    return [replace(found, note=""), Cell("; ".join(remarks) or found.note)]


def stated(entries: Sequence[Entry]) -> Section:
    """What every entry says of itself: whether that is so, its file cannot show."""
    heads = [Column(name, "text") for name in STATED]
    lines = []
    for entry in entries:
        record = entry.record
        config, env, radii = record.config, record.environment, dict.fromkeys(row.eps for row in record.rows if row.eps)
        cells = (
            f"{len(record.detectors) and len(dict.fromkeys(d.detector for d in record.detectors))}",
            f"{record.rows[0].benchmark}, {record.rows[0].model}",
            ", ".join(as_fraction(eps, config.get("norm")) for eps in radii),
            f"{config.get('method')}, {config.get('strength')}",
            config.get("seed"),
            env.code,
            env.revision or "-",
            env.versions.get("torch") or "-",
            env.device,
            (record.scores_sha256 or "without hash") if record.scores else "none",
        )
        lines.append([Cell(entry.name), *(Cell(str(text)) for text in cells)])
    about = "Stated, and not seen by anybody else: code, revision, machine."
    return Section("entries", "Entries", about, [Table("entries", "What each file says", heads, [Block(lines)])])
