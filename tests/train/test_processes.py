"""One run is the same run on any number of devices and processes, and goes on after it moved to other ones.

The two processes, of two forced host devices each, are started with the variables that `cslm train` reads; they stand
for the hosts of a pod.
"""

import dataclasses
import functools
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest

from cslm_jax import config as experiments
from cslm_jax.errors import CslmError
from cslm_jax.train import distributed, sharding
from cslm_jax.train.loop import train
from cslm_jax.train.optimizer import OptimizerConfig
from cslm_jax.train.sharding import MeshConfig, make_mesh

STEPS, MOVE = 6, 3
DEVICES = (1, 2, 4)
CONSTANT = OptimizerConfig(learning_rate=1e-2, warmup=0.0, end=1.0)  # so that a run's length does not show in its losses

# One process of the job. It goes on with the run that one process began; makes a run whose tensors are split between
# the processes, and one whose mesh takes the devices of the processes in turn; and begins one that process 1 is told to
# leave.
WORKER = """
import hashlib, json, os, signal, sys, time
import jax, numpy as np
from jax.experimental import multihost_utils
from cslm_jax import config
from cslm_jax.errors import CslmError
from cslm_jax.train import checkpoint, distributed, interrupt, loop, sharding

make, read, asked = sharding.global_batch, checkpoint._read_arrays, interrupt.Interrupt.asked
make_mesh = sharding.make_mesh
request = json.load(sys.stdin)
fingerprints = []

def say(**said):
    print(json.dumps(said), flush=True)

def recording(mesh, local, rows):
    batch = make(mesh, local, rows)
    tokens = multihost_utils.process_allgather(batch["tokens"], tiled=True)
    fingerprints.append(hashlib.sha256(np.ascontiguousarray(tokens, "<i4").tobytes()).hexdigest())
    return batch

def failing(folder, like):
    if folder.parent.name == request["damaged"] and jax.process_index() == 1:
        raise OSError("a file that only process 1 reads is damaged")
    return read(folder, like)

def terminated(self, taken):
    if taken == 3 and jax.process_index() == 1:
        os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.1)  # the signal needs a moment, and steps of this size do not
    leave = asked(self, taken)
    if leave:
        say(left_after=taken)
    return leave

def in_turn(*arguments, **options):
    return make_mesh(*arguments, **options, devices=[*jax.devices()[::2], *jax.devices()[1::2]])

def refuse():
    raise OSError("no")

sharding.global_batch = recording
runs = {"moved": (failing, make_mesh), "tensor": (read, make_mesh), "in_turn": (read, in_turn)}
for name, (checkpoint._read_arrays, sharding.make_mesh) in runs.items():
    loop.train(config.from_dict(request[name]))
    say(**{name: fingerprints})
    fingerprints.clear()
try:
    distributed.by_first_process("the test", refuse)
except (OSError, CslmError) as error:
    say(refused=str(error))
sharding.make_mesh, interrupt.Interrupt.asked = make_mesh, terminated
loop.train(config.from_dict(request["stopped"]))
"""


@dataclasses.dataclass(frozen=True)
class Job:
    """What two processes left behind."""

    codes: list[int]
    """Their exit statuses."""
    said: list[dict]
    """What each of them printed."""
    workdirs: dict[str, Path]


@pytest.fixture(scope="module")
def model(tiny_model):
    """Four heads, so that a tensor can be split over all devices of both processes."""
    return dataclasses.replace(tiny_model, heads=4, kv_heads=4, head_dim=4)


@pytest.fixture
def make_run(make_experiment, model):
    return functools.partial(make_experiment, model=model, optimizer=CONSTANT, checkpoint_every=2)


@pytest.fixture(scope="module")
def workdirs(tmp_path_factory) -> dict[str, Path]:
    return {name: tmp_path_factory.mktemp(name) for name in (*map(str, DEVICES), "moved", "tensor", "in_turn", "stopped")}


@pytest.fixture
def alone(workdirs, make_run, read_metrics) -> dict[int, tuple[list[float], list[str]]]:
    """Losses and fingerprints of the batches of a run in this process, by its number of devices."""
    for devices in DEVICES:
        if not (workdirs[str(devices)] / "batches.json").exists():
            _train_on(devices, make_run(workdirs[str(devices)], steps=STEPS))
    return {n: (_losses(read_metrics(workdirs[str(n)])), _batches(workdirs[str(n)])) for n in DEVICES}


