#!/usr/bin/env bash
# The tables under reports/all-detectors: every detector on digits, and on CIFAR-10 against texture. Resumes.
set -euo pipefail
usage="usage: studies/all_detectors.sh DATA_ROOT CIFAR10_RESNET20_WEIGHTS [OUT]"
data=${1:?$usage} weights=${2:?$usage}
out=${3:-roodbench-runs}
python -m roodbench --detector all --attack both --out "$out"
python -m roodbench --detector all --attack both --benchmark cifar10 --data-root "$data" --model cifar-resnet20 \
  --checkpoint "$weights" --ood texture --out "$out"
