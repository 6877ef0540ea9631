#!/usr/bin/env bash
# `cslm train` on a TPU slice of a GKE cluster, through xpk (pip install xpk).
#
#     CLUSTER=my-cluster ZONE=us-east5-b TPU_TYPE=v6e-16 IMAGE=us-docker.pkg.dev/me/cslm/train:1 STORAGE=runs \
#         launch/xpk.sh --config=configs/llama31_8b_cpt.py --config.workdir=/runs/cpt
#
# The arguments go to `cslm train`. The image is made from launch/Dockerfile:
#
#     docker build --file launch/Dockerfile --tag "$IMAGE" . && docker push "$IMAGE"
#
# Caches and workdir lie on a storage that all hosts mount, for example a bucket:
#
#     xpk storage attach runs --type=gcsfuse --bucket=my-bucket --mount-point=/runs --auto-mount=false --readonly=false ...
#
# xpk starts the job again after exit statuses of 127 and more (143: SIGTERM, 134: a process hung or was lost); it goes on
# from its last checkpoint. Smaller ones are mistakes to mend, and end it. Afterwards: xpk workload list, xpk workload delete.
#
# Environment:
#   CLUSTER       name of the cluster
#   ZONE          where
#   TPU_TYPE      such as v5litepod-64, v5p-32, v6e-16; `cslm plan` says what fits
#   IMAGE         of the container
#   NAME          of the workload, default cslm-USER
#   PROJECT       default that of gcloud's configuration
#   STORAGE       name of an attached storage
#   MAX_RESTARTS  default 100
#   GRACE         seconds between SIGTERM and SIGKILL, default 300 (a preempted spot machine has less, whatever this says)
#   FLAGS         more flags of `xpk workload create`, such as --spot or --dry-run
set -euo pipefail

fail() {
    echo "launch/xpk.sh: $*" >&2
    exit 2
}

for variable in CLUSTER ZONE TPU_TYPE IMAGE; do
    [[ ${!variable:-} ]] || fail "$variable is not set; the comment on top of the script says what it means"
done
(($#)) || fail "the arguments of cslm train are missing, as in: launch/xpk.sh --config=configs/llama31_8b_cpt.py"
command -v xpk >/dev/null || fail "no command xpk; pip install xpk"
read -ra flags <<<"${FLAGS:-}"

# xpk passes SIGTERM on to the shell around the command, which must therefore be replaced by it.
exec xpk workload create \
    --workload="${NAME:-cslm-${USER:-train}}" \
    --cluster="$CLUSTER" \
    --zone="$ZONE" \
    ${PROJECT:+--project="$PROJECT"} \
    --tpu-type="$TPU_TYPE" \
    --docker-image="$IMAGE" \
    ${STORAGE:+--storage="$STORAGE"} \
    --max-restarts="${MAX_RESTARTS:-100}" \
    --termination-grace-period-seconds="${GRACE:-300}" \
    ${flags[@]+"${flags[@]}"} \
    --command="exec cslm train$(printf ' %q' "$@")"
