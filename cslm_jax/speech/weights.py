"""Weights of a small NNX module in one safetensors file, named by their path in the module, and the JSON beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from cslm_jax.errors import CslmError

T = TypeVar("T")


def save_description(described: dict[str, Any], path: Path) -> None:
    """Writes what one must know to build the module; the file is there whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(described, ensure_ascii=False, indent=1), encoding="utf-8")
    os.replace(temporary, path)


def load_description(path: Path, build: Callable[[dict[str, Any]], T]) -> T:
    """What `build` makes of what `save_description` wrote.

    Raises:
        CslmError: the file is damaged, or `build` finds something else in it than it looks for.
    """
    try:
        return build(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, LookupError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise CslmError(f"{path} is damaged or of another version ({reason}); train it again") from error


def save_weights(module: nnx.Module, path: Path) -> None:
    """Writes every variable of `module`; the file is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    save_file({name: np.asarray(leaf) for name, leaf in named(nnx.state(module)).items()}, temporary)
    os.replace(temporary, path)


def load_weights(module: nnx.Module, path: Path) -> None:
    """Reads into `module`, which may be abstract (`nnx.eval_shape`), what `save_weights` wrote.

    Raises:
        CslmError: the file is missing or damaged, or belongs to a module of other sizes.
    """
    try:
        saved = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CslmError(f"{path} cannot be read ({error}); train it again") from error
    state = nnx.state(module)
    names = named(state)
    wrong = set(saved) ^ set(names) or {name for name, leaf in names.items() if leaf.shape != saved[name].shape}
    if wrong:
        raise CslmError(f"{path} does not fit the config beside it: see {min(wrong)}; train it again")
    leaves = [jnp.asarray(saved[name], leaf.dtype) for name, leaf in names.items()]
    nnx.update(module, jax.tree.unflatten(jax.tree.structure(state), leaves))


def named(state: nnx.State) -> dict[str, Array]:
    """Leaves of a state by their path, in its order."""
    return {".".join(map(str, path)): leaf.get_value() for path, leaf in nnx.to_flat_state(state)}
