#!/usr/bin/env bash
# Everything that needs a GPU, in one run: loops against floor and peers, the floor against the card's bfloat16 peak, ROSS
# under the full attack in images per second, scaling; with ROODBENCH_DATA the two studies of reports/, larger. usage: benchmarks/gpu.sh OUT
set -euo pipefail
out=${1:?usage: benchmarks/gpu.sh OUT}
mkdir -p "$out"
python -m pytest benchmarks --benchmark-only --benchmark-json="$out/gpu.json"
python -m benchmarks.ratios "$out/gpu.json" | tee "$out/gpu-ratios.md"
python -m benchmarks.gpu_throughput | tee "$out/gpu-throughput.md"
python -m benchmarks.scaling | tee "$out/gpu-scaling.md"
if [ -n "${ROODBENCH_DATA:-}" ]; then
  data=(--data-root "$ROODBENCH_DATA" --weights "$ROODBENCH_DATA/weights")
  python -m studies.ross_under_attack "${data[@]}" --out "$out/ross-under-attack" \
    --bases gen,fdbd,msp,ebo,vim,knn --images 500 --larger-eps 8
  python -m studies.certified "${data[@]}" --out "$out/certified" --images 200 --samples 10000
fi
