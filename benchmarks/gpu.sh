#!/usr/bin/env bash
# Everything that needs a GPU, the numbers before the times: every detector against the CPU, waits for the device, loops
# against floor and peers, the floor against the card's bfloat16 peak, ROSS under the full attack in images per second,
# scaling; with ROODBENCH_DATA the two studies of reports/, larger. Stops at the first wrong number. ROODBENCH_TINY=1 is
# a dry run with tiny sizes. usage: benchmarks/gpu.sh OUT [agreement] [waits] [loops] [throughput] [scaling] [studies]
set -euo pipefail
out=${1:?usage: benchmarks/gpu.sh OUT [agreement] [waits] [loops] [throughput] [scaling] [studies]}
shift
[ "$#" -gt 0 ] || set -- agreement waits loops throughput scaling studies
mkdir -p "$out"
for part in "$@"; do
  echo "== $part"
  case $part in
    agreement) python -m benchmarks.agreement | tee "$out/gpu-agreement.md" ;;
    waits) python -m benchmarks.waits | tee "$out/gpu-waits.md" ;;
    loops)
      python -m pytest benchmarks --benchmark-only --benchmark-json="$out/gpu.json"
      python -m benchmarks.ratios "$out/gpu.json" | tee "$out/gpu-ratios.md"
      ;;
    throughput) python -m benchmarks.gpu_throughput | tee "$out/gpu-throughput.md" ;;
    scaling) python -m benchmarks.scaling | tee "$out/gpu-scaling.md" ;;
    studies)
      [ -n "${ROODBENCH_DATA:-}" ] || { echo "no ROODBENCH_DATA: left out"; continue; }
      data=(--data-root "$ROODBENCH_DATA" --weights "$ROODBENCH_DATA/weights")
      python -m studies.ross_under_attack "${data[@]}" --out "$out/ross-under-attack" \
        --bases gen,fdbd,msp,ebo,vim,knn --images 500 --larger-eps 8
      python -m studies.certified "${data[@]}" --out "$out/certified" --images 200 --samples 10000
      ;;
    *)
      echo "unknown part $part" >&2
      exit 2
      ;;
  esac
done
