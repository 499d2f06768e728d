"""What entries of a leaderboard say of themselves: whether that is so, their files cannot show."""

from __future__ import annotations

from collections.abc import Sequence

from ..entry.certified import Certification
from ..entry.file import Entry
from ..record.text import as_fraction
from .parts import Block, Cell, Column, Section, Table

STATED = (
    *("entry", "detectors", "benchmark, network", "eps", "attack", "seed"),
    *("code", "revision", "torch", "device", "scores"),
)
CERTIFICATIONS = (
    *("entry", "detectors", "benchmark, network", "radii", "bounds by", "error of each number"),
    *("code", "revision", "torch", "device", "certificate"),
)


def stated(entries: Sequence[Entry]) -> Section:
    """What every entry says of itself."""
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


def stated_certified(certifications: Sequence[Certification]) -> Section:
    """What every certification says of itself."""
    lines = []
    for entry in certifications:
        row, env = entry.row, entry.environment
        radii = dict.fromkeys(claim.radius for claim in entry.claims)
        cells = (
            f"{len(dict.fromkeys(claim.label for claim in entry.claims))}",
            f"{row['benchmark']}, {row['model']}",
            f"{row['norm']} " + ", ".join(as_fraction(radius, row["norm"]) for radius in radii),
            "noise" if entry.by_noise else "intervals",
            f"{entry.alpha:g}" if entry.by_noise else "none",
            env.code,
            env.revision or "-",
            env.versions.get("torch") or "-",
            env.device,
            "agrees" if entry.certificate else "not looked at",
        )
        lines.append([Cell(entry.name), *(Cell(str(text)) for text in cells)])
    heads = [Column(name, "text") for name in CERTIFICATIONS]
    about = "Stated: code, revision, machine, and bounds without their certificate."
    table = Table("certifications", "What each certification says", heads, [Block(lines)])
    return Section("certifications", "Certifications", about, [table])
