"""The verb `certify`: what can be proved of smoothed detectors, and the check of a certificate."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..certify.config import BOUNDED, TPR, CertifyConfig, check_certifiable_names
from ..certify.interval.config import IntervalConfig
from ..words import counted
from .console import computing, log, progress_for, start_logging
from .given import check_spelt, one_format, run_config, spelt_out
from .options import CERTIFICATE, NETWORKS, Context, changed, option, taking
from .run import hands, showing

if TYPE_CHECKING:
    from ..certify.interval.verifier import IntervalVerdict
    from ..certify.verifier import Verdict

RADII = ",".join(f"{radius:g}" for radius in CertifyConfig.radius)
SHOWING = ("format", "log_format", "quiet")
ASSESSORS = ("data_root", "checkpoint", "denoiser_checkpoint", "model_dir", "download", "trust_checkpoint")
CODE = ("model", "benchmark", "base", "denoiser")
DRAWING = ("samples", "power", "seed")
VERIFYING = ("verify", *DRAWING, "device", *ASSESSORS, *CODE, *SHOWING)
"""What --verify honours: the certificate has every other setting; model, benchmark, base, denoiser: for code in it."""
ONLY_PLAN = ("width", "fpr")
HANDS = ("workers", "engine", "address")
NOISY = ("sigma", "samples", "alpha", "tpr", "threshold", "least_tpr", "plan", *HANDS)
"""What interval bounds do not honour: they draw no noise, in one process."""
PLANNING = (
    "tpr",
    "threshold",
    "least_tpr",
    "attack",
    "strength",
    "budget",
    "steps",
    "restarts",
    "memory",
    "seed",
    "out",
    "fresh",
    *HANDS,
    "quiet",
)
"""What --plan does not honour: it attacks, draws and keeps nothing."""
OWN = (
    changed(
        "detector",
        default="median",
        help="Certify median, ross or ross-q, or several: NAME[,NAME]; or msp, mls, ebo by interval bounds.",
    ),
    changed("base", help="Take this base score; for ross a bounded one, as msp or gen."),
    "param",
    option("sigma", float, CertifyConfig.sigma, "Draw noise of this standard deviation, in pixels.", CERTIFICATE),
    option("radius", str, RADII, "Certify l2 radii R[,R] in pixels, or linf ones such as 2/255.", CERTIFICATE),
    changed(
        "norm",
        default="l2",
        help="Measure the radius in l2, or in linf: through the l2 ball of eps sqrt(d), or by interval bounds.",
    ),
    option("samples", int, CertifyConfig.samples, "Draw so many noisy copies of every image.", CERTIFICATE),
    option("alpha", float, CertifyConfig.alpha, "Let each certified number be wrong this often.", CERTIFICATE),
    option(
        "tpr",
        float,
        TPR,
        "Fix the threshold so that this share of ID validation images reaches it.",
        CERTIFICATE,
    ),
    option("threshold", float | None, None, "Take this threshold instead, of one detector's score.", CERTIFICATE),
    option(
        "least_tpr",
        float,
        CertifyConfig.least_tpr,
        "Show the largest radius at which the certified TPR is at least this.",
        CERTIFICATE,
    ),
    option(
        "plan",
        bool,
        False,
        "Show the least sigma, samples and images, and the time, alone.",
        CERTIFICATE,
        "--plan",
    ),
    option(
        "width",
        float | None,
        None,
        "With --plan: images for an AUROC interval of this width; default 0.05.",
        CERTIFICATE,
    ),
    option(
        "fpr",
        float | None,
        None,
        "With --plan: images for a certified FPR of at most this; default 0.05.",
        CERTIFICATE,
    ),
    option(
        "verify",
        str | None,
        None,
        "Check a certificate.json or its folder on fresh noise; exit 1 if it fails.",
        CERTIFICATE,
    ),
    option(
        "power",
        float | None,
        None,
        "With --verify: check so many images that forged bounds of 1% of them are found with this probability.",
        CERTIFICATE,
    ),
    changed("attack", help="Attack both beside the bounds, or none."),
    *("strength", "budget", "steps", "restarts", "benchmark", "data_root", "ood", "train_limit", "limit"),
    *NETWORKS,
    *("denoiser", "denoiser_checkpoint", "batch_size", "memory", "device", *HANDS, "compile"),
    option("seed", int | None, None, "Seed all noise; default 0, of --verify a random one.", "Machine"),
    *("out", "fresh"),
    changed("format", help="Print a table, json or csv."),
    *("log_format", "quiet"),
)


@taking(*OWN)
def certify(context: Context, **given: Any) -> None:
    """Certified AUROC: what no adversary within the radius can do, beside what the best attack does."""
    one_format(given["format"], ("table", "json", "csv"))
    start_logging(given["quiet"], given["log_format"])
    for flag, names in (("verify", ("power",)), ("plan", ONLY_PLAN)):
        for name in names:
            if not given[flag] and given[name] is not None:
                raise ValueError(f"certify without --{flag} takes no {name}: leave out --{name} {given[name]:g}")
    if given["verify"] is not None:
        refuse_options(context, "--verify", [n for n in context.params if n not in VERIFYING])
        check_certificate(given, spelt_out(context))
        return
    if any(name in BOUNDED for name in given["detector"].split(",")):
        certify_bounds(context, given)
        return
    from ..certify import certify as certify_it

    config = CertifyConfig(
        run=run_config({**given, "seed": given["seed"] or 0}),
        sigma=given["sigma"],
        radius=given["radius"],
        samples=given["samples"],
        alpha=given["alpha"],
        tpr=None if given["threshold"] is not None and "tpr" not in spelt_out(context) else given["tpr"],
        threshold=given["threshold"],
        least_tpr=given["least_tpr"],
    )
    check_spelt(context, config.run, attacking=False)
    if given["plan"]:
        refuse_options(context, "--plan", PLANNING)
        show_plan(config, given["format"], {name: given[name] for name in ONLY_PLAN if given[name] is not None})
        return
    computing()
    with showing(given["format"]) as show:
        settings = {"fresh": given["fresh"], **hands(given)}
        result, folder = certify_it(config, out=given["out"], progress=progress_for(given), **settings)
        show(result)
    pages = print_page(folder)
    log.info("kept in %s, with %s (%.0f s)", folder, pages, result.timing["seconds"])


def print_page(folder: Path) -> str:
    """Print the certificate in a run's folder as the page to be signed, where jinja2 is; says what lies there."""
    from ..certify.certificate import NAME, PAGE
    from ..report.certificate import certificate_page
    from ..store.files import save_text

    if find_spec("jinja2") is None:
        return NAME
    save_text(certificate_page(folder / NAME, check=False), folder / PAGE)
    return f"{NAME} and {PAGE}"


