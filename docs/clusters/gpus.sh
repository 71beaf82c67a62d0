#!/usr/bin/env bash
# A process for each GPU of this machine, all on one directory, whose grid they divide:
#   gpus.sh --data digits --alpha 0,0.1,0.2 --seeds 50 --out results/digits
# GPUS="0 2" takes some of them only. What each says goes to gpu-N.log.
set -euo pipefail

# JAX takes 75 % of a GPU's memory when it first uses it. Alone on its GPU it may. For two processes on one GPU set
# XLA_PYTHON_CLIENT_MEM_FRACTION=0.4; XLA_PYTHON_CLIENT_PREALLOCATE=false takes memory as it is needed.
processes=()
for gpu in ${GPUS:-$(nvidia-smi --query-gpu=index --format=csv,noheader)}; do
    CUDA_VISIBLE_DEVICES=$gpu vaesurface sweep "$@" >"gpu-$gpu.log" 2>&1 &
    processes+=($!)
done
trap 'kill "${processes[@]}" 2>/dev/null || true' INT TERM

status=0
for process in "${processes[@]}"; do
    wait "$process" || status=$?
done
exit "$status"
