"""What benchmarks compute on: the experiment's own batches, or random tokens in its sizes."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array

from cslm_jax.config import Experiment
from cslm_jax.data.loader import Loader
from cslm_jax.errors import CslmError
from cslm_jax.train import distributed
from cslm_jax.train.start import load_vocabulary, with_vocabulary_size


def with_rows(config: Experiment) -> Experiment:
    """The experiment with the rows of its token table decided.

    Raises:
        CslmError: there is no vocabulary to decide them; the message says how to do without.
    """
    return with_vocabulary_size(config, _vocabulary(config))


def open_loader(config: Experiment, mesh: Mesh | None = None) -> Loader:
    """The batches of this process, or whole ones without a mesh.

    Raises:
        CslmError: the data is not there; the message says how to do without.
    """
    rows = None if mesh is None else distributed.rows_of_process(mesh, config.data.global_batch)
    try:
        return Loader(config.data, _vocabulary(config), rows=rows)
    except CslmError as error:
        raise _without_data(error) from error


def without_data(config: Experiment) -> Experiment:
    """The same sizes with random tokens."""
    return dataclasses.replace(config, data=dataclasses.replace(config.data, synthetic=True))


def packed_rows(config: Experiment, tokens: int) -> dict[str, Array]:
    """About so many random tokens in packed rows of data.row_length (one shorter row, if they do not fill one)."""
    length = min(config.data.row_length, tokens)
    data = dataclasses.replace(config.data, synthetic=True, row_length=length, global_batch=tokens // length)
    loader = open_loader(dataclasses.replace(config, data=data))
    return {name: jnp.asarray(array) for name, array in loader.batch(0).items()}


def _vocabulary(config: Experiment):
    try:
        return load_vocabulary(config)
    except CslmError as error:
        raise _without_data(error) from error


def _without_data(error: CslmError) -> CslmError:
    hint = "To measure without data: --config.data.synthetic=true"
    return error if hint in str(error) else CslmError(f"{error}. {hint}")
