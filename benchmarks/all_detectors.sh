#!/usr/bin/env bash
# The tables under reports/all-detectors: every detector on digits, and on CIFAR-10 against texture. Resumes.
# usage: benchmarks/all_detectors.sh DATA_ROOT CIFAR10_RESNET20_WEIGHTS [OUT]
set -euo pipefail
out=${3:-roodbench-runs}
python -m roodbench --detector all --attack both --out "$out"
python -m roodbench --detector all --attack both --benchmark cifar10 --data-root "$1" --model cifar-resnet20 \
  --checkpoint "$2" --ood texture --out "$out"
