"""What a certificate claims, for whoever has it alone: settings, bounds, and the metrics that follow from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from detectors import ROSS, ROSSQ, Detector, Median, Smoothed
from detectors.detector import keywords

from ..metrics import auroc, fpr95_id
from ..metrics.gauroc import counted, gauroc, gfpr95
from .compare import ANYTHING, Form, differences, is_number, side
from .config import CERTIFIABLE, LEAST, MOST
from .evidence import CONDITIONS, Evidence, Scope, Together, metrics_of

Entry = Mapping[str, Any]
"""A detector of a certificate."""
OWN, OTHER = "ID test: ", "OOD test: "
"""How the entries of `data` begin that name populations."""

ABOVE = Form("a number above 0", lambda v: is_number(v) and v > 0)
SHARE = Form("a number between 0 and 1", lambda v: is_number(v) and 0 < v < 1)
SAID = {
    "sigma": ABOVE,
    "alpha": SHARE,
    "least_tpr": SHARE,
    "tpr": Form("a number between 0 and 1, or null", lambda v: v is None or SHARE.fits(v)),
    "threshold": Form("a number, or null", lambda v: v is None or is_number(v)),
    "samples": Form(f"a whole number, {LEAST} to {MOST}", lambda v: isinstance(v, int) and LEAST <= v <= MOST),
    "radius": Form(
        "ascending numbers above 0", lambda v: is_list(v) and all(map(ABOVE.fits, v)) and sorted(set(v)) == v
    ),
}
SAID_OF_RUN = {
    "norm": Form("l2 or linf", lambda v: v in ("l2", "linf")),
    "detector": Form(
        f"some of {', '.join(CERTIFIABLE)}, each once",
        lambda v: is_list(v) and all(name in CERTIFIABLE for name in v) and len(set(v)) == len(v),
    ),
}


def is_list(value: Any) -> bool:
    """Whether this is a list with something in it."""
    return isinstance(value, list) and len(value) > 0


@dataclass(frozen=True)
class Settings:
    """What a certificate's `config` says of what was certified; of images and files that need not lie here nothing."""

    sigma: float
    samples: int
    alpha: float
    radius: tuple[float, ...]
    norm: str
    detector: tuple[str, ...]
    tpr: float | None
    threshold: float | None
    least_tpr: float

    @classmethod
    def of(cls, certificate: Mapping[str, Any]) -> Settings:
        """ValueError where there are none that a certification can have."""
        config = mapping(certificate, "config")
        run = mapping(config, "run")
        for line in (*known(config, SAID, "config"), *known(run, SAID_OF_RUN, "config, run")):
            raise ValueError(line)
        if (config["tpr"] is None) == (config["threshold"] is None):
            raise ValueError(
                f"config, tpr is {config['tpr']} and threshold {config['threshold']}: expected one of them"
            )
        radius, detector = tuple(config["radius"]), tuple(run["detector"])
        point = (config[name] for name in ("tpr", "threshold", "least_tpr"))
        return cls(config["sigma"], config["samples"], config["alpha"], radius, run["norm"], detector, *point)


class Stated(Detector):
    """A base score of which the extremes are known, and nothing else."""

    name = "stated"

    def __init__(self, extremes: tuple[float, float]) -> None:
        super().__init__()
        self.stated = extremes

    def extremes(self) -> tuple[float, float]:
        return self.stated


def detector_of(entry: Entry) -> Smoothed:
    """A smoothed detector with the parameters and constants of a certificate's, over a base that computes nothing."""
    (low, *_), (*_, high) = (side({which: entry["extremes"]}, which) for which in ("lower", "upper"))
    kind, params = {"median": Median, "ross": ROSS, "ross-q": ROSSQ}[entry["detector"]], entry["params"]
    taken = {name: params[name] for name in keywords(kind) if name in params}
    detector = kind(Stated((low, high)), **taken)
    if isinstance(detector, ROSS):
        detector.tau = float(entry["fitted"]["tau"])
    return detector


@dataclass(frozen=True)
class Apart:
    """Images of which their number alone is known: each is taken for another one."""

    size: int

    def __len__(self) -> int:
        return self.size

    @property
    def related(self) -> np.ndarray:
        return np.arange(self.size)


def together_of(entry: Entry, config: Settings) -> Together:
    """Bounds of an entry's detector at all radii at once, for images of one pixel."""
    settings: Any = config
    return Together(detector_of(entry), settings, scope_of(entry, config), float(entry["slack"]))


