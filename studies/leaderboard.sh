#!/usr/bin/env bash
# The runs under reports/leaderboard, with all their checks: groups of detectors beside each other, a record each. Resumes.
# Parts are digits, digits-at, cifar and cifar-at; PART:A,B+C runs the groups A,B and C of it alone.
set -euo pipefail
usage="usage: studies/leaderboard.sh DATA_ROOT OUT cpu|cuda [PART[:GROUP+...]]..."
data=${1:?$usage} out=${2:?$usage} device=${3:?$usage}
shift 3
[ "$#" -gt 0 ] || set -- digits digits-at cifar cifar-at
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
logits=msp,msp-t,ent,gen,ebo,mls,klm,openmax,approximate-mass
features=fdbd,mds,rmds,knn,vim,relation,nnguide
maps=react,ash,scale,dice,she,odin,gradnorm,rankfeat
small=(--limit 64 --device "$device")
real=(--benchmark cifar10 --data-root "$data" --ood texture,cifar100 --limit 32 --device "$device" --compile off)
mkdir -p "$out"

board() { # NAME OPTION...: a run for each group of detectors, beside each other
  local name=$1
  shift
  for group in "${groups[@]}"; do
    python -m roodbench check --detector "$group" --attack both --out "$out" --workers 1 --quiet --format csv "$@" \
      >"$out/$name-${group%%,*}.csv" 2>"$out/$name-${group%%,*}.log" &
  done
}

for part in "$@"; do
  groups=("$logits" "$features" "$maps" pro median mad cov ross ross-q)
  [ "${part%%:*}" = "$part" ] || IFS=+ read -r -a groups <<<"${part#*:}"
  case ${part%%:*} in
    digits) board digits-cnn "${small[@]}" --eps 16/255 ;;
    digits-at) board digits-cnn-at "${small[@]}" --eps 32/255 --model digits-cnn-at ;;
    cifar)
      board cifar-resnet20 "${real[@]}" --eps 0.5/255 --model cifar-resnet20 \
        --checkpoint "$data/weights/cifar10_resnet20.safetensors"
      ;;
    cifar-at)
      board cifar-at-resnet2b "${real[@]}" --eps 2/255,4/255 --model cifar-at-resnet2b \
        --checkpoint "$data/weights/cifar10_at_resnet2b.safetensors"
      ;;
    *)
      echo "unknown part $part: $usage" >&2
      exit 2
      ;;
  esac
  wait
done
