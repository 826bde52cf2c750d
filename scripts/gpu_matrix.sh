#!/usr/bin/env bash
# Run the matrix of the AT-AT paper on a machine with a GPU, the most telling cells first, one cell after the other.
#
# Usage: scripts/gpu_matrix.sh [--plan] [PROTOCOL...]        (facescrub224 celeba224 dogs224 by default)
#   --plan             say what is missing, what would run and how long it takes; run nothing
#   MIBENCH_STORE      where artifacts are kept; the same command continues where it stopped, cell by cell
#   MIBENCH_OUT        where records go, ./gpu-records by default; nothing is published
#   MIBENCH_DEVICE     cuda by default
#   MIBENCH_SEEDS      "0" by default; a ranked row needs "0 1 2"
#   MIBENCH_HOURS      start no further cell after so many hours
#   MIBENCH_EXTRA      further words for `mibench run`, such as "--executor local --workers 2"
#
# Order: the paper's claim (AT-AT against plain training under PPA), the other attacks on both, the other defenses under
# PPA, then under the other attacks, then the other architectures. Targets, judges and priors are shared between cells.
set -uo pipefail
cd "$(dirname "$0")/.."
plan=
[ "${1:-}" != --plan ] || { plan=--dry-run; shift; }
protocols=("$@")
[ ${#protocols[@]} -gt 0 ] || protocols=(facescrub224 celeba224 dogs224)
out=${MIBENCH_OUT:-gpu-records}
seeds=()
for seed in ${MIBENCH_SEEDS:-0}; do seeds+=(--seed "$seed"); done
defenses=(negls tl-dmi trap-mid bido mid rolss at)
attacks=(if-gmi ppdg-mi)
began=$(date +%s) failed=0

cell() { # PROTOCOL WORD...: one call of mibench, unless the time is up
  local protocol=$1 name hours=$((($(date +%s) - began) / 3600))
  shift
  if [ -n "${MIBENCH_HOURS:-}" ] && [ "$hours" -ge "$MIBENCH_HOURS" ]; then
    echo "stopped after $hours h; the same command continues" >&2
    exit $((failed > 0))
  fi
  name=$(tr ' /' '-_' <<<"$protocol $*" | tr -s -)
  echo "== $protocol $*" >&2
  # shellcheck disable=SC2086  # MIBENCH_EXTRA is several words
  if [ -n "$plan" ]; then
    mibench run --protocol "$protocol" "$@" "${seeds[@]}" --device auto --dry-run
  else
    mibench run --protocol "$protocol" "$@" "${seeds[@]}" --device "${MIBENCH_DEVICE:-cuda}" \
      --output "$out/$name" ${MIBENCH_EXTRA:-}
  fi || failed=$((failed + 1))
}

for protocol in "${protocols[@]}"; do cell "$protocol" -d none -d atat -a ppa; done
if [ -n "$plan" ]; then
  [ "$failed" -eq 0 ] || echo "$failed of ${#protocols[@]} protocols cannot run yet; see the lines that begin with 'missing'" >&2
  exit $((failed > 0))
fi
for protocol in "${protocols[@]}"; do
  for attack in "${attacks[@]}"; do cell "$protocol" -d none -d atat -a "$attack"; done
done
for protocol in "${protocols[@]}"; do
  for defense in "${defenses[@]}"; do cell "$protocol" -d "$defense" -a ppa; done
done
for protocol in "${protocols[@]}"; do
  for attack in "${attacks[@]}"; do
    for defense in "${defenses[@]}"; do cell "$protocol" -d "$defense" -a "$attack"; done
  done
done
for protocol in "${protocols[@]}"; do
  for model in resnet18 densenet169; do
    cell "$protocol" --model "$model" -d none -d atat -a ppa
    cell "$protocol" --model "$model" -d negls -d trap-mid -a ppa
    frozen=() # how much of it TL-DMI leaves as it is
    [ "$model" != densenet169 ] || frozen=(--set defense.freeze_until=features.denseblock2)
    cell "$protocol" --model "$model" -d tl-dmi "${frozen[@]}" -a ppa
  done
done
echo "done; $failed calls failed; records in $out" >&2
exit $((failed > 0))