def certify_bounds(context: Context, given: dict[str, Any]) -> None:
    """Certified AUROC of scores without noise, by interval bounds."""
    check_certifiable_names(given["detector"].split(","), BOUNDED)
    refuse_options(context, f"certify of {given['detector']}, by interval bounds,", NOISY)
    radius = given["radius"] if "radius" in spelt_out(context) else IntervalConfig.radius
    config = IntervalConfig(run_config({**given, "seed": given["seed"] or 0}), radius)
    check_spelt(context, config.run, attacking=False)
    from ..certify.interval.run import certify_intervals

    computing()
    with showing(given["format"]) as show:
        settings = {"out": given["out"], "fresh": given["fresh"]}
        result, folder = certify_intervals(config, progress=progress_for(given), **settings)
        show(result)
    log.info("kept in %s, with %s (%.0f s)", folder, print_page(folder), result.timing["seconds"])


def refuse_options(context: Context, flag: str, names: Any) -> None:
    """ValueError for an option on the command line that a flag does not honour."""
    for name, value in spelt_out(context).items():
        if name in names:
            raise ValueError(f"{flag} takes no {name.replace('_', '-')}: leave out --{name.replace('_', '-')} {value}")


def show_plan(config: CertifyConfig, format: str, wanted: dict[str, float]) -> None:
    """What a certification will take, and how many images for the `width` and the `fpr` that are wanted."""
    from ..certify.planner import as_record, images_of, images_table, plan, plan_table

    one_format(format, ("table", "json"))
    images = images_of(config, **wanted)
    computing()
    plans = plan(config)
    if format == "table":
        typer.echo(f"{plan_table(plans, config)}\n{images_table(images, config)}")
    else:
        typer.echo(json.dumps({"plans": as_record(plans), "images": as_record(images)}, indent=1))


def check_certificate(given: dict[str, Any], spelt: dict[str, Any]) -> None:
    """One line where a certificate holds (or a verdict, as JSON); EvaluationError where it does not."""
    from ..certify.certificate import INTERVAL, read
    from ..certify.interval.verifier import verify_intervals
    from ..certify.verifier import demand, verify

    one_format(given["format"], ("table", "json"))
    computing()
    certificate, shared = read(given["verify"]), {"device": given["device"], "progress": progress_for(given)}
    own = {name: given[name] for name in ASSESSORS} | {name: spelt[name] for name in CODE if name in spelt}
    verdict: Verdict | IntervalVerdict
    if certificate["schema"] == INTERVAL:
        if name := next((name for name in DRAWING if name in spelt), ""):
            raise ValueError(f"--verify of interval bounds draws nothing: leave out --{name} {spelt[name]}")
        verdict = verify_intervals(certificate, **shared, **own)
    else:
        verdict = verify(certificate, **{name: given[name] for name in DRAWING}, **shared, **own)
    if given["format"] == "json":
        typer.echo(json.dumps(asdict(verdict), indent=1))
    demand(verdict.failures)
    if given["format"] == "table":
        typer.echo(in_words(verdict))


def in_words(verdict: Verdict | IntervalVerdict) -> str:
    """What was checked of a certificate that holds, and what was not."""
    from ..certify.stated import unverified
    from ..certify.verifier import Verdict

    left = [f"not verified: {fields}: {what}" for fields, what in unverified(verdict.unverified)]
    bounds, images = counted(verdict.bounds, "bound"), counted(verdict.images, "image")
    if not isinstance(verdict, Verdict):
        again = f"{bounds} of {images} computed again are the same"
        return "\n".join([f"holds: settings, network and images are the certificate's, and {again}", *left])
    fresh = f"{verdict.samples} fresh draws an image (seed {verdict.seed}) disprove none of {bounds} of {images}"
    holds = (
        f"holds: settings, network and images are the certificate's, its metrics follow from its bounds, and {fresh}"
    )
    drawn = ", ".join(f"{k} with probability {p:.3g}" for k, p in verdict.finds.items() if p < 1)
    power = [f"images of a population with forged bounds, had there been any, would have been drawn: {drawn}"]
    every = ["every image was drawn, so that no bound of any was left out"]
    return "\n".join([holds, *(power if drawn else every), *left])
