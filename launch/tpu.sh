#!/usr/bin/env bash
# `cslm train` on a TPU slice, as a queued resource: asks for it, waits for it, installs the checkout's HEAD on all of its
# hosts, trains, asks again after a preemption, and deletes it at the end.
#
#     NAME=cpt ZONE=us-east5-b ACCELERATOR=v6e-16 RUNTIME=v2-alpha-tpuv6e BUCKET=my-bucket \
#         launch/tpu.sh --config=configs/llama31_8b_cpt.py --config.workdir=bucket/cpt
#
# The arguments go to `cslm train`, which runs in the checkout on every host. A preempted host's disk is lost, so caches and
# workdir belong in the bucket, which is mounted there as bucket/ (make it with a hierarchical namespace: checkpoints are
# finished by renaming a folder). Run the script where it can stay: tmux on a small VM, say. Ctrl-C deletes the slice.
#
# Whatever a machine did to the job (a preemption, SIGTERM: 143, a process that hung or was lost: 134, no connection: 255)
# starts it again, from its last checkpoint. Mistakes to mend (2), and three starts in a row that came to nothing, end it.
#
# Environment:
#   NAME          of the queued resource and of its node
#   ZONE          where
#   ACCELERATOR   type and size, such as v5litepod-64, v5p-32, v6e-16; `cslm plan` says what fits
#   RUNTIME       software version: v2-alpha-tpuv5-lite (v5e), v2-alpha-tpuv5 (v5p), v2-alpha-tpuv6e (v6e)
#   BUCKET        name of a Cloud Storage bucket
#   PROJECT       default that of gcloud's configuration
#   FLAGS         more flags of `gcloud compute tpus queued-resources create`, default --spot; --reserved, for example
#   INSTALL       run on every host once, in the checkout; default: Python 3.12 and .[tpu] in .venv, by uv
#   MOUNT         run on every host before every start, in the checkout; default: BUCKET as bucket/, by gcsfuse, which
#                 must be there
#   BRIEF         seconds; a start that ended sooner came to nothing, default 600
#   POLL          seconds between two looks at the queue, default 30
#   KEEP          1 leaves the slice in place at the end
#   ADOPT         1 takes over a slice of this name that is there already (and deletes it at the end, unless KEEP=1)
#   JAX_COMPILATION_CACHE_DIR   compiled programs, as the hosts see it; default bucket/xla
set -euo pipefail

say() {
    echo "launch/tpu.sh: $*" >&2
}

fail() {
    say "$@"
    exit 2
}

for variable in NAME ZONE ACCELERATOR RUNTIME; do
    [[ ${!variable:-} ]] || fail "$variable is not set; the comment on top of the script says what it means"
