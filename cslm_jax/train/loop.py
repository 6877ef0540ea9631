"""`cslm train`: the same loop for the text LM, CPT and SFT; what differs is the config."""

import dataclasses
import functools
import logging
from collections.abc import Iterator

import jax
import numpy as np
from tqdm import tqdm

from cslm_jax import config as experiment
from cslm_jax.config import Experiment
from cslm_jax.data.ensure import ensure_caches
from cslm_jax.data.loader import Loader
from cslm_jax.errors import CslmError
from cslm_jax.host_memory import keep_freed_memory
from cslm_jax.model import llama
from cslm_jax.train import distributed, sharding
from cslm_jax.train.checkpoint import Checkpoints, Origin
from cslm_jax.train.failure import own_status
from cslm_jax.train.interrupt import EXIT_STATUS, Interrupt
from cslm_jax.train.metrics import MetricsLog, NoLog, make_log
from cslm_jax.train.optimizer import make_optimizer
from cslm_jax.train.start import begin, jit_train_step, load_vocabulary, mesh_of, with_vocabulary_size
from cslm_jax.train.step import Metrics, TrainState
from cslm_jax.train.watchdog import Watchdog
from cslm_jax.vocabulary import JointVocabulary

logger = logging.getLogger(__name__)


@own_status()
def train(config: Experiment) -> None:
    """Trains the LM, or goes on where an earlier call with the same workdir stopped.

    Args:
        config: the experiment; `train.steps` is the length of the whole run, not of this call.

    Raises:
        CslmError: a loss that is not finite (the message names the step and the sha256 of its batch), or a config
            that does not fit the devices, the data or the run's own checkpoints.
        SystemExit: 143 after SIGTERM, once everything is saved.

    A run that hangs, or whose other processes are lost, ends with status 134 and a message instead of an exception.
    """
    _check_workdir(config.workdir)
    keep_freed_memory()
    distributed.connect(config.train.heartbeat_seconds)
    vocabulary = load_vocabulary(config)
    config = with_vocabulary_size(config, vocabulary)
    mesh = mesh_of(config)
    distributed.by_first_process("the making of token caches", lambda: ensure_caches(config.data))
    loader = Loader(config.data, vocabulary, rows=distributed.rows_of_process(mesh, config.data.global_batch))
    watchdog = Watchdog(config.train.stall_minutes, slow_seconds=config.train.heartbeat_seconds / 2)
    # A second SIGTERM, while the last checkpoint is still being written, must not cut it off.
    with Interrupt() as interrupt, watchdog:
        checkpoints = Checkpoints(config.workdir, config.train.keep)
        try:
            with jax.set_mesh(mesh):
                finished = _Run(config, vocabulary, mesh, loader, checkpoints, watchdog).run(interrupt)
        finally:
            watchdog.reached("writing the last checkpoint")
            checkpoints.close()
    if not finished:
        raise SystemExit(EXIT_STATUS)


def _check_workdir(workdir: str) -> None:
    """Checkpoints could go to a bucket, but what lies beside them could not."""
    if "://" in workdir:
        raise CslmError(
            f"workdir={workdir} is not a directory: config.json, metrics.jsonl and TensorBoard's files are plain files; "
            "mount the bucket (gcsfuse, for one) and give the path where it is mounted"
        )


class _Run:
    """One call of `train`, from the restored state to the last step or an interruption."""

    def __init__(self, config: Experiment, vocabulary: JointVocabulary, mesh, loader, checkpoints, watchdog: Watchdog):
        self.config, self.mesh, self.loader, self.checkpoints, self.watchdog = config, mesh, loader, checkpoints, watchdog
        self.origin = Origin(dataclasses.asdict(config), vocabulary.sha256)
        self.optimizer = make_optimizer(config.optimizer, config.train.steps, llama.declared(config.model))
        self.log: MetricsLog | NoLog = NoLog()

    def run(self, interrupt: Interrupt) -> bool:
        """Whether the last step was reached."""
        state = begin(self.config, self.origin, self.mesh, self.optimizer, self.checkpoints)
        first = int(state.step)
        save_config = functools.partial(experiment.save, self.config, self.config.workdir)
        distributed.by_first_process("writing config.json", save_config)
        self.log = make_log(self.config.workdir, self.loader.tasks, first, self.config.train.tensorboard)
        try:
            return self._steps(state, first, interrupt)
        finally:
            self.log.close()

    def _steps(self, state: TrainState, first: int, interrupt: Interrupt) -> bool:
        steps = self.config.train.steps
        if first >= steps:
            logger.info("%s is already at step %d of %d", self.config.workdir, first, steps)
            return True
        if interrupt.asked(0):
            logger.warning("asked to stop before the first step; the same command begins with step %d", first)
            return False
        step_function = jit_train_step(self.config, self.mesh, self.optimizer, len(self.loader.tasks))
        running: tuple[int, Metrics] | None = None
        for step, batch in self._batches(first):
            self.watchdog.reached(f"step {step}", brief=step > first)  # the first one is compiled
            state, metrics = step_function(state, batch)
            # The figures of a step are read while the next one runs, so that the devices never wait for the host.
            self._report(running)
            running = step, metrics
            done = step + 1
            leaving = interrupt.asked(done - first)
            if done % self.config.train.checkpoint_every == 0 or done == steps or leaving:
                self._report(running)
                running = None
                self.watchdog.reached(f"saving after {done} steps")
                self.checkpoints.save(state, done, self.origin)
            if leaving and done < steps:
                logger.warning("asked to stop: saved after %d of %d steps; the same command goes on from here", done, steps)
                return False
        return True

    def _batches(self, first: int) -> Iterator[tuple[int, dict[str, jax.Array]]]:
        steps, rows = self.config.train.steps, self.config.data.global_batch
        bar = tqdm(total=steps, initial=first, desc=self.config.name, unit="step", disable=jax.process_index() != 0)
        with bar:
            for step, batch in self.loader.prefetch(first):
                yield step, sharding.global_batch(self.mesh, batch, rows)
                bar.update()
                if step + 1 == steps:
                    return

    def _report(self, running: tuple[int, Metrics] | None) -> None:
        """Reads the figures of a step that was started, and stops the run if they are not finite."""
        if running is None:
            return
        step, metrics = running
        metrics = jax.device_get(metrics)
        if not (np.isfinite(metrics.loss) and np.isfinite(metrics.grad_norm)):
            raise CslmError(
                f"step {step}: loss {metrics.loss}, gradient norm {metrics.grad_norm}; sha256 of the batch "
                f"{self.loader.global_sha256(step)}. Look at it with `cslm show-batch --step={step}`; "
                "a lower optimizer.learning_rate or optimizer.clip usually helps. Nothing was saved after this step"
            )
        self.log.count(int(metrics.tokens))
        done = step + 1
        if done % self.config.train.log_every == 0 or done in (1, self.config.train.steps):
            self.log.write(step, metrics)
