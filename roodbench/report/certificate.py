"""A certificate as the page that a person signs: what it claims, of what, against whom, and how that is checked.

Every sentence names the theorems of docs/theorems.md on which it stands. Figures are rounded to the side that claims
less.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..certify.certificate import INTERVAL, PAGE, read_with_hash
from ..certify.claimed import OTHER, OWN, Settings, clean_auroc
from ..certify.coherent import check_coherent
from ..certify.stated import unverified
from ..record.text import as_radius, at_least, at_most
from .assessor import commands, data_hashes, made_on
from .html import written
from .interval import page_of_intervals
from .parts import Block, Cell, Column, Facts, Notes, Page, Section, Table
from .wording import (
    ASSUMED,
    AT_THRESHOLD,
    EXCLUDED,
    FIGURES,
    UNVERIFIED,
    VERIFIED,
    named,
    plain,
)

FAMILIES = ("roodbench-certificate/", "roodbench-interval-certificate/")
"""How the schemas of certificates begin."""
Certificate = Mapping[str, Any]


def certificate_page(place: Path | str, *, check: bool = True) -> str:
    """The page of a certificate, from its file alone; `check` it first, as every file that was not just written.

    ValueError, in one line, for a file that is no certificate, for one that contradicts itself, and where jinja2 is not
    installed. Whether a certificate holds is not known from it: the page says how to find out.
    """
    certificate, digest = read_with_hash(place)
    if check:
        check_coherent(certificate, str(place))
    if certificate["schema"] == INTERVAL:
        return written(page_of_intervals(certificate, digest), PAGE, digest=digest, drawn=False)
    return written(page_of(certificate, digest), PAGE, digest=digest, drawn=True)


def is_certificate(place: Path | str) -> bool:
    """Whether a file says of itself that it is a certificate, of this version or of another."""
    file = Path(place)
    try:
        found = json.loads(file.read_bytes()) if file.is_file() else None
    except ValueError:
        return False
    return isinstance(found, dict) and str(found.get("schema", "")).startswith(FAMILIES)


def page_of(certificate: Certificate, digest: str) -> Page:
    """The sections of the page."""
    config = Settings.of(certificate)
    network, benchmark = (named(value) for value in (certificate["network"]["name"], id_set(certificate)))
    return Page(
        f"{', '.join(label_of(entry) for entry in certificate['detectors'])}, on {benchmark} with {network}",
        f"Printed from the certificate whose file has the SHA-256 {digest}",
        [*said(certificate, config)],
        [
            Section("verdict", "Figures", "", [figures(certificate, config), Notes([*meanings(certificate, config)])]),
            Section(
                "operating",
                "At the threshold",
                "",
                [rates(certificate, config), Notes([*AT_THRESHOLD, *farthest(certificate, config)])],
            ),
            Section("what", "What is certified", "", [Facts("", [*objects(certificate, config)])]),
            Section("threat", "Against whom", "", [Notes(threat(certificate, config))]),
            Section("assumed", "Assumed", "", [Notes(ASSUMED)]),
            Section("excluded", "Not claimed", "", [Notes(EXCLUDED)]),
            Section(
                "verify", "How to verify", "", [Facts("", commands(certificate, "--power", "0.95")), Notes(VERIFIED)]
            ),
            Section("stated", "Stated, not verified", UNVERIFIED, [Facts("", [*stated(certificate)])]),
            Section("hashes", "Hashes", "", [Facts("", [*hashes(certificate, digest)])]),
        ],
    )


def said(certificate: Certificate, config: Settings) -> Iterator[str]:
    """The verdict: AUROC on the worst OOD set, TPR and FPR at the threshold, at every radius and all at once."""
    yield "What this certificate claims, if it holds; verification tests that, this page cannot know it:"
    for entry, point in zip(certificate["detectors"], certificate["operating"], strict=True):
        least = dict[float, float]()
        for row in certificate["gauroc"]:
            if row["detector"] == entry["detector"] and row["condition"] == "both":
                radius = row["radius_l2"]
                least[radius] = min(row["gauroc_joint"], least.get(radius, 1.0))
        rates = {at["radius_l2"]: (at["tpr"], max(at["fpr"].values())) for at in point["points"]}
        found = [
            f"within {radius_text(radius, certificate, config)} an AUROC of at least {at_least(area)}%, "
            f"at its threshold a TPR of at least {at_least(rates[radius][0])}% and an FPR of at most "
            f"{at_most(rates[radius][1])}%"
            for radius, area in least.items()
        ]
        yield f"{label_of(entry)} keeps {'; '.join(found)} [T12, T27, T28]."
    yield (
        "Each of the images named below, against the worst of the OOD sets, whatever an adversary does to them "
        f"({config.norm}, pixels of [0, 1]); all of them at once with probability at least 1 - "
        f"{config.alpha:.9g} over the noise that was drawn [T30]."
    )


def figures(certificate: Certificate, config: Settings) -> Table:
    """Every certified figure."""
    heads = [Column("detector", "text"), Column(f"radius ({config.norm})"), Column("OOD set", "text")]
    heads += [Column(name) for name in names(certificate, config)]
    lines: dict[tuple[str, float, str], dict[str, Mapping[str, Any]]] = {}
    for row in certificate["gauroc"]:
        lines.setdefault((row["detector"], row["radius_l2"], row["ood"]), {})[row["condition"]] = row
    labels = {entry["detector"]: label_of(entry) for entry in certificate["detectors"]}
    found = [
        [
            Cell(labels[name]),
            Cell(radius_text(radius, certificate, config)),
            Cell(named(ood)),
            *(Cell(figure.text(rows[figure.condition][figure.key])) for figure in FIGURES),
        ]
        for (name, radius, ood), rows in lines.items()
    ]
    sure = f"each with probability at least 1 - {config.alpha:.9g} (alpha as stated)"
    caption = f"%, {sure}; a bound of 0 says nothing"
    return Table("figures", caption, heads, [Block(found)])


def rates(certificate: Certificate, config: Settings) -> Table:
    """TPR and FPR at each detector's threshold."""
    copies = f"{config.samples} copies"
    heads = ["score at least", f"radius ({config.norm})", "TPR", "TPR, new images", f"TPR, {copies}"]
    heads += ["worst class", "its TPR", "of every class, new", "FPR", "FPR, new images", f"FPR, {copies}"]
    found = []
    for entry, point in zip(certificate["detectors"], certificate["operating"], strict=True):
        for at in point["points"]:
            low = [at_least(at[name]) for name in ("tpr", "tpr_new", "tpr_copies", "tpr_worst", "tpr_worst_new")]
            high = [at_most(max(at[name].values())) for name in ("fpr", "fpr_new", "fpr_copies")]
            radius = radius_text(at["radius_l2"], certificate, config) if at["radius_l2"] else "0"
            where = [label_of(entry), plain(point["threshold"]), radius]
            found.append([*where, *low[:3], plain(at["worst_class"]), *low[3:], *high])
    how = (
        "a given threshold"
        if config.tpr is None
        else f"a threshold that {100 * config.tpr:.9g}% of ID validation reach"
    )
    caption = f"%, at {how}, all at once with probability at least 1 - {config.alpha:.9g} (alpha as stated)"
    columns = [Column("detector", "text"), *map(Column, heads)]
    return Table("rates", caption, columns, [Block([list(map(Cell, line)) for line in found])])


