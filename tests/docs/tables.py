"""The tables of docs/ that state what the code's tables hold: `python -m tests.docs.tables` rewrites them in place.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import attacks
import detectors
import roodbench
from attacks import METHODS, NOISE, STRENGTHS, AttackPlan, Strength, ThreatModel
from roodbench.certify import CertifyConfig
from roodbench.certify.config import DEFAULTS, TPR
from roodbench.certify.stated import unverified
from roodbench.data.openood import LAYOUTS
from roodbench.data.picture import MODES
from roodbench.data.toml import SETTINGS
from roodbench.data.toml import TABLES as TABLES_OF
from roodbench.entry.schema import FILE
from roodbench.evaluation.checks import CHECKS, About
from roodbench.setup.threats import THREATS
from tests.docs.schema import texts

FOLDER = Path(__file__).parents[2] / "docs"
MARKED = re.compile(r"(<!-- table: (\w+) -->)\n.*?(<!-- end -->)", re.DOTALL)
COSTED = ("ebo", "gen", "pro", "ross")


def markdown(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def methods() -> str:
    return markdown(["`--method`", "what it does"], [(f"`{name}`", about) for name, about in METHODS.items()])


def threats() -> str:
    return markdown(["`--threat`", "the adversary"], [(f"`{k}`", v) for k, v in {**NOISE, **THREATS}.items()])


def strengths() -> str:
    """What each strength asks for, and the passes (forward + backward) of the suite by `attacks.cost`."""
    net = roodbench.load_model("digits-cnn")
    made = [detectors.create(name, net) for name in COSTED]
    heads = ["strength", "steps", "restarts", "copies", "APGD", "Square", *(detector.label for detector in made)]
    return markdown(heads, [[*asked(name, s), *(spent(d, s) for d in made)] for name, s in STRENGTHS.items()])


def asked(name: str, strength: Strength) -> list[Any]:
    copies = "by the cosine rule" if strength.draws is None else strength.draws
    apgd = "on every objective" if strength.apgd else "no"
    return [name, strength.steps, strength.restarts, copies, apgd, strength.queries or "no"]


def spent(detector: detectors.Detector, strength: Strength) -> str:
    forward, backward = attacks.cost(detector, AttackPlan(ThreatModel(0.1), strength=strength))
    return f"{forward:,.0f} + {backward:,.0f}"


def indicators() -> str:
    """The checks of the attack."""
    found = {name: c for name, c in CHECKS.items() if c.about == "attack"}
    rows = [(name, f"{'>= ' if c.least else '<= '}{c.threshold:g}", c.fails_when) for name, c in found.items()]
    return markdown(["indicator", "passes at", "fails when"], rows)


def trust() -> str:
    """The checks, by what they judge."""
    rows = [
        (
            name,
            c.about,
            c.fails_when,
            c.cost,
            "`*` on attacked rows" if c.about == "attack" else "`*` on clean and attacked rows",
        )
        for name, c in CHECKS.items()
    ]
    order = get_args(About)
    return markdown(
        ["check", "about", "what it catches", "cost", "what happens"], sorted(rows, key=lambda row: order.index(row[1]))
    )


def modes() -> str:
    """What becomes of a file, by Pillow's mode of it."""
    by_how: dict[str, list[str]] = {}
    for mode, how in MODES.items():
        by_how.setdefault(how, []).append(f"`{mode}`")
    return markdown(["mode", "what becomes of it"], [(" ".join(found), how) for how, found in by_how.items()])


def openood() -> str:
    """Groups and preprocessing of OpenOOD's benchmarks."""
    heads = ["`--benchmark`", "lists", "near", "far", "shifted ID", "OOD validation", "pixels"]
    rows = [
        (
            f"`{name}`",
            f"`{layout.lists}/`",
            *(" ".join(f"`{key}`" for key in keys) for keys in (layout.near, layout.far, layout.shifted)),
            f"`{layout.val}`",
            f"{layout.frame.size}" + (f" from {layout.frame.short}" if layout.frame.short else ""),
        )
        for name, layout in LAYOUTS.items()
    ]
    return markdown(heads, rows)


def schema() -> str:
    """What a benchmark's TOML may hold."""
    rows = [(f"`{key}`", what) for key, what in SETTINGS.items()]
    return markdown(["key or table", "what it says"], rows + [(f"`[{key}]`", what) for key, what in TABLES_OF.items()])


def certify() -> str:
    """The defaults of `roodbench certify` and of the hyper-parameters that it changes."""
    shown = {
        "--sigma": CertifyConfig.sigma,
        "--radius": ",".join(f"{r:g}" for r in CertifyConfig.radius),
        "--samples": CertifyConfig.samples,
        "--alpha": CertifyConfig.alpha,
        "--tpr": TPR,
        "--least-tpr": CertifyConfig.least_tpr,
    }
    rows = [(f"`{option}`", value) for option, value in shown.items()]
    for detector, params in DEFAULTS.items():
        rows += [(f"`--param {key}=` of {detector}", str(value).lower()) for key, value in params.items()]
    return markdown(["option", "default"], rows)


def open_fields() -> str:
    """The fields of a certificate that `--verify` takes as they are, and what it leaves open."""
    rows = [(" ".join(f"`{name}`" for name in fields.split(", ")), what) for fields, what in unverified()]
    return markdown(["field of `certificate.json`", "not verified"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "methods": methods,
    "threats": threats,
    "strengths": strengths,
    "indicators": indicators,
    "trust": trust,
    "certify": certify,
    "modes": modes,
    "openood": openood,
    "toml": schema,
    "unverified": open_fields,
}


def rewritten(text: str) -> str:
    """A page with its marked tables as the code has them."""
    return MARKED.sub(lambda m: f"{m[1]}\n{TABLES[m[2]]()}\n{m[3]}", text)


def main(folder: Path = FOLDER) -> None:
    """Rewrite the marked tables of every page in a folder, and the schemas of records there and in the package."""
    for page in sorted(folder.glob("*.md")):
        page.write_text(rewritten(page.read_text(encoding="utf-8")), encoding="utf-8")
    for name, text in texts().items():
        for file in (folder / name, *([FILE.with_name(name)] if folder == FOLDER else [])):
            file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
