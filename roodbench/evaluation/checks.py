"""What is checked before a number is shown, and marks rows; docs/trust.md has what ends a run, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

About = Literal["data", "network", "detector", "attack"]
"""What a check judges. A failed check of the attack marks attacked rows, any other one clean rows too."""

FEWEST = 10
"""Distinct images of a population: of fewer, one pair of scores is more than a point of AUROC."""
REPEATABLE = 1e-4
"""Largest relative difference between repeated scores on equal noise."""


@dataclass(frozen=True)
class Check:
    """What a number may be, and what to think when it is not."""

    about: About
    threshold: float
    message: str
    fails_when: str
    """What it catches, for docs/."""
    cost: str
    """What it computes beside the evaluation, in plain words."""
    least: bool = False
    """Whether the number must reach the threshold rather than stay below it."""


FREE = "none: read off the attack"
SCORES = "none: read off the clean scores"

CHECKS = {
    "few-images": Check(
        "data",
        FEWEST,
        "{where}: {number:.0f} distinct images are too few to say anything of AUROC: expected at least 10",
        "a population has fewer than 10 distinct images",
        "none: content hashes that are there",
        least=True,
    ),
    "duplicates": Check(
        "data",
        0.05,
        "{where}: {copies} of {images} images are copies of others in it: is a list repeated? Intervals count distinct "
        "images, AUROC counts every copy",
        "more than 5% of a population's images have the content of another one (notMNIST has 2% of its own)",
        "none: content hashes that are there",
    ),
    "dark": Check(
        "data",
        0.125,
        "{where}: its brightest pixel is {number:.2g} of 1: are pixels on another scale than 0 to 255?",
        "no pixel of a population is brighter than an eighth of white: pixels from 0 to 16 kept as bytes, say",
        "none: the range that is looked at as images are read",
        least=True,
    ),
    "shifted-labels": Check(
        "data",
        0.0,
        "{where}: its class labels make it shifted ID, and the network's accuracy of {accuracy:.1%} on it is chance: "
        "should the labels be -1 (OOD)?",
        "the accuracy on a second list with class labels is not above chance, as for `id-accuracy`",
        "one pass of the network over the set",
        least=True,
    ),
    "id-accuracy": Check(
        "network",
        0.0,
        "{where}: ID accuracy {accuracy:.1%} is not clearly above the {chance:.1%} of labels that know nothing of the "
        "images: are the labels permuted, is the network trained, its input normalised?",
        "the ID accuracy exceeds the agreement that its labels and predictions would have by chance by less than 3 "
        "standard errors (of few images: by less than a quarter of the way to 1)",
        "one pass of the network over ID test",
        least=True,
    ),
    "randomness": Check(
        "detector",
        REPEATABLE,
        "{label} scores the same images differently ({number:.2g} relative): set `randomized` in a "
        "Detector, draw all noise from the generator it is given, and depend on no earlier call or number of threads",
        "repeated scorings of the same images, also after others, or by a copy that has scored nothing before, differ "
        "by more than 1e-4 (relative), or by a copy with another number of threads, or one of the whole process, by "
        "more than 1e-3 of the spread: noise that is not declared or, where it is, not drawn from the given "
        "generator, or a score that remembers earlier calls (on a GPU or off Linux not what it keeps in globals, or "
        "where it cannot be copied; nowhere what it keeps in files) or depends on the threads",
        "6 scorings of the first 64 ID images, one of 64 of every set and of the attacked images; of a user's "
        "detector, three more of 64 of every set, one of them by a copy of it and one in a copy of the process, one of "
        "64 ID images by a copy of it, and four of 16 images of noise",
    ),
    "constant": Check(
        "detector",
        0.9,
        "{label} gives {number:.1%} of ID and of {where} one and the same score: is it constant or saturated?",
        "more than 90% of ID and of an OOD set share one score, up to the last bits",
        SCORES,
    ),
    "reversed": Check(
        "detector",
        0.4,
        "{label} ranks OOD above ID even without an attack (AUROC {auroc:.1%}): is the score reversed?",
        "the 95% interval of the clean AUROC, averaged over the OOD sets, ends below 40%",
        SCORES,
        least=True,
    ),
    "gradient": Check(
        "attack",
        0.0,
        "{label}'s own objectives have a zero gradient on {number:.1%} of images: is it detached or "
        "saturated? The attack is weaker than it should be",
        "an image's gradient is zero at the first start, at random and towards a class, for every own objective",
        FREE,
    ),
    "value": Check(
        "attack",
        1e-3,
        "{label}: value_and_grad gives another value than the score (relative difference {number:.2g}): attacks keep "
        "the iterate that it calls best",
        "the value of `value_and_grad` differs from the score by more than 0.1% of its size and range, where the "
        "attack ended (without noise)",
        "a score and a gradient of the probe",
    ),
    "finite-difference": Check(
        "attack",
        0.1,
        "{label}: its gradient is not that of its score on {number:.1%} of images: is a part of it detached? The "
        "attack is weaker than it should be",
        "differences of the score along 8 random directions disagree with its gradient (cosine below 0.99 in float64, "
        "0.7 at the larger steps that a score needs which does not change measurably there, or is not computed in "
        "float64) on more than 10% of images, at the random start or beside where the attack ended",
        "34 scores and 2 gradients of the probe; up to 5 times as many for a score that needs larger steps",
    ),
    "line-integral": Check(
        "attack",
        0.1,
        "{label}: on {number:.1%} of images the score changes along a path by what its gradient does not say: is there "
        "a gate, a rounding or another jump in it, or a detached part? The attack is weaker than it should be",
        "along a straight path inside the ball the score changes by what the integral of its gradient (8 steps, 32 "
        "for images that fail) does not say, nor that of a surrogate's: net, more than a third of what happens on the "
        "path and 5% of the clean scores' interquartile range, on more than 10% of images and more than one; from the "
        "clean image to where the attack ended, or from there towards the best for the attack of 8 images of the other "
        "population",
        "26 scores and 18 gradients of the probe; for images that fail 84 of each, and as many for every surrogate",
    ),
    "eot": Check(
        "attack",
        0.5,
        "{label}: halves of a gradient's noisy copies agree to a cosine of {number:.2f} only: use more copies",
        "two halves of the copies that a step rests on (with momentum 7 times as many as it draws) agree "
        "to a median cosine below 0.5, for the noisy objective that won most images; the record has every one's",
        "gradients of 16 images, with 2 halves of the copies",
        least=True,
    ),
    "travel": Check(
        "attack",
        2.0,
        "{label}: the attack's steps add up to {number:.2f} epsilon, too few to cross the ball",
        "the nominal steps add up to less than 2 epsilon: the default ones never do, a protocol's may",
        FREE,
        least=True,
    ),
    "convergence": Check(
        "attack",
        0.005,
        "{label}: twice the steps take another {number:.3f} of AUROC: use more steps",
        "twice the steps take more than 0.5 points of AUROC, or the last 10 steps made more than 5% of "
        "what the gradient attacks gained on a score without noise (mean over images; one that is decided "
        "has stopped, one whose last run was on a surrogate does not count), or there are fewer than 10 steps to judge "
        "by",
        "the attack and one of twice the steps, on the probe",
    ),
    "restarts": Check(
        "attack",
        0.005,
        "{label}: twice the restarts take another {number:.3f} of AUROC: use more restarts",
        "twice the restarts of what won most images take more than 0.5 points of AUROC",
        "an attack of twice the restarts, on the probe",
    ),
    "epsilon-monotone": Check(
        "attack",
        0.0,
        "{label}: AUROC rises with epsilon by {number:.3f} beyond two standard errors",
        "AUROC rises with epsilon beyond 2 standard errors of the paired difference (several `--eps`)",
        FREE,
    ),
    "unbounded": Check(
        "attack",
        0.0,
        "{label} is masked: without a bound, the attack moves {number:.1%} too few of the images past the threshold",
        "at epsilon 1, less than 99% of OOD rise above, or 95% of ID fall below, the clean threshold (where the attack "
        "left an AUROC of more than 0.01)",
        "an attack at epsilon 1, on the probe",
    ),
    "random": Check(
        "attack",
        0.01,
        "{label}: random noise beats the attack on {number:.1%} of images",
        "noise search beats the attack on more than 1% of images (with noise: moves them significantly "
        "past more of the opposing population, by a t-test over report draws), and on more than one of the "
        "probe",
        "a noise search, on the probe",
    ),
    "black-box": Check(
        "attack",
        0.002,
        "{label}: square takes another {number:.3f} of AUROC from what the attack left: does the gradient miss a part "
        "of the score: a gate, a rounding, a clipped or a detached one?",
        "Square, with 100 queries at quick, takes more than 0.2 points of AUROC from what the attack left",
        "Square with 100 queries, on the probe",
    ),
    "own-gradient": Check(
        "attack",
        0.002,
        "{label}: its own objectives are weaker than the base score's by {number:.3f} of AUROC: is it detached?",
        "the detector's own objectives are weaker than `base` by more than 0.2 points",
        "two attacks, on the probe",
    ),
    "silent-success": Check(
        "attack",
        0.0,
        "{label}: the attack threw away a better iterate on {number:.1%} of images",
        "a visited iterate was better than the returned one (with noise: significantly so on more images "
        "of the probe than it was worse, by more than one)",
        "none: read off the attack (with noise: two attacks, on the probe)",
    ),
    "feasibility": Check(
        "attack",
        1e-06,
        "{label}: an attacked image leaves the threat model by {number:.2g}",
        "an image leaves the ball or the bounds by more than 1e-6 (of a radius above 1, relative)",
        FREE,
    ),
}
"""Every check, in the order of the record. The probe is a few images of ID and OOD (docs/attacks.md)."""