@pytest.fixture
def job(workdirs, make_run) -> Job:
    """The two processes, which are started once."""
    done = workdirs["moved"] / "job.json"
    if not done.exists():
        done.write_text("null")
        _train_on(1, make_run(workdirs["moved"], steps=MOVE))
        runs = {
            "moved": make_run(workdirs["moved"], steps=STEPS),
            "tensor": dataclasses.replace(make_run(workdirs["tensor"], steps=STEPS), mesh=MeshConfig(fsdp=1, tensor=4)),
            "in_turn": make_run(workdirs["in_turn"], steps=STEPS),
            "stopped": make_run(workdirs["stopped"], steps=10_000),
        }
        request = {name: experiments.to_dict(run) for name, run in runs.items()} | {"damaged": str(MOVE)}
        done.write_text(json.dumps(_two_processes(request)))
    left = json.loads(done.read_text())
    assert left, "the two processes failed, see the first test that needs them"
    return Job(**left, workdirs=workdirs)


@pytest.mark.parametrize("devices", DEVICES[1:])
def test_any_number_of_devices_makes_the_same_run(devices, alone):
    np.testing.assert_allclose(alone[devices][0], alone[1][0], rtol=1e-4)
    assert alone[devices][1] == alone[1][1] and len(set(alone[1][1])) == STEPS


def test_two_processes_go_on_with_the_run_of_one(job, alone, read_metrics):
    """Both from the checkpoint before the one that only process 1 cannot read."""
    losses, batches = alone[1]
    lines = read_metrics(job.workdirs["moved"])
    assert [line["step"] for line in lines] == list(range(STEPS)), "one process, and only one, writes"
    np.testing.assert_allclose(_losses(lines), losses, rtol=1e-4)
    assert [said["moved"] for said in job.said] == [batches[MOVE - 1 :]] * 2
    assert (job.workdirs["moved"] / "checkpoints" / f"damaged-{MOVE}").is_dir()


def test_a_tensor_may_be_split_over_processes(job, alone, read_metrics):
    """Both of them then need every row."""
    losses, batches = alone[1]
    np.testing.assert_allclose(_losses(read_metrics(job.workdirs["tensor"])), losses, rtol=1e-4)
    assert [said["tensor"] for said in job.said] == [batches] * 2


def test_a_mesh_may_take_the_devices_of_the_processes_in_turn(job, alone, read_metrics):
    """As the torus of a TPU slice does: what a process needs of a batch then has holes."""
    losses, batches = alone[1]
    np.testing.assert_allclose(_losses(read_metrics(job.workdirs["in_turn"])), losses, rtol=1e-4)
    assert [said["in_turn"] for said in job.said] == [batches] * 2


def test_devices_that_form_no_mesh_are_an_error_that_says_so(model, monkeypatch):
    def refuse(*_, **__):
        raise ValueError("`jax.make_mesh` does not support multi-slice topologies")

    monkeypatch.setattr(jax, "make_mesh", refuse)
    with pytest.raises(CslmError, match="data=1 x fsdp=8 x context=1 x tensor=1 cannot be laid out .*multi-slice"):
        make_mesh(MeshConfig(), model, global_batch=8)


def test_sigterm_to_one_process_ends_both_after_the_same_step(job):
    (left,) = {said["left_after"] for said in job.said}
    assert job.codes == [143, 143]
    assert (job.workdirs["stopped"] / "checkpoints" / str(left)).is_dir()


def test_one_process_goes_on_with_the_run_of_two(job, make_run, read_metrics, tmp_path):
    steps = job.said[0]["left_after"] + 2
    _train_on(1, make_run(tmp_path, steps=steps))
    _train_on(1, make_run(job.workdirs["stopped"], steps=steps))
    assert _batches(job.workdirs["stopped"]) == _batches(tmp_path)[-2:]
    lines = read_metrics(job.workdirs["stopped"])
    np.testing.assert_allclose(_losses(lines), _losses(read_metrics(tmp_path)), rtol=1e-4)


def test_what_fails_on_the_first_process_ends_the_others(job):
    assert [said["refused"] for said in job.said] == ["no", "the test failed on process 0; its own message says why"]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"CSLM_PROCESSES": "2"}, "CSLM_PROCESS is not set"),
        ({"CSLM_PROCESS": "0"}, "CSLM_PROCESSES is not set"),
        ({"CSLM_PROCESSES": "two", "CSLM_PROCESS": "0"}, "CSLM_PROCESSES is 'two'"),
        ({"CSLM_PROCESSES": "2", "CSLM_PROCESS": "2"}, "must be one of 0 .. 1"),
        ({"CSLM_PROCESSES": "2", "CSLM_PROCESS": "0"}, "JAX_COORDINATOR_ADDRESS='' must be HOST:PORT"),
        ({"CSLM_PROCESSES": "2", "CSLM_PROCESS": "0", "JAX_COORDINATOR_ADDRESS": "host"}, "'host' must be HOST:PORT"),
        ({"JAX_COORDINATOR_ADDRESS": "host:1"}, "JAX_COORDINATOR_ADDRESS is set, but"),
    ],
)
def test_half_set_variables_say_what_is_missing(variables, message, joined, monkeypatch):
    _set(monkeypatch, variables)
    with pytest.raises(CslmError, match=message):
        distributed.connect(100)
    assert joined == []