def farthest(certificate: Certificate, config: Settings) -> Iterator[str]:
    """Up to which radius the TPR stays."""
    scale = certificate["threat"]["radii"][-1] / config.radius[-1]
    for entry, point in zip(certificate["detectors"], certificate["operating"], strict=True):
        own, new = (
            "at no radius" if radius is None else f"up to {config.norm} {math.floor(1e4 * radius / scale) / 1e4:g}"
            for radius in (point["largest_radius"], point["largest_radius_new"])
        )
        least = f"a TPR of at least {100 * config.least_tpr:.9g}%"
        yield f"{label_of(entry)} keeps {least} {own}; of new images {new}, as stated [T31]."


def names(certificate: Certificate, config: Settings) -> list[str]:
    """The names of the columns of figures."""
    copies = ", ".join(dict.fromkeys(str(entry["params"]["copies"]) for entry in certificate["detectors"]))
    return [figure.name.format(samples=config.samples, copies=copies) for figure in FIGURES]


def meanings(certificate: Certificate, config: Settings) -> Iterator[str]:
    """What the columns mean."""
    for name, figure in zip(names(certificate, config), FIGURES, strict=True):
        yield f"{name}: {figure.said} [{figure.stands_on}]."
    yield (
        "All but the columns of copies are of the score that the detector has of infinitely many noisy copies, its "
        "population form [T2, T3]. Figures that are not at once hold with this probability each; those of one "
        "column at one radius hold together over the OOD sets, others together with less [T13]."
    )


