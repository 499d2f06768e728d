"""The ratios that matter, from a pytest-benchmark record: ours over the floor and over peers, medians of one run.

usage: python -m benchmarks.ratios RECORD.json [--strict]        (--strict: exit 1 where a ratio misses its target)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

RATIOS = [
    ("PGD step", "test_step", "ours[msp-float32]", "floor[float32]", 1.10),
    ("PGD step", "test_step", "ours[msp-float32]", "peer[torchattacks_pgd]", 0.65),
    ("PGD step", "test_step", "ours[msp-float32]", "peer[foolbox_pgd]", 0.65),
    ("PGD step, bfloat16", "test_step", "ours[msp-bfloat16]", "floor[bfloat16]", 1.10),
    ("PGD step, bfloat16", "test_step", "ours[msp-bfloat16]", "peer[torchattacks_pgd]", 0.30),
    ("PGD step, bfloat16", "test_step", "ours[msp-bfloat16]", "peer[foolbox_pgd]", 0.30),
    ("ROSS score, N = 25", "test_score", "ours[ross]", "floor_ross", 1.05),
    ("ROSS score, N = 25", "test_score", "ours[ross]", "eager_ross", 0.65),
    ("PRO score, K = 3", "test_score", "ours[pro]", "floor_pro", 1.10),
    ("PRO score, K = 3", "test_score", "ours[pro]", "eager_pro", 0.65),
    ("PRO score and gradient, bfloat16", "test_score", "ours_pro_bfloat16", "eager_pro", 0.35),
    ("PGD loop", "test_attack", "ours[msp-float32]", "floor[msp-10-float32]", None),
    ("PGD loop", "test_attack", "ours[msp-float32]", "peer[torchattacks_pgd]", None),
    ("PGD loop", "test_attack", "ours[msp-float32]", "peer[foolbox_pgd]", None),
    ("PGD loop", "test_attack", "ours[msp-float32]", "peer[pyautoattack_apgd]", None),
    ("PGD loop on PRO", "test_attack", "ours[pro-float32]", "floor[pro-40-float32]", None),
    ("EOT-PGD on ROSS", "test_attack", "ours[ross-float32]", "floor[ross-80-float32]", 1.10),
    ("EOT-PGD on ROSS", "test_attack", "ours[ross-float32]", "peer_torchattacks_eotpgd", 0.35),
    ("EOT-PGD on ROSS, bfloat16", "test_attack", "ours[ross-bfloat16]", "floor[ross-80-bfloat16]", 1.10),
    ("EOT-PGD on ROSS, bfloat16", "test_attack", "ours[ross-bfloat16]", "peer_torchattacks_eotpgd", 0.35),
    ("Certification, MSP, N = 32", "test_certify", "ours[msp]", "floor", 1.10),
    ("Certification, GEN, N = 32", "test_certify", "ours[gen]", "floor", 1.10),
]
"""What, file, ours, other, and the ratio aimed at."""


def main(record: Path) -> list[str]:
    """Print a Markdown table of ours / other; returns what misses its target."""
    missed = []
    benchmarks = json.loads(record.read_text())["benchmarks"]
    names = {b["fullname"].rpartition("/")[2].replace(".py::test_", "::"): b for b in benchmarks}
    info = benchmarks[0]["extra_info"]
    where = f"{info['device']}, {info['threads']} threads, {info['revision']}"
    print(f"{info['network']}, batch {info['batch']}, {where}\n")
    print("| what | ours (ms) | other | other (ms) | ratio | target |\n|---|---|---|---|---|---|")
    for what, file, ours, other, target in RATIOS:
        if f"{file}::{ours}" not in names or f"{file}::{other}" not in names:
            continue
        a, b = (1000 * names[f"{file}::{n}"]["stats"]["median"] for n in (ours, other))
        verdict = "" if target is None else f"{target:.2f} {'met' if a / b <= target else 'NOT met'}"
        if target is not None and a / b > target:
            missed.append(f"{what} / {other}")
        print(f"| {what} | {a:.1f} | {other.replace('_', ' ')} | {b:.1f} | {a / b:.2f} | {verdict} |")
    return missed


if __name__ == "__main__":
    arguments = [a for a in sys.argv[1:] if a != "--strict"]
    if len(arguments) != 1:
        sys.exit(__doc__)
    failed = main(Path(arguments[0]))
    sys.exit(1 if failed and "--strict" in sys.argv else 0)
