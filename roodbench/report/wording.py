"""What the page of a certificate says: columns of figures and sentences, each with the theorems it stands on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..record.text import at_least, at_most

LONGEST = 80
"""Characters of a name that is shown."""
WORD = re.compile(r"[A-Za-z0-9_.:/+-]+")


@dataclass(frozen=True)
class Figure:
    """A column of figures, from the row of a condition: what it says, on what that stands, which way it is rounded."""

    name: str
    said: str
    stands_on: str
    key: str
    condition: str = "both"
    least: bool = True
    """Whether the truth is at least what is printed; else at most."""

    def text(self, value: float) -> str:
        """In percent, never more than is claimed."""
        return at_least(value) if self.least else at_most(value)


FIGURES = (
    Figure("AUROC, ID moved", "at least, ID images moved within the radius", "T12, T13", "gauroc", "min"),
    Figure("AUROC, OOD moved", "at least, OOD images moved", "T12, T13", "gauroc", "max"),
    Figure("AUROC, both moved", "at least, ID and OOD images moved", "T12, T13", "gauroc"),
    Figure("AUROC, at once", "at least, both moved, together with all that is at once", "T27, T30", "gauroc_joint"),
    Figure(
        "AUROC, new images",
        "at least, both moved, of images of which these are a random sample; at once, as stated",
        "T29, T30",
        "gauroc_new",
    ),
    Figure(
        "AUROC, {samples} copies",
        "at least, both moved, of one scoring from so many fresh copies of each image; over their noise too",
        "T25",
        "gauroc_predicted",
    ),
    Figure(
        "AUROC, {copies} copies",
        "at least, both moved, expected over the noise of the detector that draws so many fresh copies of an image",
        "T11, T23",
        "deployed",
    ),
)
"""What stands in a line, which is a detector at a radius against an OOD set."""
AT_THRESHOLD = (
    "TPR: at least this share of the ID images scores at the threshold or above, whoever moves them within the radius; "
    "FPR: at most this share of the OOD images does, of the worst set [T28].",
    "New images: the same of images of which these are a random sample, as stated; copies: of new images each scored "
    "from so many fresh copies [T28].",
    "Worst class: of the ID classes that have test images the one with the least TPR, and what new images of none of "
    "them are below [T28].",
    "All figures of this table and those at once above hold together with that probability [T27, T30].",
)
"""What the columns at the operating point mean."""

ASSUMED = [
    "A1: the base score is a deterministic function of the noisy image, as the network computes it in float32 [T26]. "
    "It remembers no earlier call, which a look at some of them can refute, and not show.",
    "A2: noise is Gaussian, independent of the shift, and not clipped between draw and score [T1].",
    "A3: sums of images and noise are exact. They are: both are rounded to multiples of a power of 2 [T26].",
    "A4: extremes that a base score declares are true of every image, also outside of the pixel box [T6, T7].",
    "Of figures of new images: the images are a random sample of these, and the threshold was fixed before anybody "
    "looked at them [T28].",
    "What was fitted was fitted without the noise of the certificate [T6]; rounding in folded and compiled networks is "
    "within the slack that was measured [T24].",
]
EXCLUDED = [
    "Other images than those that are named here by hash [T12], but for the figures of new images [T28, T29].",
    "Other adversaries: norms but through the l2 ball [T14], known seeds, several tries, influence on noise [T10].",
    "Detectors that draw noise otherwise, as those of an ordinary evaluation do in float32 [T26].",
    "All figures of the page together at the probability of one, but for those at once [T13, T30].",
    "The accuracy of the network, training data, and whether these OOD sets stand for what will be met: no theorem "
    "speaks of them.",
]
VERIFIED = [
    "It makes the certificate again as far as that takes no noise (network, images, fit, code, every metric from its "
    "bounds), then draws fresh noise for random images and rejects bounds that claim more than it allows: of a "
    "certificate whose bounds all hold with probability 0.001 at most. It prints with which probability it would have "
    "found forged bounds [T15].",
    "It needs the network's file and the images with the hashes below, and RoodBench with the same code.",
    "The second command prints this page from the file, for anyone, without network and images, and only where the "
    "file agrees with itself.",
]
UNVERIFIED = "Verification takes these as they are, or nearly: of each field what it leaves open."


def named(value: Any) -> str:
    """A name of the certificate's as no sentence can take it for words of the page: in quotes, but for one word.

    >>> named("unseen-digits"), named("noise, verified"), named("it's")
    ('unseen-digits', "'noise, verified'", "'it\\\\'s'")
    """
    text = plain(value)
    return text if WORD.fullmatch(text) else "'" + text.replace("'", "\\'") + "'"


def plain(value: Any) -> str:
    """A value of the certificate as one short line: characters that do not print, or turn the direction, by number.

    >>> plain("a\\u202eb"), plain(0.25), len(plain("x" * 500))
    ('a\\\\u202eb', '0.25', 80)
    """
    text = value if isinstance(value, str) else str(value)
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 3] + "..."
