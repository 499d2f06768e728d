"""What ends a run, with a message of its own where it is raised (docs/trust.md has the table)."""

from __future__ import annotations

from dataclasses import dataclass

from .checks import About


@dataclass(frozen=True)
class Refusal:
    """A kind of input that cannot be evaluated."""

    about: About
    catches: str
    cost: str


READING = "none: a look at every image, and a hash of it, as it is read"
REFUSALS = {
    "files": Refusal("data", "an image file is missing, broken, too large, or of a mode of unknown range", READING),
    "lists": Refusal(
        "data",
        "a line of an image list is no path and class label, or its path leads out of the images' folder",
        READING,
    ),
    "layout": Refusal("data", "an array has other axes or another type, or not one image for each label", READING),
    "labels": Refusal("data", "labels are no whole numbers, or negative in an ID set", READING),
    "pixels": Refusal(
        "data", "pixels are not finite, outside [0, 1], or so dark that they were divided by 255 twice", READING
    ),
    "distinct": Refusal("data", "a set has fewer than 2 different images", READING),
    "splits": Refusal(
        "data",
        "the same image is in two of ID train, ID val, ID test, OOD val, OOD test and covariate-shifted ID",
        READING,
    ),
    "sets": Refusal(
        "data", "two sets have one name or images of different shapes, or an OOD set is in no group", "none"
    ),
    "test-fit": Refusal(
        "data",
        "a detector would be fitted on a test set, or was on images of it, given in lists of batches or another set",
        "a sum over each such image",
    ),
    "limit": Refusal("data", "fewer than 2 images are wanted of a population", "none"),
    "channels": Refusal("network", "the network takes images of another number of channels", "none"),
    "logits": Refusal(
        "network",
        "the network cannot take the images, or gives no (B, K) logits with the benchmark's classes among the K",
        "one pass over 2 images",
    ),
    "weights": Refusal(
        "network",
        "the checkpoint is no state dict or several, lacks weights, has others, or some that are quantised, complex or "
        "not finite",
        "none",
    ),
    "features": Refusal(
        "network",
        "the network shows no features or last layer, and the score needs them (of several detectors such ones are "
        "left out); or it is in training mode",
        "one pass over 8 images",
    ),
    "log-softmax": Refusal(
        "network",
        "the network ends in a log-softmax, and the score is then the same for every image, such as the energy (of "
        "several detectors such ones are left out)",
        "one pass over 8 images",
    ),
    "seam": Refusal(
        "detector",
        "an attribute or method of the detector is not what the seam calls by that name (`passes = 3`, noise without a "
        "generator)",
        "none",
    ),
    "stale-fit": Refusal(
        "detector",
        "the weights of the network have changed since the detector was fitted on it",
        "a sum over the weights, at `fit` and at `evaluate`",
    ),
    "shape": Refusal("detector", "scores of B images are no float32 or float64 tensor of shape (B,)", "none"),
    "gradients": Refusal(
        "detector", "`value_and_grad` gives no pair of values (B,) and gradients of the images' shape", "none"
    ),
    "finite": Refusal(
        "detector", "a score, or a gradient in an attack, is not finite; the message names the image", "none"
    ),
    "writes": Refusal(
        "detector",
        "the detector (or the network) writes into the images it is given; those are copies, so that no one else's "
        "scores change",
        "a copy of the images at every call, and a comparison at every scoring",
    ),
    "company": Refusal(
        "detector",
        "the score or the gradient of an image depends on the other images of its batch, their number or its place: "
        "batches hold one population, so the batch would tell the label",
        "a scoring of 64 images per population in other company, of its last batch filled up, and of 4 batches of two "
        "(with noise 10 times); under "
        "attack, gradients of 16 images, twice per objective",
    ),
    "handed-in": Refusal(
        "attack",
        "images that a caller gives to an attack are out of the bounds, not finite or of another layout",
        "none: a look at every batch",
    ),
}
"""Every refusal; tests/roodbench/evaluation/test_refusals.py plants each."""
