"""A median with its quartiles, over the repetitions that count."""

from cslm_jax.bench.timing import Spread, measure


def test_one_slow_repetition_moves_nothing():
    assert Spread.of([2.0, 1.0, 99.0, 3.0, 2.0]) == Spread(median=2.0, low=2.0, high=3.0, repetitions=5)


def test_the_first_calls_do_not_count():
    calls = []
    assert measure(lambda: calls.append(0), repetitions=4, warmup=3).repetitions == 4
    assert len(calls) == 7
