"""launch/tpu.sh asks for a slice, trains on it until training is done, and leaves nothing behind that costs."""

import pytest

SLICE = {"NAME": "cpt", "ZONE": "us-east5-b", "ACCELERATOR": "v6e-16", "RUNTIME": "v2-alpha-tpuv6e", "BUCKET": "box", "POLL": "0"}

# Stands in for gcloud. Answers to `describe` come from the lines of a file, one a call, and the last of them again and
# again; so do the exit statuses of training. A request that was deleted is not there.
GCLOUD = """
next() {{ head -n 1 "{folder}/$1"; [[ $(wc -l <"{folder}/$1") -le 1 ]] || sed -i 1d "{folder}/$1"; }}
case "$*" in
*"queued-resources create"*) touch {folder}/exists; {create} ;;
*"queued-resources delete"*) rm {folder}/exists ;;
*"queued-resources describe"*)
    [[ -e {folder}/exists ]] || {{ echo "ERROR: NOT_FOUND: no such request" >&2; exit 1; }}
    next states
    ;;
*"tpu-vm describe"*) next nodes ;;
*"cslm train"*) exit "$(next statuses)" ;;
esac
"""


@pytest.fixture
def cloud(stubs):
    def make(states=("ACTIVE",), nodes=("READY",), statuses=(0,), create=""):
        for name, lines in {"states": states, "nodes": nodes, "statuses": statuses}.items():
            (stubs.folder / name).write_text("".join(f"{line}\n" for line in lines))
        stubs.add("gcloud", GCLOUD.format(folder=stubs.folder, create=create))
        stubs.add("git")

    return make


@pytest.fixture
def done(stubs):
    def verbs() -> list[str]:
        """What was asked of gcloud, apart from questions."""
        names = []
        for call in stubs.calls("gcloud"):
            command = next((word for word in call if word.startswith("--command=")), "")
            names.append("train" if "cslm train" in command else "install" if ".venv" in command else call[3])
        return [name for name in names if name not in ("describe", "ssh", "scp")]

    return verbs


def test_from_the_queue_to_the_end(cloud, stubs, launch, done):
    cloud(states=["WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE"], nodes=["CREATING", "READY"])
    result = launch("tpu.sh", "--config=configs/x.py", "--config.name=two words", **SLICE)
    assert result.returncode == 0, result.stderr
    assert done() == ["create", "install", "train", "delete"]
    create, train, delete = (
        next(c for c in stubs.calls("gcloud") if word in " ".join(c)) for word in ("create", "cslm train", "delete")
    )
    where = ["cpt", "--zone=us-east5-b"]
    assert create == [
        *["compute", "tpus", "queued-resources", "create", *where, "--node-id=cpt", "--accelerator-type=v6e-16"],
        *["--runtime-version=v2-alpha-tpuv6e", "--spot"],
    ]
    assert train[:7] == ["compute", "tpus", "tpu-vm", "ssh", *where, "--worker=all"]
    assert "gcsfuse --implicit-dirs box bucket" in train[7]
    assert train[7].endswith(r"exec .venv/bin/cslm train --config=configs/x.py --config.name=two\ words; }")
    assert delete == ["compute", "tpus", "queued-resources", "delete", *where, "--force", "--quiet"]
    assert "cpt is PROVISIONING" in result.stderr


def test_a_slice_preempted_in_training_is_asked_for_again(cloud, launch, done):
    cloud(states=["ACTIVE", "SUSPENDED", "ACTIVE"], statuses=[255, 0])
    result = launch("tpu.sh", "--config=x", **SLICE)
    assert result.returncode == 0 and "SUSPENDED: preempted; asking for another one" in result.stderr
    assert done() == ["create", "install", "train", "delete"] * 2


def test_a_slice_preempted_before_it_was_there_is_asked_for_again(cloud, launch, done):
    cloud(states=["PROVISIONING", "SUSPENDED", "SUSPENDED", "ACTIVE"])
    assert launch("tpu.sh", "--config=x", **SLICE).returncode == 0
    assert done() == ["create", "delete", "create", "install", "train", "delete"]


def test_a_preempted_node_counts_even_while_the_request_is_active(cloud, launch, done):
    cloud(nodes=["READY", "PREEMPTED", "READY"], statuses=[1, 0])
    assert launch("tpu.sh", "--config=x", **SLICE).returncode == 0
    assert done() == ["create", "install", "train", "delete"] * 2


def test_a_job_that_lost_a_process_starts_again_where_it_is(cloud, launch, done):
    cloud(statuses=[134, 143, 0])
    assert launch("tpu.sh", "--config=x", BRIEF="0", **SLICE).returncode == 0
    assert done() == ["create", "install", "train", "train", "train", "delete"]


def test_three_brief_starts_are_enough(cloud, launch, done):
    cloud(statuses=[134])
    result = launch("tpu.sh", "--config=x", **SLICE)
    assert result.returncode == 2 and "status 134, the third time in a row" in result.stderr
    assert done() == ["create", "install", "train", "train", "train", "delete"]


def test_a_mistake_is_not_tried_again(cloud, launch, done):
    cloud(statuses=[2])
    result = launch("tpu.sh", "--config=x", **SLICE)
    assert result.returncode == 2 and "a mistake to mend" in result.stderr
    assert done() == ["create", "install", "train", "delete"]


def test_a_request_that_gcloud_refuses_says_why(cloud, launch, done):
    cloud(create="rm $(dirname $0)/exists; echo 'ERROR: Quota limit TPUV6E has been exceeded' >&2; exit 1")
    result = launch("tpu.sh", "--config=x", **SLICE)
    assert result.returncode == 2 and "Quota limit" in result.stderr and "gcloud refused the request" in result.stderr
    assert "train" not in done()


def test_a_failed_request_is_deleted(cloud, launch, done):
    cloud(states=["PROVISIONING", "FAILED"])
    result = launch("tpu.sh", "--config=x", **SLICE)
    assert result.returncode == 2 and "the request failed" in result.stderr
    assert done() == ["create", "delete"]


def test_a_slice_may_be_kept(cloud, launch, done):
    cloud()
    assert launch("tpu.sh", "--config=x", KEEP="1", FLAGS="", **SLICE).returncode == 0
    assert done() == ["create", "install", "train"]


@pytest.mark.parametrize("name", ["NAME", "ZONE", "ACCELERATOR", "RUNTIME", "BUCKET"])
def test_what_is_missing_is_named(name, cloud, launch, done):
    cloud()
    result = launch("tpu.sh", "--config=x", **{key: value for key, value in SLICE.items() if key != name})
    assert result.returncode == 2 and f"{name} is not set" in result.stderr
    assert done() == []
