#!/usr/bin/env bash
# `cslm prepare` by many workers under SLURM: an array of jobs for the records, one for the token caches, then the summary.
#
#     WORKERS=32 SBATCH="--partition=gpu --gpus=1 --time=24:00:00" launch/prepare_slurm.sh --config=configs/cpt_corpora.py
#
# The arguments go to `cslm prepare`. Run it on a login node, in the environment that cslm is installed in; it submits three
# jobs, each waiting for the one before, and returns. Corpora, records, caches and workdir must lie where every node sees them.
#
# A worker that a machine ended (a time limit or preemption: SIGTERM; 137: killed) goes back to the queue, and goes on from the
# shard that it was at. Other statuses are mistakes to mend, such as a full disk (2); what waits for such a job is cancelled.
# Running the script again does what is left.
#
# Environment:
#   WORKERS         how many share the records, default 8
#   CACHE_WORKERS   how many share the token caches, one task at a time each; default 4
#   SBATCH          flags of sbatch for the workers of the records
#   SBATCH_CPU      flags of sbatch for caches and summary, which need no GPU; default those of SBATCH
#   CSLM            the command, default "cslm"
#   MAX_RESTARTS    how often a worker may go back to the queue, default 100
set -euo pipefail

fail() {
    echo "launch/prepare_slurm.sh: $*" >&2
    exit 2
}

read -ra cslm <<<"${CSLM:-cslm}"
command -v "${cslm[0]}" >/dev/null ||
    fail "no command ${cslm[0]}; run it in the environment that cslm is installed in, or set CSLM"

submit() {
    local stage=$1 workers=$2 after=$3 flags
    shift 3
    read -ra flags <<<"${SBATCH_CPU-${SBATCH:-}}"
    [[ $stage != records ]] || read -ra flags <<<"${SBATCH:-}"
    CSLM_STAGE=$stage CSLM_WORKERS=$workers sbatch --parsable --job-name="cslm-$stage" --array="0-$((workers - 1))" \
        --export=ALL --requeue --open-mode=append --output="cslm-$stage-%A-%a.log" --signal=B:TERM@60 \
        ${after:+--dependency="afterok:$after" --kill-on-invalid-dep=yes} ${flags[@]+"${flags[@]}"} "$0" "$@"
}

if [[ ! ${CSLM_STAGE:-} ]]; then
    (($#)) || fail "the arguments of cslm prepare are missing, as in: launch/prepare_slurm.sh --config=..."
    command -v sbatch >/dev/null || fail "no command sbatch; run it on a login node of the cluster"
    for variable in WORKERS CACHE_WORKERS; do
        [[ ${!variable:-1} =~ ^[1-9][0-9]*$ ]] || fail "$variable is ${!variable}; give a number from 1 on"
    done
    records=$(submit records "${WORKERS:-8}" "" "$@")
    caches=$(submit caches "${CACHE_WORKERS:-4}" "${records%%;*}" "$@")
    summary=$(submit summary 1 "${caches%%;*}" "$@")
    echo "records: job ${records%%;*}, then caches: job ${caches%%;*}, then the summary: job ${summary%%;*}"
    exit 0
fi

[[ ${SLURM_ARRAY_TASK_ID:-} ]] || fail "CSLM_STAGE is set, but this is no job of an array"
case $CSLM_STAGE in
records) words=(--worker="$SLURM_ARRAY_TASK_ID/$CSLM_WORKERS") ;;
caches) words=(--caches --worker="$SLURM_ARRAY_TASK_ID/$CSLM_WORKERS") ;;
summary) words=(--summary) ;;
*) fail "CSLM_STAGE is $CSLM_STAGE; it is one of records, caches, summary" ;;
esac

# SLURM tells this shell a minute before the time limit, and before a preemption where the cluster is set up so.
trap 'kill -TERM $(jobs -p) 2>/dev/null || true' TERM
"${cslm[@]}" prepare "$@" "${words[@]}" &
worker=$!
status=0
wait "$worker" || status=$?
if kill -0 "$worker" 2>/dev/null; then # the signal ended the waiting, not yet the worker
    status=0
    wait "$worker" || status=$?
fi

restarts=${SLURM_RESTART_COUNT:-0}
if ((status >= 128 && restarts < ${MAX_RESTARTS:=100})); then
    echo "launch/prepare_slurm.sh: status $status; back to the queue (restart $((restarts + 1)) of at most $MAX_RESTARTS)" >&2
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
fi
exit "$status"
