"""How the commands of the pages are changed to run in seconds, and what they must print."""

ADDED = {
    "run": "--limit 4 --steps 2 --restarts 1 --no-check",
    "run on DATA": "--limit 2 --train-limit 100 --method transfer --steps 2 --restarts 1 --no-check --param copies=3",
    "check": "--limit 2 --steps 1 --restarts 1 --ood noise",
    "certify": "--limit 2 --steps 1 --restarts 1 --samples 500 --ood unseen-digits",
    "certify bounds": "--limit 2 --steps 2 --ood unseen-digits",
    "certify --verify": "--samples 500 --seed 0",
    "list": "",
    "validate": "--limit 20",
    "inspect": "",
    "runs": "",
    "report": "",
    "work": "--quiet",
    "compare": "",
    "table": "",
    "figure": "",
    "leaderboard": "",
    "validate-entry": "--quiet --seed 0",
}
"""What is added to a command of ours, by verb, to keep it to seconds, and its verdict from chance."""
DATA = {"DATA": ".", "cifar10_resnet20.safetensors": "weights/cifar10_resnet20.safetensors"}
"""What stands for a place of the reader's, and where it is below the data root."""
FOREIGN = ("torchvision:", "timm:", "robustbench:")
"""How the networks of other libraries begin."""
DRAWN = ("report", "compare", "table", "figure", "leaderboard", "validate-entry")
"""Verbs that take records."""
ENTRIES = ("leaderboard", "validate-entry")
"""Those of them that take attacked ones alone."""
CERTIFICATE = "certify --radius 0.1 --limit 2 --samples 500 --ood unseen-digits --attack none --out made"
"""What makes the certificate.json that a page speaks of."""
CERTIFICATION = "certify --radius 0.1 --limit 4 --samples 500 --ood noise --attack none --out certified"
"""What makes the certification that a page compares with a run."""
SHOWS = {
    "run": "AUROC",
    "check": "black-box",
    "certify": "certified",
    "certify bounds": "interval",
    "certify --verify": "holds",
    "list": "arXiv:",
    "validate": "0 errors",
    "inspect": "normalisation: ",
    "runs": "no runs in ",
    "report": ".html",
    "work": "",
    "compare": "gen",
    "--changes": "numbers",
    "table": "digits-cnn",
    "figure": ".",
    "leaderboard": "leaderboard.html",
    "validate-entry": "holds",
    "--dry-run": "passes each",
    "--shard": "",
}
"""What a command of ours prints."""
