#!/usr/bin/env bash
# `cslm train` on GPUs under SLURM, one process per GPU.
#
#     sbatch --nodes=4 launch/slurm.sh --config=configs/llama31_8b_cpt.py --config.workdir=/shared/run
#
# Flags of sbatch come before the script and override the lines below; everything after it goes to `cslm train`. Submit
# from the environment that cslm is installed in. Workdir and caches must lie where every node sees them. For GPUs per
# node other than 8 give both --ntasks-per-node and --gpus-per-node: jax takes the task's number on its node as the number
# of its GPU.
#
# Five minutes before the time limit every process gets SIGTERM, saves and leaves with 143. That, and whatever else a
# machine did to the job (134: a process hung or was lost, 137: killed), puts it into the queue again, and it goes on from
# its last checkpoint. Smaller statuses are mistakes to mend, and end it; so do three starts that came to nothing. Where
# the cluster has SlurmctldParameters=preempt_send_user_signal, it sends that SIGTERM before a preemption too.
#
# Environment:
#   CSLM           the command, default "cslm"
#   MAX_RESTARTS   how often the job may go back to the queue, default 100
#   BRIEF          seconds; a start that ended sooner came to nothing, default 600
#SBATCH --job-name=cslm
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=cslm-%j.log
set -euo pipefail

fail() {
    echo "launch/slurm.sh: $*" >&2
    exit 2
}

[[ ${SLURM_JOB_ID:-} ]] || fail "submit it: sbatch --nodes=4 launch/slurm.sh --config=..."
tasks=${SLURM_NTASKS_PER_NODE:-} gpus=${SLURM_GPUS_ON_NODE:-}
[[ $tasks == "$gpus" ]] || fail "--ntasks-per-node is ${tasks:-not set} and --gpus-per-node ${gpus:-not set}; make them equal"
read -ra cslm <<<"${CSLM:-cslm}"
command -v "${cslm[0]}" >/dev/null ||
    fail "no command ${cslm[0]}; submit from the environment that cslm is installed in, or set CSLM"

# A handler, unlike no handler, lets this shell live until srun has returned.
trap 'echo "launch/slurm.sh: asked to stop, waiting for the processes to save" >&2' TERM
# Every task sees all GPUs of its node, and takes its own. One that left early leaves the others time for their last
# words and their part of a checkpoint.
status=0
srun --label --gpu-bind=none --kill-on-bad-exit=0 --wait=300 "${cslm[@]}" train "$@" || status=$?

restarts=${SLURM_RESTART_COUNT:-0}
if ((status >= 128 && restarts < ${MAX_RESTARTS:=100} && (restarts < 3 || SECONDS >= ${BRIEF:=600}))); then
    echo "launch/slurm.sh: status $status; back to the queue (restart $((restarts + 1)) of at most $MAX_RESTARTS)" >&2
    scontrol requeue "$SLURM_JOB_ID"
elif ((status != 0)); then
    echo "launch/slurm.sh: status $status after $restarts restarts; not queued again" >&2
fi
exit "$status"
