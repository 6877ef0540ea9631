"""launch/gpu.sh runs the command on one GPU, or says that it cannot."""


def test_one_gpu_and_nothing_else(stubs, launch):
    names = "CUDA_VISIBLE_DEVICES JAX_PLATFORMS CSLM_PROCESSES XLA_CLIENT_MEM_FRACTION"
    stubs.add("cslm", f"for name in {names}; do echo $name=${{!name}}; done; exit 143")
    result = launch("gpu.sh", "--config=x", "--config.name=two words", GPU="3", XLA_CLIENT_MEM_FRACTION=".5")
    assert result.returncode == 143
    assert stubs.calls("cslm") == [["train", "--config=x", "--config.name=two words"]]
    seen = dict(line.split("=") for line in result.stdout.splitlines())
    assert seen == {
        "CUDA_VISIBLE_DEVICES": "3",
        "JAX_PLATFORMS": "cuda",
        "CSLM_PROCESSES": "1",
        "XLA_CLIENT_MEM_FRACTION": ".5",
    }


def test_a_missing_command_is_named(launch):
    result = launch("gpu.sh", "--config=x", CSLM="no-such-command")
    assert result.returncode == 2 and "no command no-such-command" in result.stderr