def objects(certificate: Certificate, config: Settings) -> Iterator[tuple[str, str]]:
    """What was certified."""
    for entry in certificate["detectors"]:
        settings = ", ".join(f"{named(k)} {named(v)}" for k, v in entry["params"].items())
        yield label_of(entry), settings
    yield "Network", named(certificate["network"]["name"])
    yield "Benchmark", named(certificate["config"]["run"].get("benchmark"))
    for prefix, role in ((OWN, "ID images"), (OTHER, "OOD images")):
        sets = {k.removeprefix(prefix): v for k, v in certificate["data"].items() if k.startswith(prefix)}
        yield role, "; ".join(f"{named(name)}: {its['images']}" for name, its in sets.items())
    yield (
        "Noise",
        f"Gaussian, sigma {config.sigma:.9g} in pixels of [0, 1]; {config.samples} noisy scores an image (as stated)",
    )


def threat(certificate: Certificate, config: Settings) -> list[str]:
    """Who the adversary is."""
    balls = certificate["threat"]["radii"]
    radii = ", ".join(radius_text(radius, certificate, config) for radius in balls)
    ball = ", ".join(f"{radius:.6g}" for radius in balls)
    through = f", through the l2 ball that holds it ({ball}) [T14]" if config.norm == "linf" else ""
    return [
        f"Moves each image by any shift within {config.norm} {radii} in pixels of [0, 1]{through} [T1, T2].",
        "Knows network, detector and images, and may choose shifts by all of them, but not by the noise (A2) [T1].",
        "In the columns of copies: has one try at an image, whose noise is drawn afresh; no seed is known [T10, T25].",
    ]


def stated(certificate: Certificate) -> Iterator[tuple[str, str]]:
    """What verification takes as it is: values, and the fields with what is left open."""
    sets = [name.removeprefix(OTHER) for name in certificate["data"] if name.startswith(OTHER)]
    for entry in certificate["detectors"]:
        areas = "; ".join(f"{named(name)} {100 * clean_auroc(entry, name):.1f}%" for name in sets)
        yield f"Clean AUROC of {label_of(entry)}", f"{areas}, from the scores in the certificate"
    yield from made_on(certificate)
    for fields, what in unverified():
        yield fields, f"not verified: {what}"


def hashes(certificate: Certificate, digest: str) -> Iterator[tuple[str, str]]:
    """What identifies the file and everything that it is about."""
    network = certificate["network"]
    yield "This certificate", digest
    yield "Network, as loaded", plain(network["sha256"])
    yield "Network, as it ran", plain(network["prepared"])
    yield "Code", plain(certificate["code"])
    yield from data_hashes(certificate)
    yield "Seed of the noise", f"{certificate['seed']}, which follows from the hashes of network, images and code"


def id_set(certificate: Certificate) -> str:
    return next(name.removeprefix(OWN) for name in certificate["data"] if name.startswith(OWN))


def label_of(entry: Mapping[str, Any]) -> str:
    return f"{entry['detector']}({named(entry['base'])})"


def radius_text(radius_l2: float, certificate: Certificate, config: Settings) -> str:
    """A radius in the norm of the certificate, to nine digits, or as a fraction where it is one."""
    return as_radius(config.radius[certificate["threat"]["radii"].index(radius_l2)], config.norm)
