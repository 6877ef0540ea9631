"""What a model of sound makes of recordings of any lengths: rows of padded batches, on several devices of this host."""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Shaped

from cslm_jax.buckets import batches

_REPLICATED, _ROWS = PartitionSpec(), PartitionSpec("rows")

Pack = Callable[[Sequence[int], int], tuple[Shaped[np.ndarray, "B ..."], ...]]
"""(members, padded frames) -> the arrays that a function takes, a row a member."""


class Rows:
    """Runs functions of padded rows of sound.

    The shape in which a row is computed on a device follows from its own length alone: a bucket of frames, and as many rows
    as belong to the bucket. So what comes out depends neither on what else is in the call nor on the number of devices.
    """

    def __init__(self, batch_seconds: float, frame_rate: float, devices: Sequence[jax.Device] | None = None):
        """
        Args:
            batch_seconds: sound, padding included, that goes through a device at once.
            frame_rate: frames a second, in which lengths are counted.
            devices: by default all accelerators of this host, or its processor.
        """
        self._most = int(batch_seconds * frame_rate)
        self._mesh = Mesh(np.array(_local_devices() if devices is None else devices), ("rows",))

    def replicate(self, state: Any) -> Any:
        """A pytree on every device."""
        return jax.device_put(state, NamedSharding(self._mesh, _REPLICATED))

    def jit(self, function: Callable, arrays: int = 2) -> Callable:
        """`function(state, *arrays [B ...])`, compiled to see a device's share of the rows.

        Products of float32 are float32: TPUs would otherwise take them in bfloat16 and newer GPUs in TF32, and what is heard
        would depend on the device. Compiled for a TPU v5e, such a product takes 5.5 times the cycles; one of bfloat16 takes none
        more, so a model that is to be fast computes in bfloat16.
        """

        def exact(*given: Any) -> Any:
            with jax.default_matmul_precision("highest"):
                return function(*given)

        return jax.jit(jax.shard_map(exact, mesh=self._mesh, in_specs=(_REPLICATED, *[_ROWS] * arrays), out_specs=_ROWS))

    def map(self, function: Callable, state: Any, lengths: Sequence[int], pack: Pack) -> list[Any]:
        """What a function from `jit` gives for each of the `lengths` (frames): a pytree of one row, padded.

        A batch is filled up with rows of zeros, and what comes out of them means nothing.
        """
        results: list[Any] = [None] * len(lengths)
        running = collections.deque()
        for frames, rows, members in batches(lengths, self._most, self._mesh.size):
            padded = (np.pad(x, [(0, rows - len(members)), *[(0, 0)] * (x.ndim - 1)]) for x in pack(members, frames))
            running.append((members, function(state, *jax.device_put(tuple(padded), NamedSharding(self._mesh, _ROWS)))))
            if len(running) > 1:  # a device computes while the next batch is made here
                _collect(*running.popleft(), results)
        for members, out in running:
            _collect(members, out, results)
        return results


def _collect(members: Sequence[int], out: Any, results: list[Any]) -> None:
    out = jax.tree.map(np.asarray, out)
    for row, i in enumerate(members):
        results[i] = jax.tree.map(lambda x: x[row].copy(), out)  # noqa: B023


def _local_devices() -> list[jax.Device]:
    """A processor is one device however many threads it has; the others that JAX can be told to show there are for tests."""
    devices = jax.local_devices()
    return devices[:1] if devices[0].platform == "cpu" else devices
