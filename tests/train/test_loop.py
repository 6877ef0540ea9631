"""A run that is killed, stopped or damaged ends up with the losses of one that was not, bit for bit."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from cslm_jax import config as experiments
from cslm_jax.errors import CslmError
from cslm_jax.model import llama
from cslm_jax.train import checkpoint, loop, sharding
from cslm_jax.train import metrics as metrics_module
from cslm_jax.train.checkpoint import read_model
from cslm_jax.train.loop import train
from cslm_jax.train.optimizer import OptimizerConfig, make_optimizer
from cslm_jax.train.sharding import MeshConfig
from cslm_jax.train.start import state_shardings

STEPS = 9

KILLED = """
import json, os, signal, sys
from cslm_jax import config
from cslm_jax.train import metrics
from cslm_jax.train.loop import train

write = metrics.MetricsLog.write

def write_and_die(log, step, figures):
    write(log, step, figures)
    if step == 6:
        log._file.write('{"step": 7, "lo')
        log._file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

metrics.MetricsLog.write = write_and_die
train(config.from_dict(json.load(sys.stdin)))
"""


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory, vocabulary_directory):
    """Workdir of a run that nothing happened to."""
    return tmp_path_factory.mktemp("whole")


@pytest.fixture
def expected(whole_run, make_experiment, read_metrics):
    if not (whole_run / "metrics.jsonl").exists():
        train(make_experiment(whole_run, steps=STEPS, checkpoint_every=3, tensorboard=True))
    return read_metrics(whole_run)


def test_a_run_reports_every_step(expected, whole_run):
    assert [line["step"] for line in expected] == list(range(STEPS))
    assert set(expected[0]) == {"step", "loss", "learning_rate", "grad_norm", "tokens", "loss/synthetic"}
    assert expected[0]["tokens"] == 8 * 16 and expected[0]["loss"] == expected[0]["loss/synthetic"]
    assert list((whole_run / "tensorboard").glob("events*"))
    assert experiments.load_run(whole_run).model.vocabulary_size == 384
    assert sorted(p.name for p in (whole_run / "checkpoints").iterdir()) == ["6", "9"]


def test_resume_after_kill_is_bit_for_bit(tmp_path, make_experiment, expected, read_metrics):
    """Also with a half-written line in metrics.jsonl, and later steps in it that are run again."""
    config = make_experiment(tmp_path, steps=STEPS, checkpoint_every=3)
    request = json.dumps(experiments.to_dict(config))
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    killed = subprocess.run([sys.executable, "-c", KILLED], input=request, text=True, env=environment, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    train(config)
    assert read_metrics(tmp_path) == expected


def test_sigterm_saves_and_the_same_command_goes_on(tmp_path, make_experiment, expected, read_metrics, monkeypatch):
    write = metrics_module.MetricsLog.write

    def write_and_terminate(log, step, figures):
        write(log, step, figures)
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    config = make_experiment(tmp_path, steps=STEPS, checkpoint_every=100)
    with monkeypatch.context() as patch:
        patch.setattr(metrics_module.MetricsLog, "write", write_and_terminate)
        with pytest.raises(SystemExit) as leaving:
            train(config)
    assert leaving.value.code == 143
    stopped = read_metrics(tmp_path)
    assert 4 <= len(stopped) < STEPS and (tmp_path / "checkpoints" / str(len(stopped))).is_dir()
    train(config)
    assert read_metrics(tmp_path) == expected


def test_sigterm_before_the_first_step_leaves_without_it(tmp_path, make_experiment, read_metrics, monkeypatch):
    def begin_and_terminate(*arguments, begin=loop.begin):
        os.kill(os.getpid(), signal.SIGTERM)
        return begin(*arguments)

    monkeypatch.setattr(loop, "begin", begin_and_terminate)
    with pytest.raises(SystemExit, match="143"):
        train(make_experiment(tmp_path, steps=STEPS))
    assert read_metrics(tmp_path) == [] and not list((tmp_path / "checkpoints").iterdir())


def test_a_finished_run_says_so_and_stays_as_it_is(make_experiment, whole_run, expected, read_metrics, caplog):
    with caplog.at_level("INFO", "cslm_jax"):
        train(make_experiment(whole_run, steps=STEPS, checkpoint_every=3))
    assert f"already at step {STEPS} of {STEPS}" in caplog.text
    assert read_metrics(whole_run) == expected


def test_the_last_step_has_a_line_whatever_log_every_is(tmp_path, make_experiment, read_metrics):
    train(make_experiment(tmp_path, steps=5, log_every=2))
    assert [line["step"] for line in read_metrics(tmp_path)] == [0, 1, 3, 4]


def test_a_bucket_is_no_workdir(make_experiment):
    with pytest.raises(CslmError, match="workdir=gs://bucket/run is not a directory"):
        train(make_experiment("gs://bucket/run"))


def test_another_mesh_resumes_the_same_run(tmp_path, make_experiment, expected, read_metrics):
    """A checkpoint of 8 devices in one layout goes on in another; the losses stay within rounding."""
    config = make_experiment(tmp_path, steps=STEPS, checkpoint_every=3)
    _copy_run(make_experiment, tmp_path, until=6)
    train(dataclasses.replace(config, mesh=MeshConfig(data=4, fsdp=1, tensor=2)))
    losses = [[line["loss"] for line in lines] for lines in (read_metrics(tmp_path), expected)]
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_muon_is_the_same_on_every_mesh_and_its_momenta_lie_with_their_matrices(tmp_path, make_experiment, read_metrics):
    muon = OptimizerConfig(algorithm="muon", learning_rate=1e-2)
    losses = []
    for mesh in (MeshConfig(data=8, fsdp=1, tensor=1), MeshConfig(data=2, fsdp=2, tensor=2)):
        config = make_experiment(tmp_path / str(mesh.data), optimizer=muon, steps=3)
        train(dataclasses.replace(config, mesh=mesh))
        losses.append([line["loss"] for line in read_metrics(tmp_path / str(mesh.data))])
    np.testing.assert_allclose(*losses, rtol=1e-4)
    model = dataclasses.replace(config.model, vocabulary_size=64)
    optimizer = make_optimizer(muon, 3, llama.declared(model))
    shardings = state_shardings(model, sharding.make_mesh(mesh, model, 8, 1), optimizer)
    query = shardings.params["blocks"]["attention"]["query"]
    momenta = shardings.optimizer[1].inner_states["muon"].inner_state[0].mu
    assert momenta["blocks"]["attention"]["query"] == query and not query.is_fully_replicated


def test_a_cut_off_checkpoint_falls_back_to_the_one_before(tmp_path, make_experiment, expected, read_metrics, caplog):
    config = make_experiment(tmp_path, steps=STEPS, checkpoint_every=3)
    _copy_run(make_experiment, tmp_path, until=6)
    _cut(tmp_path / "checkpoints" / "6" / "params")
    with caplog.at_level("WARNING", "cslm_jax"):
        assert read_model(tmp_path).step == 3
        train(config)
    assert "checkpoints/6 is damaged" in caplog.text and "continuing from the checkpoint of step 3" in caplog.text
    assert f"using the model of step 3 of {tmp_path} instead of that of step 6" in caplog.text
    assert read_metrics(tmp_path) == expected
    assert (tmp_path / "checkpoints" / "damaged-6").is_dir()


def test_a_second_damage_at_the_same_step_is_kept_too(tmp_path, make_experiment, expected, read_metrics):
    config = make_experiment(tmp_path, steps=STEPS, checkpoint_every=3)
    _copy_run(make_experiment, tmp_path, until=6)
    for name in ("damaged-6", "damaged-6-2"):
        (tmp_path / "checkpoints" / name).mkdir()
    _cut(tmp_path / "checkpoints" / "6" / "params")
    train(config)
    assert read_metrics(tmp_path) == expected and (tmp_path / "checkpoints" / "damaged-6-3" / "params").is_dir()


OUT_OF_MEMORY = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory while trying to allocate 1 GiB")


@pytest.mark.parametrize("error", [MemoryError(), PermissionError(13, "denied"), OUT_OF_MEMORY], ids=lambda e: type(e).__name__)
def test_what_is_not_the_files_fault_damages_nothing(make_experiment, whole_run, expected, monkeypatch, error):
    def fail(folder, like):
        raise error

    monkeypatch.setattr(checkpoint, "_read_arrays", fail)
    for use in (train, lambda config: read_model(config.workdir)):
        with pytest.raises(type(error)):
            use(make_experiment(whole_run, steps=STEPS))
    assert sorted(p.name for p in (whole_run / "checkpoints").iterdir()) == ["6", "9"]


def test_only_damaged_checkpoints_is_an_error_and_not_a_fresh_start(tmp_path, make_experiment):
    _copy_run(make_experiment, tmp_path, until=3)
    _cut(tmp_path / "checkpoints" / "3" / "optimizer")
    with pytest.raises(CslmError, match="no checkpoint in .* can be read"):
        train(make_experiment(tmp_path, steps=STEPS))


def test_a_config_that_is_not_the_checkpoints_is_refused(tmp_path, make_experiment, tiny_model):
    _copy_run(make_experiment, tmp_path, until=3)
    other = dataclasses.replace(tiny_model, mlp_width=24)
    with pytest.raises(CslmError, match="config.model.mlp_width is 24, .* were made with 16"):
        train(make_experiment(tmp_path, model=other, steps=STEPS))
    for field, old, new in (("algorithm", "adamw", "muon"), ("moment_dtype", "float32", "bfloat16")):
        other = OptimizerConfig(learning_rate=1e-2, **{field: new})
        with pytest.raises(CslmError, match=f"config.optimizer.{field} is {new}, .* were made with {old}"):
            train(make_experiment(tmp_path, optimizer=other, steps=STEPS))


def test_not_a_number_stops_with_the_step_and_its_batch(tmp_path, make_experiment, read_metrics):
    config = make_experiment(tmp_path, optimizer=OptimizerConfig(learning_rate=1e38, warmup=0.0), steps=STEPS)
    with pytest.raises(CslmError, match=r"step (\d+): .* sha256 of the batch [0-9a-f]{64}"):
        train(config)
    assert not any(name.isdigit() for name in os.listdir(tmp_path / "checkpoints"))


def test_the_vocabulary_grows_from_the_text_model(tmp_path, make_experiment, tiny_model):
    """Stage 0 knows text only; the next stage keeps its rows and adds the units'."""
    text = make_experiment(tmp_path / "text", steps=2, vocabulary="text")
    train(text)
    source = read_model(tmp_path / "text")
    joint = make_experiment(
        tmp_path / "joint", steps=1, init_from=str(tmp_path / "text"), optimizer=OptimizerConfig(learning_rate=1e-12)
    )
    train(joint)
    grown = read_model(tmp_path / "joint")
    assert (source.config.vocabulary_size, grown.config.vocabulary_size) == (304, 384)
    np.testing.assert_allclose(grown.params["embedding"][:304], source.params["embedding"], atol=1e-10)
    np.testing.assert_allclose(grown.params["output"][350], source.params["output"].mean(0), atol=1e-7)
    wider = make_experiment(tmp_path / "wider", model=dataclasses.replace(tiny_model, layers=2), init_from=str(tmp_path / "text"))
    with pytest.raises(CslmError, match="config.model.layers is 2, .* has 1"):
        train(wider)


