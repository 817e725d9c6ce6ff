#!/usr/bin/env bash
# Train one model twice with the same seed and configuration, on the CPU and on a GPU, and compare held-out bits/spike
# and seconds. Needs a CUDA device and the clips of the demo (`make run` writes them).
#
#   benchmarks/gpu/run.sh [results/prepared/*/clips.nc ...]
#
# CONFIG names another configuration than config/config.yaml; FAMILY another family than mopoe; OUT another folder.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
python="${PYTHON:-python}"
out="${OUT:-$root/results/benchmarks/gpu}"
family="${FAMILY:-mopoe}"
config="${CONFIG:-$root/config/config.yaml}"
clips=("$@")
if [ ${#clips[@]} -eq 0 ]; then
    clips=("$root"/results/prepared/*/clips.nc)
fi
if [ ! -e "${clips[0]}" ]; then
    echo "no clips at ${clips[0]}: run \`make run\` first, or name clips.nc files" >&2
    exit 2
fi
if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "no CUDA device here: run this on a machine with a GPU and a CUDA build of torch" >&2
    exit 3
fi
for device in cpu cuda; do
    rm -rf "${out:?}/$device"
    mkdir -p "$out/$device"
    "$python" -m pipeline train --config "$config" --clips "${clips[@]}" --family "$family" --latent-dim 32 --seed 0 \
        --device "$device" --threads "$(nproc)" --out "$out/$device/model.pt" --history "$out/$device/history.csv" \
        --checkpoint "$out/$device/checkpoint.pt"
done
"$python" "$root/benchmarks/gpu/compare.py" --out "$out" --clips "${clips[@]}"