def scope_of(entry: Entry, config: Settings) -> Scope:
    """What errors are shared by, as far as a certificate says; of one pixel and one class."""
    sizes = [len(its["images"]) for its in entry["populations"].values()]
    return Scope(sum(sizes), 1, len(config.detector), len(config.radius), len(sizes) - 1, 1)


def followed(
    detector: Smoothed,
    entry: Entry,
    evidence: Mapping[str, Evidence],
    config: Settings,
    ood: str,
    condition: str,
    radius: float,
) -> dict[str, float]:
    """The certified metrics that follow from an entry's bounds and noisy scores, for images of one pixel.

    A larger dimension leaves those of the bounds as they are and lowers what follows from noisy scores
    (docs/theorems.md, T26).
    """
    own, other = evidence[id_name(entry)], evidence[ood]
    settings: Any = config
    scope = scope_of(entry, config)
    return metrics_of(detector, settings, scope, own, other, condition, radius, float(entry["slack"]))


def evidence_in(entry: Entry) -> dict[str, Evidence]:
    """What a certificate says of every population under a detector, by name."""
    return {name: evidence_of(its) for name, its in entry["populations"].items()}


def evidence_of(population: Entry) -> Evidence:
    """What a certificate says of a population."""

    def bounds(kind: str, radius: float) -> tuple[np.ndarray, np.ndarray]:
        sides = population[kind][f"{radius:.9g}"]
        return side(sides, "lower"), side(sides, "upper")

    images: Any = Apart(len(population["images"]))
    with np.errstate(over="ignore"):  # a number beyond float32 is infinite
        return Evidence(images, bounds, np.array(population["sample"], dtype=np.float32))


def clean_auroc(entry: Entry, ood: str) -> float:
    """The AUROC without an adversary of the scores that a detector's entry states."""
    own, other = (np.array(its["score"], dtype=float) for its in (id_population(entry), entry["populations"][ood]))
    return auroc(own, other)


def stated_of(entry: Entry, ood: str, condition: str, radius: float) -> dict[str, Any]:
    """What a record's row says that follows from the scores and bounds of its detector's entry, without its noise."""
    own, other = id_population(entry), entry["populations"][ood]
    near, far = (radius if bounded else 0.0 for bounded in CONDITIONS[condition])

    def bound(kind: str, at_id: float = near) -> tuple[np.ndarray, np.ndarray]:
        return side(own[kind][f"{at_id:.9g}"], "lower"), side(other[kind][f"{far:.9g}"], "upper")

    (lower, upper), loose = bound("bounds"), bound("counted")
    scores = [np.array(its["score"], dtype=float) for its in (own, other)]
    return {
        **{"base": entry["base"], "params": entry["params"], "copies": entry["params"]["copies"]},
        **{"alpha_image": entry["alpha_image"], "n_id": len(lower), "n_ood": len(upper)},
        "auroc_clean": clean_auroc(entry, ood),
        "fpr95_clean": fpr95_id(*scores),
        "gauroc": gauroc(lower, upper),
        "gfpr95": gfpr95(lower if condition == "both" else bound("bounds", 0.0)[0], upper),
        "gauroc_counted": max(0.0, gauroc(*loose) - counted(len(lower), len(upper))),
        "gauroc_predicted": gauroc(*bound("predicted")),
    }


def id_name(entry: Entry) -> str:
    """The name of a detector's ID population."""
    return next(name for name, its in entry["populations"].items() if its["role"] == "ID")


def id_population(entry: Entry) -> Entry:
    """The ID population of a detector's entry."""
    return entry["populations"][id_name(entry)]


def keys_of(certificate: Mapping[str, Any]) -> list[str]:
    """What the radii are called under which bounds lie, ascending, 0 first."""
    return [f"{radius:.9g}" for radius in (0.0, *certificate["threat"]["radii"])]


def mapping(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object in an object; empty where there is none."""
    its = found.get(name)
    return its if isinstance(its, Mapping) else {}


def known(have: Any, wanted: Any, where: str = "") -> Iterator[str]:
    """The differences, but for fields that are not among the wanted ones."""
    yield from differences(have, also(have, wanted), where)


def also(have: Any, wanted: Any) -> Any:
    """What is wanted, and anything for other fields of objects."""
    if isinstance(have, list) and isinstance(wanted, list) and len(have) == len(wanted):
        return [also(a, b) for a, b in zip(have, wanted, strict=True)]
    if not isinstance(have, Mapping) or not isinstance(wanted, Mapping):
        return wanted
    return {**dict.fromkeys(have, ANYTHING), **{k: also(have.get(k), v) for k, v in wanted.items()}}
