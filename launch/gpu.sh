#!/usr/bin/env bash
# `cslm train` on one GPU.
#
#     launch/gpu.sh --config=configs/miniature_cpt.py
#
# The arguments go to `cslm train`. Running it again resumes.
#
# Environment (what is set already, stays):
#   GPU                             which one, default 0
#   CSLM                            the command, default "cslm"
#   XLA_CLIENT_MEM_FRACTION         of its memory that JAX takes at the start, default .92 (JAX's own is .75)
set -euo pipefail

read -ra cslm <<<"${CSLM:-cslm}"
if ! command -v "${cslm[0]}" >/dev/null; then
    echo "launch/gpu.sh: no command ${cslm[0]}; activate the environment that cslm is installed in, or set CSLM" >&2
    exit 2
fi
export CUDA_VISIBLE_DEVICES=${GPU:-0}
export JAX_PLATFORMS=${JAX_PLATFORMS:-cuda} # without it JAX, where it finds no GPU, quietly takes the CPU
export CSLM_PROCESSES=1                     # alone, also inside a cluster's job
export XLA_CLIENT_MEM_FRACTION=${XLA_CLIENT_MEM_FRACTION:-.92}
exec "${cslm[@]}" train "$@"