@pytest.mark.parametrize("tasks", [1, 2])
def test_a_cluster_is_joined_if_it_has_several_processes(tasks, joined, monkeypatch):
    """SLURM stands for every cluster that JAX knows; what a lone task would lose is all GPUs but one."""
    step = {"JOB_ID": "7", "STEP_NODELIST": "node1", "NTASKS": str(tasks), "PROCID": "0", "LOCALID": "0"}
    _set(monkeypatch, {f"SLURM_{name}": value for name, value in step.items()})
    distributed.connect(100)
    assert joined == [{"heartbeat_timeout_seconds": 100}] * (tasks - 1)
    _set(monkeypatch, {"CSLM_PROCESSES": "1"})
    distributed.connect(100)
    assert len(joined) == tasks - 1, "CSLM_PROCESSES=1 means alone"


def test_a_job_that_does_not_come_together_says_what_to_check(monkeypatch):
    def refuse(**_):
        raise RuntimeError("deadline exceeded")

    monkeypatch.setattr(jax.distributed, "initialize", refuse)
    _set(monkeypatch, {"CSLM_PROCESSES": "2", "CSLM_PROCESS": "1", "JAX_COORDINATOR_ADDRESS": "127.0.0.1:1"})
    with pytest.raises(CslmError, match="could not join the others: deadline exceeded"):
        distributed.connect(100)


def test_a_job_that_takes_long_to_come_together_says_what_to_check(monkeypatch, caplog):
    """JAX would end the process in the end, without an exception."""
    monkeypatch.setattr(distributed, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(jax.distributed, "initialize", lambda **_: time.sleep(0.3))
    _set(monkeypatch, {"CSLM_PROCESSES": "2", "CSLM_PROCESS": "1", "JAX_COORDINATOR_ADDRESS": "127.0.0.1:1"})
    distributed.connect(100)
    assert "still waiting for other processes. Start all processes" in caplog.text


@pytest.fixture
def joined(monkeypatch) -> list[dict]:
    """Arguments of the calls of jax.distributed.initialize, which are not carried out."""
    calls: list[dict] = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda **arguments: calls.append(arguments))
    return calls


def _set(monkeypatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def _train_on(devices: int, config) -> None:
    """Trains on the first devices of this process and leaves the fingerprints of what they were fed."""
    fingerprints: list[str] = []

    def recording(mesh, local, rows, make=sharding.global_batch):
        batch = make(mesh, local, rows)
        tokens = np.ascontiguousarray(batch["tokens"], "<i4")
        fingerprints.append(hashlib.sha256(tokens.tobytes()).hexdigest())
        return batch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "make_mesh", functools.partial(make_mesh, devices=jax.devices()[:devices]))
        patch.setattr(sharding, "global_batch", recording)
        train(config)
    (Path(config.workdir) / "batches.json").write_text(json.dumps(fingerprints))


def _two_processes(request: dict) -> dict:
    """Runs WORKER twice, as one job."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    workers = list(_start(address, json.dumps(request)))
    try:
        outputs = [worker.communicate(timeout=300) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    lines = [[line for line in out.splitlines() if line.startswith("{")] for out, _ in outputs]
    said = [functools.reduce(dict.__or__, map(json.loads, printed), {}) for printed in lines]
    codes = [worker.returncode for worker in workers]
    assert all("left_after" in words for words in said), "\n".join(error[-3000:] for _, error in outputs)
    return {"codes": codes, "said": said}


def _start(address: str, request: str) -> Iterator[subprocess.Popen]:
    flags = "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
    common = {"PYTHONPATH": str(Path(__file__).parents[2]), "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    for process in range(2):
        job = {"JAX_COORDINATOR_ADDRESS": address, "CSLM_PROCESSES": "2", "CSLM_PROCESS": str(process)}
        pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
        worker = subprocess.Popen([sys.executable, "-c", WORKER], env=os.environ | common | job, text=True, **pipes)
        worker.stdin.write(request)
        worker.stdin.close()
        worker.stdin = None  # for communicate()
        yield worker


def _losses(lines: list[dict]) -> list[float]:
    return [line["loss"] for line in lines]


def _batches(workdir: Path) -> list[str]:
    return json.loads((workdir / "batches.json").read_text())
