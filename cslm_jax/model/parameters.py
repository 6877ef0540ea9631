"""Declared parameters: shape, axes, initialiser and published name, each stated once.

Everything that has to know about a parameter (initialisation, shardings, weight decay, checkpoints, conversion)
reads its `Declaration`, so that the figures cannot drift apart.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx, traverse_util

Params = dict[str, Any]
"""Nested dictionary of arrays: what is sharded and saved, and all or part of it trained."""


@dataclasses.dataclass(frozen=True)
class Declaration:
    """One parameter, or one stack of them when the first axis is "layers"."""

    shape: tuple[int, ...]
    axes: tuple[str, ...]
    """Logical name of every axis; `cslm_jax.model.axes.RULES` maps them onto the mesh."""
    stddev: float | None
    """Standard deviation of the normal initialiser; None starts at one (norm scales)."""
    published: str
    """Name in Hugging Face Llama checkpoints (an adapter's in PEFT's); "{layer}" is the index on the "layers" axis."""
    dtype: str = "float32"
    """Type of the master weights."""
    trained: bool = True
    """Whether training changes it; a frozen parameter has no gradient and no moments."""

    def __post_init__(self):
        if len(self.shape) != len(self.axes):
            raise ValueError(f"{self.published}: shape {self.shape} and axes {self.axes} differ in length")

    @property
    def decayed(self) -> bool:
        """Weight decay pulls matrices to zero, never norm scales."""
        return self.stddev is not None

    def initialise(self, key: jax.Array) -> jax.Array:
        if self.stddev is None:
            return jnp.ones(self.shape, self.dtype)
        return (self.stddev * jax.random.normal(key, self.shape)).astype(self.dtype)


def parameter(declaration: Declaration, rngs: nnx.Rngs) -> nnx.Param:
    """A parameter that carries its own declaration."""
    return nnx.Param(declaration.initialise(rngs.params()), declaration=declaration)


def stacked(layers: int, declaration: Declaration) -> Declaration:
    """The same parameter for every layer, one above the other, as `lax.scan` wants it."""
    return dataclasses.replace(declaration, shape=(layers, *declaration.shape), axes=("layers", *declaration.axes))


def declarations(module: nnx.Module) -> Params:
    """Nested dictionary like the module's parameters, with declarations for leaves."""
    return _pure(nnx.state(module, nnx.Param), lambda variable: variable.get_metadata("declaration"))


def values(module: nnx.Module) -> Params:
    """The module's parameters as a nested dictionary of arrays."""
    return _pure(nnx.state(module, nnx.Param), lambda variable: variable.get_value())


def split(tree: Params, declared: Params) -> tuple[Params, Params]:
    """The trained and the frozen part of a tree that is nested like the declarations (it may be these themselves)."""
    flat, flat_declared = traverse_util.flatten_dict(tree), traverse_util.flatten_dict(declared)
    trained = {path: leaf for path, leaf in flat.items() if flat_declared[path].trained}
    frozen = {path: leaf for path, leaf in flat.items() if path not in trained}
    return traverse_util.unflatten_dict(trained), traverse_util.unflatten_dict(frozen)


def join(first: Params, second: Params) -> Params:
    """One tree of two; what is in both is taken from the second. The inverse of `split`."""
    return traverse_util.unflatten_dict(traverse_util.flatten_dict(first) | traverse_util.flatten_dict(second))


def map_declared(function: Callable[[Declaration], Any], declared: Params) -> Params:
    return jax.tree.map(function, declared, is_leaf=is_declaration)


def is_declaration(node: Any) -> bool:
    """For the `is_leaf` of JAX's tree functions."""
    return isinstance(node, Declaration)


def _pure(state: nnx.State, read: Callable[[nnx.Variable], Any]) -> Params:
    nested: Params = {}
    for path, variable in nnx.to_flat_state(state):
        *parents, name = path
        node = nested
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = read(variable)
    return nested
