#!/usr/bin/env bash
# Everything that needs a GPU, in one run: loops against floor and peers, the floor against the card's bfloat16 peak, ROSS
# under the full attack in images per second, scaling. usage: benchmarks/gpu.sh OUT
set -euo pipefail
out=${1:?usage: benchmarks/gpu.sh OUT}
mkdir -p "$out"
python -m pytest benchmarks --benchmark-only --benchmark-json="$out/gpu.json"
python -m benchmarks.ratios "$out/gpu.json" | tee "$out/gpu-ratios.md"
python -m benchmarks.gpu_throughput | tee "$out/gpu-throughput.md"
python -m benchmarks.scaling | tee "$out/gpu-scaling.md"
