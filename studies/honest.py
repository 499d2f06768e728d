"""Do honest certificates hold? Many of a small setting, each on noise of its own, verified and held against the truth.

usage: python -m studies.honest [--certificates 100] [--alpha 0.001] [--images 6] [--samples 1000] [--truth 100000]

Median, ROSS and ROSS-Q over GEN on the digits against unseen digits, within l2 0.1 and 0.3. The seed of a certificate
follows from what it certifies, so each has other ID train images (the digits as a benchmark of arrays, with
`--train-limit`), which fit tau. The truth of an image is its score from `--truth` noisy copies drawn apart from all
certificates; within a radius, that of the image moved by all of it along the mean gradient under noise. A line counts
the certificates in which anything of a kind is beyond the truth.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import binom
from torch import Tensor

from detectors import Smoothed
from detectors.detector import autograd
from roodbench import RunConfig
from roodbench.certify import CertifyConfig, certify, read, verify
from roodbench.certify.claimed import Settings, detector_of, evidence_in, together_of
from roodbench.certify.population import population
from roodbench.certify.sampling import noisy_scores, sampler_of
from roodbench.data import ImageSet
from roodbench.data.digits import digits
from roodbench.engine.worker import Worker
from roodbench.metrics import auroc
from studies.setting import plain_parser, print_table, setting_of

DETECTORS = ("median", "ross", "ross-q")
SIGMA, RADII = 0.25, (0.1, 0.3)
GRADIENTS = 64
"""Noisy copies whose gradients say where an image is moved."""
FEWEST_TRAIN = 400
"""ID train images of the first certificate; each later one has one more."""
DRAWS = 200
"""Of the detector of few copies, whose AUROC is their mean."""
AREAS = ("gauroc", "gauroc_counted", "gauroc_joint")
"""Certified AUROCs of the population form."""
FRESH, AT_ONCE, RATES = " by fresh copies", "bounds that hold all at once", "TPR and FPR at the threshold, all at once"
SURE = 0.999
"""Of the largest number of certificates that a line may count by chance where it holds."""
COLUMNS = ("what is beyond the truth", "certificates", "of", "allowed on average", f"at most, with {SURE}")


@dataclass(frozen=True)
class Truth:
    """Noisy scores (n, M) of a population that no certificate has seen, by the radius within which it is moved."""

    is_id: bool
    at: Mapping[float, np.ndarray]


def benchmark_in(folder: Path) -> Path:
    """The digits as arrays in a folder, named by a TOML file."""
    bench = digits()
    sets = {"train": bench.id_train, "val": bench.id_val, "test": bench.id_test, "far": bench.ood["unseen-digits"]}
    for name, images in sets.items():
        x = torch.cat([part for _, part in images.shards()]).numpy()
        np.savez(folder / f"{name}.npz", images=x, labels=np.asarray(images.labels))
    file, split = folder / "digits.toml", "".join(f'{name} = "{name}.npz"\n' for name in ("train", "val", "test"))
    file.write_text(f'name = "digits"\nchannels = 1\n[id]\n{split}[far]\nunseen-digits = "far.npz"\n')
    return file


def config_of(options: argparse.Namespace, file: Path, number: int) -> CertifyConfig:
    """The settings of one certificate."""
    run = RunConfig(
        detector=DETECTORS,
        base="gen",
        norm="l2",
        attack="none",
        benchmark=str(file),
        model="digits-cnn",
        limit=options.images,
        train_limit=FEWEST_TRAIN + number,
        device="cpu",
    )
    return CertifyConfig(run, SIGMA, RADII, samples=options.samples, alpha=options.alpha)


def truths_of(options: argparse.Namespace, file: Path) -> dict[str, Truth]:
    """The truth of every population, by name."""
    config = config_of(options, file, 0)
    with setting_of(config.run_config()) as setting:
        detector: Any = setting.fitted("median")[0]
        worker = Worker(sampler_of(detector), seed=1 << 40, device=setting.device)

        def drawn(images: ImageSet, radius: float, sign: float) -> np.ndarray:
            x = torch.cat([part for _, part in images.shards()])
            moved = x + sign * radius * steepest(detector, x) if radius else None
            return noisy_scores(worker, images, options.truth, attacked=moved, stream=f"verify/truth at {radius}")

        own, found = setting.bench.id_test, {}
        for images in (own, *setting.bench.ood.values()):
            sign = -1.0 if images is own else 1.0
            at = {radius: np.sort(drawn(images, radius, sign), axis=1) for radius in (0.0, *RADII)}
            found[images.name] = Truth(images is own, at)
        return found


def steepest(detector: Any, x: Tensor) -> Tensor:
    """The direction (n, C, H, W), of l2 length 1, in which the base score rises most on average under noise."""
    generator = torch.Generator().manual_seed(0)
    noisy = (x + detector.sigma * torch.randn(x.shape, generator=generator) for _ in range(GRADIENTS))
    total = torch.stack([autograd(detector.base, z)[1] for z in noisy]).sum(0)
    return total / total.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None, None]


def beyond(certificate: Mapping[str, Any], truths: Mapping[str, Truth], rng: np.random.Generator) -> Iterator[str]:
    """What of a certificate is beyond the truth, each kind once or more."""
    config, (own, *_) = Settings.of(certificate), (where for where, truth in truths.items() if truth.is_id)
    for entry, point in zip(certificate["detectors"], certificate["operating"], strict=True):
        detector, name = detector_of(entry), entry["detector"]
        scores = {
            where: {radius: population(detector, y) for radius, y in truth.at.items()}
            for where, truth in truths.items()
        }
        yield from bounds_beyond(entry, config, truths, scores, rng)
        for row in certificate["gauroc"]:
            if (row["detector"], row["condition"]) == (name, "both"):
                radius, other = row["radius_l2"], row["ood"]
                area = auroc(scores[own][radius], scores[other][radius])
                sides = truths[own].at[radius], truths[other].at[radius]
                deployed = np.mean([drawn_auroc(detector, sides, rng) for _ in range(DRAWS)])
                for key, true in (*((key, area) for key in AREAS), ("deployed", float(deployed))):
                    if row[key] > true + 1e-9:
                        yield f"`{key}` at {radius:g}"
        for at in point["points"]:
            passes = {where: (its[at["radius_l2"]] >= point["threshold"]).mean() for where, its in scores.items()}
            if at["tpr"] > passes[own] + 1e-9 or any(at["fpr"][k] < passes[k] - 1e-9 for k in at["fpr"]):
                yield RATES


def bounds_beyond(
    entry: Mapping[str, Any],
    config: Settings,
    truths: Mapping[str, Truth],
    scores: Mapping[str, Mapping[float, np.ndarray]],
    rng: np.random.Generator,
) -> Iterator[str]:
    """The kinds of bounds of a detector of which one is beyond the truth."""
    detector, together, evidence = detector_of(entry), together_of(entry, config), evidence_in(entry)
    for where, truth in truths.items():
        for radius, y in truth.at.items():
            fresh = population(detector, few(y, config.samples, rng))
            what = f"bounds of {entry['detector']}"
            kinds = {
                f"{what} at {radius:g}": (evidence[where].bounds("bounds", radius), scores[where][radius]),
                f"{what}{FRESH} at {radius:g}": (evidence[where].bounds("predicted", radius), fresh),
                AT_ONCE: (together.bounds(evidence[where], radius), scores[where][radius]),
            }
            for kind, ((lower, upper), true) in kinds.items():
                if (true < lower).any() if truth.is_id else (true > upper).any():
                    yield kind


def drawn_auroc(detector: Smoothed, sides: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> float:
    """The AUROC of the detector that scores each image from a few copies, on one draw of them."""
    own, other = (population(detector, few(y, detector.copies, rng)) for y in sides)
    return auroc(own, other)


def few(y: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """So many of the noisy scores (n, M) of each image, sorted."""
    return np.sort(np.take_along_axis(y, rng.integers(y.shape[1], size=(len(y), count)), 1), axis=1)


def counts_of(options: argparse.Namespace, folder: Path) -> tuple[Counter[str], int]:
    """How many certificates are rejected, or beyond the truth, by kind; and how many seeds they have."""
    file, found, seeds = benchmark_in(folder), Counter[str](), set()
    truths = truths_of(options, file)
    for number in range(options.certificates):
        _, kept = certify(config_of(options, file, number), out=folder)
        certificate = read(kept)
        seeds.add(certificate["seed"])
        found["rejected by --verify"] += bool(verify(certificate, samples=1000, seed=number).failures)
        found.update(set(beyond(certificate, truths, np.random.default_rng(number))))
    return found, len(seeds)


def lines_of(options: argparse.Namespace) -> Iterator[list[object]]:
    """The cells of the table: every kind that can be wrong, in one line."""
    with tempfile.TemporaryDirectory() as folder:
        found, seeds = counts_of(options, Path(folder))
    if seeds < options.certificates:
        raise RuntimeError(f"{options.certificates} certificates have {seeds} seeds: expected another one each")
    kinds = [f"bounds of {name}{how} at {r:g}" for name in DETECTORS for how in ("", FRESH) for r in (0.0, *RADII)]
    numbers = [f"`{key}` at {radius:g}" for key in (*AREAS, "deployed") for radius in RADII]
    several = [f"`{key}` at {radius:g}" for key in AREAS[:2] for radius in RADII]
    for kind in ("rejected by --verify", *kinds, *numbers, AT_ONCE, RATES):
        alpha = 1e-3 if kind.startswith("rejected") else options.alpha * (len(DETECTORS) if kind in several else 1)
        most = int(binom.ppf(SURE, options.certificates, min(1.0, alpha)))
        yield [kind, found[kind], options.certificates, f"{alpha * options.certificates:g}", most]


def main(argv: Sequence[str] | None = None) -> None:
    """Print a Markdown table, one line per kind of statement."""
    parser = plain_parser(__doc__)
    parser.add_argument("--certificates", type=int, default=100, help="of other ID train images each; default 100")
    parser.add_argument("--alpha", type=float, default=1e-3, help="of each certified number; default 0.001")
    parser.add_argument("--images", type=int, default=6, help="a population; default 6")
    parser.add_argument("--samples", type=int, default=1000, help="noisy copies of an image; default 1000")
    parser.add_argument("--truth", type=int, default=100_000, help="copies that stand for all of them; default 100000")
    print_table(COLUMNS, lines_of(parser.parse_args(argv)))


if __name__ == "__main__":
    main()
