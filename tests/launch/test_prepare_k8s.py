"""launch/prepare_k8s.sh prints an Indexed Job that Kubernetes can read."""

import pytest

yaml = pytest.importorskip("yaml")

JOB = {"STAGE": "records", "IMAGE": "registry/cslm:1", "CLAIM": "speech"}
ARGUMENTS = ("--config=x", '--config.name=two "words" \\ here')


def container_of(job: dict) -> dict:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return container


@pytest.mark.parametrize(
    ("stage", "workers", "words"),
    [
        ("records", 32, ["--worker=$(JOB_COMPLETION_INDEX)/32"]),
        ("caches", 32, ["--caches", "--worker=$(JOB_COMPLETION_INDEX)/32"]),
        ("summary", 1, ["--summary"]),
    ],
)
def test_a_job_with_an_index_a_worker(launch, stage, workers, words):
    result = launch("prepare_k8s.sh", *ARGUMENTS, **JOB | {"STAGE": stage, "WORKERS": "32", "NAME": "cpt"})
    assert result.returncode == 0, result.stderr
    job = yaml.safe_load(result.stdout)
    assert (job["kind"], job["metadata"]["name"]) == ("Job", f"cpt-{stage}")
    assert job["spec"]["completionMode"] == "Indexed"
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == workers
    container = container_of(job)
    assert container["command"] == ["cslm", "prepare"] and container["args"] == [*ARGUMENTS, *words]
    assert container["image"] == JOB["IMAGE"] and container["resources"]["limits"] == {"cpu": 4, "memory": "16Gi"}
    (volume,) = job["spec"]["template"]["spec"]["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == "speech" and volume["name"] == container["volumeMounts"][0]["name"]


def test_workers_of_ones_own_make(launch):
    result = launch("prepare_k8s.sh", *ARGUMENTS, RESOURCES="{limits: {nvidia.com/gpu: 1}}", **JOB)
    assert container_of(yaml.safe_load(result.stdout))["resources"] == {"limits": {"nvidia.com/gpu": 1}}


def test_workers_know_where_the_corpora_are(launch):
    container = container_of(yaml.safe_load(launch("prepare_k8s.sh", *ARGUMENTS, CSLM_CORPORA="/data/my corpora", **JOB).stdout))
    assert container["env"] == [{"name": "CSLM_CORPORA", "value": "/data/my corpora"}]


def test_mistakes_end_the_job_and_machines_do_not(launch):
    job = yaml.safe_load(launch("prepare_k8s.sh", *ARGUMENTS, **JOB).stdout)
    ignored, failed = job["spec"]["podFailurePolicy"]["rules"]
    assert failed == {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [2]}}
    assert ignored["action"] == "Ignore" and job["spec"]["backoffLimitPerIndex"] == 100


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *(({name: ""}, f"{name} is not set") for name in JOB),
        ({"STAGE": "all"}, "one of records"),
        ({"WORKERS": "0"}, "WORKERS is 0"),
    ],
)
def test_what_is_wrong_is_named(launch, changes, message):
    result = launch("prepare_k8s.sh", *ARGUMENTS, **JOB | changes)
    assert result.returncode == 2 and message in result.stderr and not result.stdout
