"""Logical axes: the one table that says which mesh axes a named array axis is split over."""

import math

import jax
from jax.sharding import PartitionSpec

RULES: dict[str, tuple[str, ...]] = {
    # activations
    "batch": ("data", "fsdp"),
    "length": ("context",),
    # parameters
    "layers": (),
    "width": ("fsdp", "context"),
    "heads": ("tensor",),
    "kv_heads": ("tensor",),
    "head_dim": (),
    "mlp": ("tensor",),
    "vocabulary": ("tensor",),
    "norm": (),
    "rank": (),
}


def mesh_axes(axes: tuple[str | None, ...]) -> list[tuple[str, ...]]:
    """Mesh axes of each axis with these logical names (None: whole on every device).

    Raises:
        ValueError: a name is missing from RULES, or two axes would be split over the same mesh axis.
    """
    split = [() if axis is None else _lookup(axis) for axis in axes]
    used = [name for names in split for name in names]
    if len(set(used)) < len(used):
        raise ValueError(f"axes {axes} would use a mesh axis twice ({', '.join(used)}); see RULES in {__name__}")
    return split


def partition(axes: tuple[str | None, ...]) -> PartitionSpec:
    """The same as a partition of an array."""
    return PartitionSpec(*(names or None for names in mesh_axes(axes)))


def constrain(array: jax.Array, *axes: str | None) -> jax.Array:
    """Pins an activation's layout on the mesh that is set; without a mesh the array passes untouched.

    XLA's own choice would sometimes move activations to the sharded weights; pinning them makes it gather weights.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return array
    return jax.lax.with_sharding_constraint(array, partition(axes))


def ways(axis: str) -> int:
    """How many parts this logical axis is split into on the mesh that is set; 1 without a mesh."""
    mesh = jax.sharding.get_abstract_mesh()
    return 1 if mesh.empty else math.prod(mesh.shape[name] for name in _lookup(axis))


def _lookup(axis: str) -> tuple[str, ...]:
    if axis not in RULES:
        raise ValueError(f"unknown logical axis {axis!r}; RULES has {', '.join(RULES)}")
    return RULES[axis]
