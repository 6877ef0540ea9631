"""Protects the padding that every jitted call shares: few shapes, and results in the caller's order."""

import numpy as np
import pytest

from cslm_jax.buckets import batches, bucket, map_bucketed, pad_rows


@pytest.mark.parametrize("length, size", [(0, 32), (32, 32), (33, 48), (48, 48), (49, 64), (65, 96), (97, 128), (1000, 1024)])
def test_a_length_goes_into_the_next_bucket(length, size):
    assert bucket(length) == size


def test_a_bucket_of_ones_wastes_at_most_half():
    assert all(n <= bucket(n, 1) <= 1.5 * n for n in range(1, 500))


def test_rows_are_padded_on_the_right():
    padded = pad_rows([np.array([1, 2]), np.array([3])], 3, 4)
    assert padded.tolist() == [[1, 2, 0, 0], [3, 0, 0, 0], [0, 0, 0, 0]]


def test_map_keeps_the_order_and_uses_few_shapes():
    rng = np.random.default_rng(0)
    rows = [rng.integers(1, 9, size) for size in rng.integers(1, 90, 50)]
    shapes = set()

    def total(padded, lengths):
        shapes.add(padded.shape)
        assert np.all((np.arange(padded.shape[1]) < lengths[:, None]) == (padded > 0))
        return padded.sum(1)

    assert [int(x) for x in map_bucketed(total, rows, at_once=8)] == [row.sum() for row in rows]
    assert {rows for rows, _ in shapes} == {8} and len(shapes) <= 4


def test_map_runs_a_single_row_alone_and_nothing_for_nothing():
    shapes = map_bucketed(lambda padded, lengths: np.array([padded.shape]), [np.ones(3, int)])
    assert [shape.tolist() for shape in shapes] == [[1, 32]]
    assert map_bucketed(None, []) == []


def test_batches_hold_every_member_once_in_shapes_of_their_own_length():
    lengths = [33, 5, 200, 32, 40, 31, 48]
    found = batches(lengths, most=100)
    assert sorted(i for _, _, members in found for i in members) == list(range(7))
    assert {(padded, rows) for padded, rows, _ in found} == {(32, 3), (48, 2), (256, 1)}
    for padded, rows, members in found:
        assert len(members) <= rows and all(bucket(lengths[i]) == padded for i in members)
        assert rows == 1 or rows * padded <= 100


def test_more_devices_share_more_rows_of_the_same_length():
    assert batches([33, 200], most=100, devices=4) == [(48, 8, [0]), (256, 4, [1])]
