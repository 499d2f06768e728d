"""A certificate of interval bounds as the page that a person signs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..certify.interval.claimed import LEFT, tests_of
from ..record.text import as_radius, at_least, at_most
from .assessor import commands, data_hashes, made_on
from .parts import Block, Cell, Column, Facts, Notes, Page, Section, Table
from .wording import UNVERIFIED, named, plain

Certificate = Mapping[str, Any]
ASSUMED = (
    "Float32 is what T32 says of it: sums and products that are each rounded once, in any order; no TF32, Winograd or "
    "FFT; exp and log wrong by a few units in the last place [T32].",
    "torch.fx traces of the network what it computes [T32]; the score of every image was checked to lie in its bounds.",
    "Float64, in which bounds are computed, rounds as IEEE 754 says [T32].",
)
EXCLUDED = (
    "Other images than those that are named here by hash: nothing is said of new ones [T12].",
    "Other adversaries than those who change each pixel by at most the radius: other norms, patches, shifts [T32].",
    "That a detector is weak where a bound is low: bounds are loose, of deep networks so much that they say nothing.",
    "The accuracy of the network, training data, and whether these OOD sets stand for what will be met: no theorem "
    "speaks of them.",
)
VERIFIED = (
    "It computes every bound again from the network and the images, compares every field, and every metric with the "
    "bounds; nothing is drawn, so that nothing is left to chance [T32].",
    "It needs the network's file and the images with the hashes below, and RoodBench with the same code.",
    "The second command prints this page from the file, for anyone, without network and images, and only where the "
    "file agrees with itself.",
)
MEANINGS = (
    "AUROC, ID moved: at least, whatever each ID image is changed to within the radius; OOD moved: each OOD image; "
    "both moved: both, and this is what the first lines say [T12, T32].",
    "FPR95: at most, both moved: the share of OOD that reaches the threshold which 95% of ID, moved too, still reach. "
    "That threshold is tuned to moved ID; none that is set before gives this [T12].",
    "An AUROC of 0 says nothing of the detector: its bounds are too wide.",
)


def page_of_intervals(certificate: Certificate, digest: str) -> Page:
    """The sections of the page."""
    own = next(iter(tests_of(certificate)))
    names = ", ".join(entry["detector"] for entry in certificate["detectors"])
    stated = [(field, f"not verified: {what}") for field, what in LEFT.items()]
    return Page(
        f"{names}, on {named(own)} with {named(certificate['network']['name'])}",
        f"Printed from the certificate whose file has the SHA-256 {digest}",
        [*said(certificate)],
        [
            Section("verdict", "Figures", "", [figures(certificate), Notes(MEANINGS)]),
            Section("what", "What is certified", "", [Facts("", [*objects(certificate)])]),
            Section("threat", "Against whom", "", [Notes([*threat(certificate)])]),
            Section("assumed", "Assumed", "", [Notes(ASSUMED)]),
            Section("excluded", "Not claimed", "", [Notes(EXCLUDED)]),
            Section("verify", "How to verify", "", [Facts("", commands(certificate)), Notes(VERIFIED)]),
            Section("stated", "Stated, not verified", UNVERIFIED, [Facts("", [*made_on(certificate), *stated])]),
            Section("hashes", "Hashes", "", [Facts("", [*hashes(certificate, digest)])]),
        ],
    )


def said(certificate: Certificate) -> Iterator[str]:
    """The verdict: AUROC on the worst OOD set at every radius, of these images and without a probability."""
    yield "What this certificate claims, if it holds; verification tests that, this page cannot know it:"
    for entry in certificate["detectors"]:
        least = dict[float, float]()
        for row in certificate["gauroc"]:
            if (row["detector"], row["condition"]) == (entry["detector"], "both"):
                radius = row["radius_linf"]
                least[radius] = min(row["gauroc"], least.get(radius, 1.0))
        found = [f"within {as_radius(r)} an AUROC of at least {at_least(area)}%" for r, area in least.items()]
        yield f"{entry['detector']} keeps {'; '.join(found)} [T12, T32]."
    yield (
        "Each of the images named below, against the worst of the OOD sets, whatever an adversary does to them (linf, "
        "pixels of [0, 1]); no probability is in it, and nothing is said of other images [T32]."
    )


def figures(certificate: Certificate) -> Table:
    """Every certified figure."""
    heads = ["AUROC, ID moved", "AUROC, OOD moved", "AUROC, both moved", "FPR95, both moved"]
    columns = [Column("score", "text"), Column("radius (linf)"), Column("OOD set", "text"), *map(Column, heads)]
    lines: dict[tuple[str, float, str], dict[str, Mapping[str, Any]]] = {}
    for row in certificate["gauroc"]:
        lines.setdefault((row["detector"], row["radius_linf"], row["ood"]), {})[row["condition"]] = row
    found = [
        [
            *(name, as_radius(radius), named(ood)),
            *(at_least(rows[condition]["gauroc"]) for condition in ("min", "max", "both")),
            at_most(rows["both"]["gfpr95"]),
        ]
        for (name, radius, ood), rows in lines.items()
    ]
    caption = "%, of these images, without a probability; a bound of 0 says nothing"
    return Table("figures", caption, columns, [Block([list(map(Cell, line)) for line in found])])


def objects(certificate: Certificate) -> Iterator[tuple[str, str]]:
    """What was certified."""
    for entry in certificate["detectors"]:
        params = entry.get("params")
        its = params if isinstance(params, Mapping) else {}
        yield entry["detector"], ", ".join(f"{named(k)} {named(v)}" for k, v in its.items()) or "no parameters"
    yield "Network", named(certificate["network"]["name"])
    yield "Benchmark", named(certificate["config"]["run"].get("benchmark"))
    for role in ("ID", "OOD"):
        sets = {name: its for name, (whose, its) in tests_of(certificate).items() if whose == role}
        yield f"{role} images", "; ".join(f"{named(name)}: {its['images']}" for name, its in sets.items())
    yield "Bounds", plain(certificate["method"])


def threat(certificate: Certificate) -> Iterator[str]:
    """Who the adversary is."""
    radii = ", ".join(map(as_radius, certificate["threat"]["radii"]))
    yield f"Changes each pixel of each image by at most {radii}, in pixels of [0, 1], where the result stays [T32]."
    yield "Knows network, detector and all images: there is no noise to know [T32]."


def hashes(certificate: Certificate, digest: str) -> Iterator[tuple[str, str]]:
    """What identifies the file and everything that it is about."""
    yield "This certificate", digest
    yield "Network, as loaded", plain(certificate["network"]["sha256"])
    yield "Code", plain(certificate["code"])
    yield from data_hashes(certificate)
