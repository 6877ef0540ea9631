"""The arrays of an Orbax checkpoint one block at a time, for models that are larger than a host's memory.

Orbax itself takes and gives whole trees of arrays. Here it makes the folder and describes the tree; the arrays are filled in,
or read, through TensorStore, which is what Orbax stores them with.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore
from etils import epath
from jaxtyping import Shaped

from cslm_jax.errors import CslmError

Names = tuple[str, ...]
"""Path of an array in the tree."""


def create(folder: epath.Path, tree: Any) -> None:
    """A checkpoint with the structure of `tree`, whose arrays are to be filled by `fill`."""
    skeleton = jax.tree.map(lambda _: np.zeros(1, np.float32), tree)
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
        checkpointer.save(folder, args=ocp.args.StandardSave(skeleton))


def fill(
    folder: epath.Path,
    names: Names,
    shape: tuple[int, ...],
    dtype: np.dtype,
    blocks: Iterable[tuple[Any, Shaped[np.ndarray, "..."]]],
) -> None:
    """Writes one array of a checkpoint that `create` made.

    Args:
        blocks: (index of the array, what stands there), together the whole of it; the first one's shape decides how the
            array is cut in storage.
    """
    array = None
    for index, block in blocks:
        if array is None:
            array = _make(folder, names, shape, dtype, _chunk(shape, index, block))
        array[index].write(block).result()


def read(folder: epath.Path, names: Names, index: Any) -> Shaped[np.ndarray, "..."]:
    """What stands at an index of one array of a checkpoint.

    Raises:
        CslmError: it cannot be read.
    """
    try:
        return tensorstore.open(_spec(folder, names), open=True, read=True).result()[index].read().result()
    except ValueError as error:  # of TensorStore, whatever it is that a damaged file made it stumble over
        raise CslmError(f"{folder} is damaged: {'.'.join(names)} cannot be read ({str(error)[:200]})") from error


def _make(folder: epath.Path, names: Names, shape, dtype: np.dtype, chunk: tuple[int, ...]) -> tensorstore.TensorStore:
    return tensorstore.open(
        _spec(folder, names),
        create=True,
        delete_existing=True,
        dtype=tensorstore.dtype(np.dtype(dtype)),
        shape=shape,
        chunk_layout=tensorstore.ChunkLayout(chunk_shape=chunk),
    ).result()


def _chunk(shape: tuple[int, ...], index: Any, block: np.ndarray) -> tuple[int, ...]:
    """A block's extent on every axis of the array; an integer index takes an axis away."""
    return (1, *shape[1:]) if isinstance(index, int) else (max(len(block), 1), *shape[1:])


def _spec(folder: epath.Path, names: Names) -> dict[str, Any]:
    base = {"driver": "file", "path": f"{folder}/"}
    return {"driver": "zarr", "kvstore": {"driver": "ocdbt", "base": base, "path": f"{'.'.join(names)}/"}}