def test_too_small_a_table_is_refused(tmp_path, make_experiment, tiny_model):
    with pytest.raises(CslmError, match="model.vocabulary_size=100"):
        train(make_experiment(tmp_path, model=dataclasses.replace(tiny_model, vocabulary_size=100)))


def test_a_read_model_runs(whole_run, expected):
    trained = read_model(whole_run)
    tokens = np.zeros((1, 4), np.int32)
    hidden = llama.bind(trained.config, trained.params)(tokens, tokens, tokens + 1)
    assert trained.step == STEPS and hidden.shape == (1, 4, trained.config.width)
    assert {array.sharding.num_devices for array in jax.tree.leaves(trained.params)} == {1}


def _copy_run(make_experiment, workdir: Path, until: int) -> None:
    """A run of STEPS that got as far as `until`: its checkpoints are those of an interrupted one."""
    config = make_experiment(workdir, steps=STEPS, checkpoint_every=3)
    _train_until(config, until)


def _train_until(config, until: int) -> None:
    """Interrupts the run as SIGTERM would, after `until` steps."""
    from cslm_jax.train import interrupt

    asked = interrupt.Interrupt.asked
    interrupt.Interrupt.asked = lambda self, taken: taken >= until
    try:
        with pytest.raises(SystemExit, match="143"):
            train(config)
    finally:
        interrupt.Interrupt.asked = asked


