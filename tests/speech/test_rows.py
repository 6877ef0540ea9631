"""Rows of padded batches: every recording gets its own result, whatever is beside it and however many devices there are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cslm_jax.speech.rows import Rows

LENGTHS = [40, 3, 100, 33, 48, 5, 31]


def total_and_place(state, values, lengths):
    present = jnp.arange(values.shape[1]) < lengths[:, None]
    return state * jnp.sum(values * present, axis=1), lengths


@pytest.mark.parametrize("devices", [1, 3, 8])
def test_results_are_in_the_order_of_the_call(devices):
    """More members than a batch holds, and batches that are filled up; shapes follow from lengths alone."""
    rows, shapes = Rows(batch_seconds=1.0, frame_rate=100.0, devices=jax.local_devices()[:devices]), set()

    def pack(members, frames):
        shapes.add(frames)
        values = np.full((len(members), frames), 1000.0, np.float32)  # what stands behind a row is not looked at
        for row, i in zip(values, members, strict=True):
            row[: LENGTHS[i]] = i
        return values, np.array([LENGTHS[i] for i in members], np.int32)

    found = rows.map(rows.jit(total_and_place), rows.replicate(jnp.float32(2.0)), LENGTHS, pack)
    assert [float(total) for total, _ in found] == [2.0 * i * length for i, length in enumerate(LENGTHS)]
    assert [int(length) for _, length in found] == LENGTHS and shapes == {32, 48, 128}
    assert rows.map(None, None, [], pack) == []


def test_products_are_float32_on_every_device():
    rows = Rows(1.0, 100.0)
    run = rows.jit(lambda state, x: x @ state, arrays=1)
    lowered = run.lower(jnp.ones((4, 4)), jnp.ones((2, 4))).as_text()
    assert "precision = [HIGHEST, HIGHEST]" in lowered
