#!/usr/bin/env bash
# Several processes of `cslm train` on this machine, as one job: what a pod does, on a laptop.
#
#     launch/local.sh 4 --config=configs/miniature_cpt.py --config.train.steps=100
#
# The first argument is the number of processes, the others go to `cslm train`. Lines of all processes but the first
# begin with their number. SIGTERM and Ctrl-C are passed on: the job saves and leaves. When one process fails, the
# others get GRACE seconds to end by themselves. The status is that of the first process that failed.
#
# Environment:
#   CSLM    the command, default "cslm"
#   PORT    of the coordinator, default a free one
#   GRACE   seconds, default 30
set -euo pipefail

fail() {
    echo "launch/local.sh: $*" >&2
    exit 2
}

[[ ${1:-} =~ ^[1-9][0-9]*$ ]] || fail "the first argument is the number of processes, as in: launch/local.sh 4 --config=..."
processes=$1
shift
read -ra cslm <<<"${CSLM:-cslm}"
command -v "${cslm[0]}" >/dev/null ||
    fail "no command ${cslm[0]}; activate the environment that cslm is installed in, or set CSLM"
free_port='import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
export JAX_COORDINATOR_ADDRESS="127.0.0.1:${PORT:-$(python3 -c "$free_port")}" CSLM_PROCESSES=$processes

process_of=() # by process id
trap 'kill -TERM "${!process_of[@]}" 2>/dev/null || true' TERM INT
for ((process = 0; process < processes; process++)); do
    export CSLM_PROCESS=$process
    if ((process == 0)); then
        "${cslm[@]}" train "$@" &
    else
        "${cslm[@]}" train "$@" > >(sed -u "s/^/[$process] /") 2> >(sed -u "s/^/[$process] /" >&2) &
    fi
    process_of[$!]=$process
done

status=0 deadline=
while ((${#process_of[@]})); do
    sleep 0.2 || true # Ctrl-C ends it too
    for id in "${!process_of[@]}"; do
        kill -0 "$id" 2>/dev/null && continue
        code=0
        wait "$id" 2>/dev/null || code=$?
        if ((code != 0 && status == 0)); then
            status=$code deadline=$((SECONDS + ${GRACE:=30}))
            echo "launch/local.sh: process ${process_of[id]} of $processes ended with status $code;" \
                "the others get $GRACE s to end by themselves" >&2
        fi
        unset "process_of[id]"
    done
    if [[ $deadline ]] && ((SECONDS >= deadline && ${#process_of[@]})); then
        echo "launch/local.sh: ending by SIGKILL: ${process_of[*]}" >&2
        kill -KILL "${!process_of[@]}" 2>/dev/null || true
        deadline=
    fi
done
exit "$status"
