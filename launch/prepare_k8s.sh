#!/usr/bin/env bash
# `cslm prepare` by many workers on Kubernetes: prints one Indexed Job, to be given to kubectl; one after the other.
#
#     export NAME=cpt IMAGE=us-docker.pkg.dev/me/cslm/train:1 CLAIM=speech CSLM_CORPORA=/data/corpora
#     for stage in records caches summary; do
#         STAGE=$stage WORKERS=32 launch/prepare_k8s.sh --config=configs/cpt_corpora.py --config.workdir=/data/cpt |
#             kubectl apply --filename=-
#         kubectl wait --for=condition=complete --timeout=-1s "job/$NAME-$stage"
#     done
#
# The arguments go to `cslm prepare`. The image is made from launch/Dockerfile. Corpora, records, caches and workdir lie on a
# volume that all workers may write (ReadWriteMany), mounted as /data. A worker that is evicted or preempted is started again and
# goes on from the shard that it was at; one that a mistake ended (status 2, such as a full disk) fails the job. Applying the
# same job again after `kubectl delete job` does what is left.
#
# Environment:
#   STAGE           records, caches (once the records are there) or summary (once the caches are there)
#   WORKERS         how many share the records or caches, default 8; of caches, no more than there are tasks
#   NAME            of the job, before the stage; default cslm-prepare
#   IMAGE           of the container
#   CLAIM           name of the PersistentVolumeClaim
#   RESOURCES       of each worker, in YAML; default {limits: {cpu: 4, memory: 16Gi}}; a GPU: {limits: {nvidia.com/gpu: 1, ...}}
#   CSLM_CORPORA    where configs/cpt_corpora.py and sft_corpora.py find the corpora, given on to the workers
#   RETRIES         how often each worker is started again, default 100
set -euo pipefail

fail() {
    echo "launch/prepare_k8s.sh: $*" >&2
    exit 2
}

# A string of YAML.
quoted() {
    local text=${1//\\/\\\\}
    echo "\"${text//\"/\\\"}\""
}

for variable in STAGE IMAGE CLAIM; do
    [[ ${!variable:-} ]] || fail "$variable is not set; the comment on top of the script says what it means"
done
(($#)) || fail "the arguments of cslm prepare are missing, as in: launch/prepare_k8s.sh --config=..."
workers=${WORKERS:-8}
[[ $workers =~ ^[1-9][0-9]*$ ]] || fail "WORKERS is $workers; give a number from 1 on"
case $STAGE in
records) words=(--worker="\$(JOB_COMPLETION_INDEX)/$workers") ;; # Kubernetes fills it in
caches) words=(--caches --worker="\$(JOB_COMPLETION_INDEX)/$workers") ;;
summary) words=(--summary) workers=1 ;;
*) fail "STAGE is $STAGE; it is one of records, caches, summary" ;;
esac

cat <<YAML
apiVersion: batch/v1
kind: Job
metadata:
  name: $(quoted "${NAME:-cslm-prepare}-$STAGE")
spec:
  completionMode: Indexed
  completions: $workers
  parallelism: $workers
  backoffLimitPerIndex: ${RETRIES:-100}
  podFailurePolicy:
    rules:
    - action: Ignore # an eviction or a preemption is no failure
      onPodConditions: [{type: DisruptionTarget}]
    - action: FailJob
      onExitCodes: {operator: In, values: [2]}
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: cslm
        image: $(quoted "$IMAGE")
        command: ["cslm", "prepare"]
        args:
$(for word in "$@" "${words[@]}"; do echo "        - $(quoted "$word")"; done)
${CSLM_CORPORA:+        env: [{name: CSLM_CORPORA, value: $(quoted "$CSLM_CORPORA")\}]
}        resources: ${RESOURCES:-{limits: {cpu: 4, memory: 16Gi\}\}}
        volumeMounts:
        - {name: data, mountPath: /data}
      volumes:
      - name: data
        persistentVolumeClaim: {claimName: $(quoted "$CLAIM")}
YAML