def _cut(folder: Path) -> None:
    """Cuts every data file of a checkpoint item in the middle."""
    for path in folder.rglob("*"):
        if path.is_file() and "ocdbt" not in path.name and path.stat().st_size > 0:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


WITHOUT_TENSORFLOW = """
import sys

class Without:
    # A finder of modules on a machine where these are not installed.

    def __init__(self, finder):
        self._finder = finder

    def __getattr__(self, name):
        return getattr(self._finder, name)

    def find_spec(self, name, path=None, target=None):
        missing = name.partition(".")[0] in ("tensorflow", "seqio", "tensorflow_text", "tensorflow_datasets")
        return None if missing else self._finder.find_spec(name, path, target)

sys.meta_path[:] = map(Without, sys.meta_path)
from cslm_jax import cli
sys.exit(cli.main(sys.argv[1:]))
"""


def test_synthetic_data_runs_a_config_that_nothing_was_prepared_for(tmp_path, read_metrics):
    """No data, no vocabulary, no run to start from, and neither TensorFlow nor seqio installed."""
    repository = Path(__file__).parents[2]
    sizes = {"width": 16, "layers": 1, "heads": 2, "kv_heads": 1, "head_dim": 8, "mlp_width": 16}
    overrides = {f"model.{name}": size for name, size in sizes.items()}
    overrides |= {"data.synthetic": True, "data.row_length": 64, "data.global_batch": 8, "train.steps": 2, "workdir": "run"}
    words = ["train", f"--config={repository / 'configs' / 'miniature_cpt.py'}"]
    words += [f"--config.{name}={value}" for name, value in overrides.items()]
    environment = os.environ | {"PYTHONPATH": str(repository)}
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, *words]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert "there is no run runs/quickstart/text to start from" in ran.stderr
    assert [line["step"] for line in read_metrics(tmp_path / "run")] == [0, 1]
    assert experiments.load_run(tmp_path / "run").model.vocabulary_size == 1408
