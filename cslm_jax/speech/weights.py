"""Weights of a small NNX module in one safetensors file, named by their path in the module."""

from __future__ import annotations

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from cslm_jax.errors import CslmError


def save_weights(module: nnx.Module, path: Path) -> None:
    """Writes every variable of `module`; the file is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    save_file({name: np.asarray(leaf) for name, leaf in _named(nnx.state(module)).items()}, temporary)
    os.replace(temporary, path)


def load_weights(module: nnx.Module, path: Path) -> None:
    """Reads into `module` what `save_weights` wrote.

    Raises:
        CslmError: the file is missing or damaged, or belongs to a module of other sizes.
    """
    try:
        saved = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CslmError(f"{path} cannot be read ({error}); train it again") from error
    state = nnx.state(module)
    names = _named(state)
    wrong = set(saved) ^ set(names) or {name for name, leaf in names.items() if leaf.shape != saved[name].shape}
    if wrong:
        raise CslmError(f"{path} does not fit the config beside it: see {min(wrong)}; train it again")
    leaves = [jnp.asarray(saved[name]) for name in names]
    nnx.update(module, jax.tree.unflatten(jax.tree.structure(state), leaves))


def _named(state: nnx.State) -> dict[str, Array]:
    return {".".join(map(str, path)): leaf[...] for path, leaf in nnx.to_flat_state(state)}
