"""launch/xpk.sh creates one workload that runs the command as it was given."""

import pytest

JOB = {"CLUSTER": "pod", "ZONE": "us-east5-b", "TPU_TYPE": "v6e-16", "IMAGE": "registry/cslm:1"}


def test_a_workload_is_created(stubs, launch):
    stubs.add("xpk")
    options = {"NAME": "cpt", "PROJECT": "mine", "STORAGE": "runs", "FLAGS": "--spot --priority=low"}
    result = launch("xpk.sh", "--config=configs/x.py", "--config.name=two words", **JOB, **options)
    assert result.returncode == 0, result.stderr
    assert stubs.calls("xpk") == [
        [
            *[
                "workload",
                "create",
                "--workload=cpt",
                "--cluster=pod",
                "--zone=us-east5-b",
                "--project=mine",
                "--tpu-type=v6e-16",
            ],
            *["--docker-image=registry/cslm:1", "--storage=runs", "--max-restarts=100"],
            *["--termination-grace-period-seconds=300", "--spot", "--priority=low"],
            r"--command=exec cslm train --config=configs/x.py --config.name=two\ words",
        ]
    ]


def test_what_may_be_left_out_is(stubs, launch):
    stubs.add("xpk")
    assert launch("xpk.sh", "--config=x", USER="ada", **JOB).returncode == 0
    (call,) = stubs.calls("xpk")
    assert "--workload=cslm-ada" in call and not any(word.startswith(("--project", "--storage")) for word in call)


def test_the_status_is_that_of_xpk(stubs, launch):
    stubs.add("xpk", "echo '[XPK] quota exceeded' >&2; exit 3")
    result = launch("xpk.sh", "--config=x", **JOB)
    assert result.returncode == 3 and "quota exceeded" in result.stderr


@pytest.mark.parametrize("name", JOB)
def test_what_is_missing_is_named(name, stubs, launch):
    stubs.add("xpk")
    result = launch("xpk.sh", "--config=x", **{key: value for key, value in JOB.items() if key != name})
    assert result.returncode == 2 and f"{name} is not set" in result.stderr
    assert stubs.calls("xpk") == []
