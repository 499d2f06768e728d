"""What stands on the page of every certificate for whoever checks it: commands, hashes, where it was made."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from ..certify.certificate import NAME, PAGE, code_in
from ..data.load import EMBEDDED
from .wording import named, plain

FILES = {"data_root": "DIR", "checkpoint": "FILE", "denoiser_checkpoint": "FILE", "model_dir": "DIR"}
"""Where the assessor's own files lie, of settings that the certificate names."""
Certificate = Mapping[str, Any]


def commands(certificate: Certificate, *words: str) -> list[tuple[str, str]]:
    """How the certificate is verified, with further words of the command, and its page printed again."""
    run = certificate["config"]["run"]
    verify = ["python", "-m", "roodbench", "certify", "--verify", NAME, *words]
    for name, what in FILES.items():
        idle = run.get(name) is None or (name == "data_root" and run.get("benchmark") in EMBEDDED)
        verify += [] if idle else [f"--{name.replace('_', '-')}", what]
    for name, code in code_in(certificate).items():
        verify += [f"--{name}", plain(code)]
    found = [("Verify", shlex.join(verify))]
    if code_in(certificate):
        found.append(("Beware", f"the certificate names code ({', '.join(code_in(certificate))}), which this runs"))
    for name in ("trust_checkpoint", "download"):
        if run.get(name):
            found.append(("It was made with", f"--{name.replace('_', '-')}, which is the assessor's own decision"))
    again = shlex.join(["python", "-m", "roodbench", "report", NAME, "-o", PAGE])
    return [*found, ("Print again", again), ("Check the file", f"sha256sum {NAME}")]


def made_on(certificate: Certificate) -> Iterator[tuple[str, str]]:
    """The machine and the revision, where a certificate says them."""
    environment = certificate.get("environment")
    if isinstance(environment, Mapping):
        wanted = {"device": "", "python": "Python ", "revision": "RoodBench at revision "}
        said = [before + plain(environment[k]) for k, before in wanted.items() if environment.get(k)]
        yield "Made on", ", ".join(said)


def data_hashes(certificate: Certificate) -> Iterator[tuple[str, str]]:
    """The hashes of all sets of images."""
    for name, its in certificate["data"].items():
        split, _, its_name = name.partition(": ")
        yield f"{plain(split)}: {named(its_name)} ({its['images']})", plain(its["sha256"])
