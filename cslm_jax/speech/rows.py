"""Stretches of sound -> rows of padded batches -> what a model makes of each, on several devices of this host."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float, Shaped

from cslm_jax.buckets import bucket
from cslm_jax.speech import audio
from cslm_jax.speech.s3_config import MEL_RATE

_REPLICATED, _ROWS = PartitionSpec(), PartitionSpec("rows")


class Span(NamedTuple):
    """A stretch of a 16 kHz waveform."""

    waveform: Float[np.ndarray, "S"]
    start: int
    """First mel frame."""
    frames: int
    """Mel frames."""


class Rows:
    """Runs a function of padded rows of sound.

    The shape in which a span is computed on a device follows from its own length alone: a bucket of frames, and as many rows
    as belong to the bucket. So what comes out depends neither on what else is in the call nor on the number of devices.
    """

    def __init__(self, batch_seconds: float, devices: Sequence[jax.Device] | None = None):
        """
        Args:
            batch_seconds: sound, padding included, that goes through a device at once.
            devices: by default all accelerators of this host, or its processor.
        """
        self.batch_seconds = batch_seconds
        self._mesh = Mesh(np.array(_local_devices() if devices is None else devices), ("rows",))

    def replicate(self, state: Any) -> Any:
        """A pytree on every device."""
        return jax.device_put(state, NamedSharding(self._mesh, _REPLICATED))

    def jit(self, function: Callable, more: int = 0) -> Callable:
        """`function(state, padded [B S], lengths [B], *more [B])`, compiled to see a device's share of the rows."""
        specs = (_REPLICATED, *[_ROWS] * (2 + more))
        return jax.jit(jax.shard_map(function, mesh=self._mesh, in_specs=specs, out_specs=_ROWS))

    def map(self, function: Callable, state: Any, spans: Sequence[Span], *more: Shaped[np.ndarray, "N"]) -> list[Any]:
        """What a function from `jit` gives for each span: a pytree of one row."""
        results: list[Any] = [None] * len(spans)
        running = collections.deque()
        for frames, rows, members in self._batches([span.frames for span in spans]):
            inputs = (*audio.pad_spans([spans[i] for i in members], frames), *(array[members] for array in more))
            padded = (np.pad(x, [(0, rows - len(members)), *[(0, 0)] * (x.ndim - 1)]) for x in inputs)
            running.append((members, function(state, *jax.device_put(tuple(padded), NamedSharding(self._mesh, _ROWS)))))
            if len(running) > 1:  # a device computes while the next batch is made here
                _collect(*running.popleft(), results)
        for members, out in running:
            _collect(members, out, results)
        return results

    def _batches(self, lengths: Sequence[int]) -> Iterator[tuple[int, int, list[int]]]:
        """(padded frames, rows over all devices, members) of every batch."""
        members: dict[int, list[int]] = {}
        for i, length in enumerate(lengths):
            members.setdefault(bucket(length), []).append(i)
        for frames, group in members.items():
            rows = max(int(self.batch_seconds * MEL_RATE / frames), 1) * self._mesh.size
            yield from ((frames, rows, group[i : i + rows]) for i in range(0, len(group), rows))


def _collect(members: Sequence[int], out: Any, results: list[Any]) -> None:
    out = jax.tree.map(np.asarray, out)
    for row, i in enumerate(members):
        results[i] = jax.tree.map(lambda x: x[row].copy(), out)  # noqa: B023


def _local_devices() -> list[jax.Device]:
    """A processor is one device however many threads it has; the others that JAX can be told to show there are for tests."""
    devices = jax.local_devices()
    return devices[:1] if devices[0].platform == "cpu" else devices