done
[[ ${BUCKET:-} || ${MOUNT:-} ]] || fail "BUCKET is not set (or MOUNT, for a shared disk of another kind)"
(($#)) || fail "the arguments of cslm train are missing, as in: launch/tpu.sh --config=configs/llama31_8b_cpt.py"
command -v gcloud >/dev/null || fail "no command gcloud; install the Google Cloud CLI"
: "${INSTALL:=python3 -m pip install --user --quiet uv && python3 -m uv venv --quiet --python 3.12 .venv &&
    python3 -m uv pip install --quiet --python .venv --editable '.[tpu]'}"
: "${MOUNT:=mkdir -p bucket && (mountpoint -q bucket || gcsfuse --implicit-dirs $BUCKET bucket)}"
where=(--zone="$ZONE" ${PROJECT:+--project="$PROJECT"})
read -ra flags <<<"${FLAGS---spot}"

queued() {
    local verb=$1
    shift
    gcloud compute tpus queued-resources "$verb" "$NAME" "${where[@]}" "$@"
}

# That of the request, and of its node once it is granted; READY is what one waits for.
state() {
    local answer tries=0
    until answer=$(queued describe --format='value(state.state)' 2>"$scratch/error") &&
        { [[ $answer != ACTIVE ]] || answer=$(node describe --format='value(state)' 2>"$scratch/error"); }; do
        [[ $(<"$scratch/error") != *NOT_FOUND* ]] || { echo ABSENT && return; }
        say "gcloud has no answer: $(<"$scratch/error")"
        ((++tries < 20)) || fail "what is the state of $NAME? Look whether it still exists, and costs"
        sleep "${POLL:-30}"
    done
    echo "$answer"
}

node() {
    local verb=$1
    shift
    gcloud compute tpus tpu-vm "$verb" "$NAME" "${where[@]}" "$@"
}

on_all_hosts() {
    node ssh --worker=all --command="$1"
}

delete() {
    queued delete --force --quiet 2>"$scratch/error" || [[ $(<"$scratch/error") == *NOT_FOUND* ]] ||
        say "$NAME could not be deleted: $(<"$scratch/error")"
}

clean() {
    rm -rf "$scratch"
}

gone() {
    [[ $1 =~ ^(ABSENT|SUSPENDING|SUSPENDED|DELETING|PREEMPTED|TERMINATED)$ ]]
}

wait_until_ready() {
    local now before=
    while now=$(state) || exit; do
        [[ $now != READY ]] || return 0
        [[ $now == "$before" ]] || say "$NAME is $now"
        [[ $now != FAILED ]] || fail "the request failed; gcloud compute tpus queued-resources describe $NAME says why"
        ! gone "$now" || return 255
        before=$now
        sleep "${POLL:-30}"
    done
}

install_checkout() {
    [[ ! $(git status --porcelain) ]] || say "what is not committed stays here"
    git archive --format=tar.gz --output="$scratch/cslm_jax.tar.gz" HEAD
    on_all_hosts "mkdir -p cslm_jax" &&
        gcloud compute tpus tpu-vm scp "$scratch/cslm_jax.tar.gz" "$NAME:" "${where[@]}" --worker=all &&
        on_all_hosts "cd cslm_jax && tar -xzf ../cslm_jax.tar.gz && $INSTALL"
}

# gcloud connects again, and so starts the command again, when it loses a host: what it left there has to end first.
train="pkill -TERM -x cslm; while pgrep -x cslm >/dev/null; do sleep 1; done; export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-bucket/xla}; exec .venv/bin/cslm train$(printf ' %q' "$@")"

cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
[[ ${ADOPT:-} == 1 || $(state) == ABSENT ]] || fail "$NAME exists already; ADOPT=1 takes it over, or choose another NAME"
if [[ ${KEEP:-} == 1 ]]; then trap clean EXIT; else trap 'delete; clean' EXIT; fi
installed='' failures=0
while true; do
    status=0
    if [[ $(state) == ABSENT ]]; then
        queued create --node-id="$NAME" --accelerator-type="$ACCELERATOR" --runtime-version="$RUNTIME" \
            ${flags[@]+"${flags[@]}"} || fail "gcloud refused the request, see above"
        installed=
    fi
    wait_until_ready || status=$?
    begun=$SECONDS
    if ((status == 0)) && [[ ! $installed ]]; then
        say "installing on all hosts of $NAME"
        install_checkout && installed=1 || status=$?
    fi
    if ((status == 0)); then
        say "training on $NAME"
        on_all_hosts "cd cslm_jax && { $MOUNT; } && { $train; }" || status=$?
    fi
    ((status != 0)) || exit 0
    now=$(state)
    if gone "$now"; then
        say "$NAME is $now: preempted; asking for another one"
        delete
        failures=0
    elif ((status == 2)); then
        fail "ended with status 2: a mistake to mend, see above"
    else
        # 1 is a bug, or gcloud's own trouble: however long it took, it does not make up for one before.
        ((status == 1 || SECONDS - begun < ${BRIEF:=600})) && failures=$((failures + 1)) || failures=0
        ((failures < 3)) || fail "ended with status $status, the third time in a row that came to nothing"
        say "ended with status $status; starting again"
    fi
done
