#!/usr/bin/env bash
# reports/all-detectors: every detector on CIFAR-10 against texture, computed (resumes), and the page and table of digits, of
# the leaderboard's entries.
set -euo pipefail
usage="usage: studies/all_detectors.sh DATA_ROOT CIFAR10_RESNET20_WEIGHTS [OUT]"
data=${1:?$usage} weights=${2:?$usage}
out=${3:-roodbench-runs}
python -m roodbench report reports/leaderboard/digits-cnn-*.json -o reports/all-detectors/digits.html
python -m roodbench table reports/leaderboard/digits-cnn-*.json >reports/all-detectors/digits.md
python -m roodbench --detector all --attack both --benchmark cifar10 --data-root "$data" --model cifar-resnet20 \
  --checkpoint "$weights" --ood texture --out "$out"
