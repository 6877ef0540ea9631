"""The train step as `cslm train` runs it, from random weights and without checkpoints and logs."""

from __future__ import annotations

from typing import Any

import jax

from cslm_jax.bench.data import open_loader, with_rows
from cslm_jax.bench.timing import compiled
from cslm_jax.config import Experiment
from cslm_jax.model import llama
from cslm_jax.train import sharding
from cslm_jax.train.optimizer import make_optimizer
from cslm_jax.train.start import fresh_params, jit_train_step, mesh_of, state_shardings
from cslm_jax.train.step import Metrics, init_state


class Training:
    """A run that only steps.

    Args:
        config: its row length, batch, mesh, model, optimizer and data are those of `cslm train`.
    """

    def __init__(self, config: Experiment):
        self.config = config = with_rows(config)
        self.mesh = mesh_of(config)
        self.loader = open_loader(config, self.mesh)
        self._batches = self.loader.prefetch()
        optimizer = make_optimizer(config.optimizer, config.train.steps, llama.declared(config.model))
        shardings = state_shardings(config.model, self.mesh, optimizer)
        with jax.set_mesh(self.mesh):
            make = jax.jit(lambda params: init_state(config.model, params, optimizer), out_shardings=shardings, donate_argnums=0)
            self.state = make(fresh_params(config, shardings.params))
            step = jit_train_step(config, self.mesh, optimizer, len(self.loader.tasks))
            self._step, self.compile_seconds = compiled(step, self.state, self.next_batch())

    def next_batch(self) -> dict[str, Any]:
        """The next global batch, on the devices."""
        _, batch = next(self._batches)
        return sharding.global_batch(self.mesh, batch, self.config.data.global_batch)

    def step(self, batch: dict[str, Any]) -> Metrics:
        """Takes one step; its figures are there when it is done."""
        self.state, metrics = self._step(self.state, batch)
        return metrics
