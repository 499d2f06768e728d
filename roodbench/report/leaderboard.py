"""The page of a leaderboard: boards with their ranks, what was refused and why, and what every entry states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..entry.certified import Certification
from ..entry.file import Entry
from ..words import counted
from .board import UNKNOWN, Board, Field, Line, boards_of, title_of
from .comparison import named
from .parts import Block, Cell, Column, Fold, Notes, Page, Section, Table
from .proven import blocks as proven_blocks
from .proven import bound, certified_of, picked
from .stated import stated, stated_certified
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
CERTIFIED = 3
"""The place of the column of what is proven, on boards where something is."""
ALONE = ("detector", "worst case", "certified", "clean", "trust", "remarks")
"""The columns of a board with certified lines alone."""
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
BEST = (
    "AUROC % [95% interval], worst case over the OOD sets; the interval is that of the line alone: the best number of "
    "a list is rather too high, for which ranges of ranks allow"
)
PROVES = (
    "AUROC %, both ID and OOD moved; certified: no adversary within the radius leaves less, the lowest over the sets; "
    "worst case: what the certification's own attack left"
)
BOUNDED = (
    "; certified: at least so much is left by any adversary within the radius, the lowest over the sets, of a line "
    "under attack where its own detector is certified on its own images"
)
READING = [
    "A board is one benchmark, network, set of images (both by hash) and radius. Nothing is compared across boards.",
    "Worst case: the lowest AUROC over the OOD sets with both populations attacked. It is what the best attack that "
    "ran left, so the truth may be lower.",
    "A rank is a range: below every detector that is significantly better in its worst case, above every one that is "
    "significantly worse. Tests are paired by image and corrected for all pairs of a list (Holm): with 95% probability "
    "no range of the list is wrong.",
    "Ranked together are lines of one code and one attack alone: the suite of one strength at its own steps and "
    "restarts, seed 0, whose checks ran and did not fail. An inconclusive check is no failure: its noise is wider than "
    "its limit, and the line names it. Lines that anything speaks against stand below, and say what.",
    "Below a detector stands the name of its entry. Every AUROC was computed again from the entry's scores, and its "
    "rows, means, verdicts and counts agree with each other. What nobody can see in a file: that the attacked scores "
    "are those of attacked images, and which code ran. `roodbench validate-entry` scores images again with the "
    "network, and attacks some again.",
]

PROVEN = (
    "Certified lines are proven: no adversary within the radius, however strong, gets below, on those images; with the "
    "probability that the line states, which is over the certification's own noise, or certainly (interval bounds). It "
    "is that of the line alone; where the highest of several bounds is shown, that of all of them together. "
    "What an attack left bounds the truth from above, what is certified from below; a certified line is not ranked. "
    "One whose own certification broke it is called contradicted. `roodbench certify --verify` holds a certificate "
    "against network and images."
)


def leaderboard(entries: Sequence[Entry | Certification], refused: Mapping[str, str]) -> Page:
    """The page of some entries, and of files that are none, by name with the reason."""
    boards = boards_of(entries)
    runs = [entry for entry in entries if isinstance(entry, Entry)]
    certifications = [entry for entry in entries if isinstance(entry, Certification)]
    lines, proofs = (sum(len(getattr(board, name)) for board in boards) for name in ("lines", "proofs"))
    said = [
        f"{counted(lines, 'line')} of {counted(len(runs), 'entry')} on "
        f"{counted(sum(bool(board.lines) for board in boards), 'board')}.",
        "No rank says anything beyond its board.",
    ]
    beside = f"{counted(proofs, 'certified line')} of {counted(len(certifications), 'certification')} beside them."
    said += [beside] if proofs else []
    said += [f"{counted(len(refused), 'file')} {'is' if len(refused) == 1 else 'are'} refused."] if refused else []
    attacked = [board for board in boards if board.lines or not board.proofs]
    folds = {id(board): folded(board, place, boards) for place, board in enumerate(boards)}
    sections = [overview(attacked), Section("ranks", "Ranks", "", [folds[id(board)] for board in attacked])]
    if proofs:
        sections.append(proven(boards, [folds[id(board)] for board in boards if not board.lines]))
    sections.append(Section("reading", "How to read it", "", [Notes([*READING, *([PROVEN] if proofs else [])])]))
    if refused:
        notes = Notes([f"{name}: {reason}" for name, reason in refused.items()])
        about = "These files are no entries, or say what cannot be true of one run."
        sections.append(Section("refused", "Refused", about, [notes]))
    sections += [stated(runs)] if runs or not certifications else []
    sections += [stated_certified(certifications)] if certifications else []
    networks = list(dict.fromkeys((board.benchmark, board.model) for board in attacked or boards))
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
    table = Table("boards", BEST, BOARDS, [Block(lines)], cards=True)
    return Section("boards", "Boards", about, [table])


def proven(boards: Sequence[Board], folds: Sequence[Fold]) -> Section:
    """The highest bound of every board with certified lines, and the boards on which there is nothing else."""
    lines = []
    for board in boards:
        its = [proof for proof in board.proofs if proof.word == "proven"]
        images = ", ".join(f"{n} {name}" for name, n in its[0].entry.sizes.items()) if its else ""
        said = f"{images}; network {board.network}" + ("; among the attacked boards above" if board.lines else "")
        where = Cell(title_of(board), note=said.removeprefix("; "))
        best = [Cell("-")] * 2
        if its:
            chosen = picked(its[0], board.proofs)
            best = [bound(its[0].least[0], chosen), Cell(its[0].name, note=its[0].entry.name)]
        lines += [[where, Cell(str(len(board.proofs))), Cell(str(len(its))), *best]] if board.proofs else []
    about = (
        "What no adversary gets below, however strong. Most of these balls are other ones than those of the attacks "
        "above: a bound says nothing of another radius."
    )
    heads = [Column("board", "text"), Column("certified"), Column("above 0"), Column("highest"), Column("of", "words")]
    caption = "Certified AUROC %, the lowest over the OOD sets; no interval, it is a bound"
    table = Table("proven", caption, heads, [Block(lines)], cards=True)
    return Section("proven", "Certified", about, [table, *folds])


def folded(board: Board, place: int, boards: Sequence[Board]) -> Fold:
    """One board: its lists, the lines without rank, and what is proven; open where there are ranks."""
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
            cells_of(board, found.lines),
            heading(found),
            f"code {found.code}, revision {found.revision}",
        )
        for found in board.fields
    ]
    if board.unranked:
        blocks.append(Block(cells_of(board, board.unranked), "Not ranked", "The last column says why."))
    blocks += proven_blocks(board.proofs, board.hashes)
    caption = CAPTION + (BOUNDED if board.proofs else "")
    heads = [*COLUMNS[:CERTIFIED], *([Column("certified")] if board.proofs else []), *COLUMNS[CERTIFIED:]]
    if not board.lines and board.proofs:
        alone = [place for place, head in enumerate(heads) if head.name in ALONE]
        heads = [heads[place] for place in alone]
        blocks = [replace(b, lines=[[line[place] for place in alone] for line in b.lines]) for b in blocks]
        caption = PROVES
    table = Table(f"board-{place}", caption, heads, blocks, cards=True)
    ranks = sum(len(found.lines) for found in board.fields)
    counts = [f"{counted(len(board.lines), 'line')}, {ranks} ranked"] if board.lines or not board.proofs else []
    counts += [f"{len(board.proofs)} certified"] if board.proofs else []
    title = f"{title_of(board)}: {', '.join(counts)}"
    return Fold(title, [Notes([about]), table], open=any(len(found.lines) > 1 for found in board.fields))


def cells_of(board: Board, lines: Sequence[Line]) -> list[list[Cell]]:
    """Lines of a board; where it has proofs, what they say of each line's own detector stands behind its worst case."""
    found = []
    for line, name in zip(lines, names_of(lines), strict=True):
        its = cells(line, name)
        if board.proofs:
            its.insert(CERTIFIED, certified_of(board.proofs, line.record, line.label, line.row.params, line.rows))
        found.append(its)
    return found


def is_other(one: Board, other: Board) -> bool:
    if UNKNOWN in (one.network, other.network):
        return False
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
