"""Protects the duration predictor: its arithmetic, its blindness to padding, and what it may learn from."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from cslm_jax.speech.duration import (
    DurationConfig,
    DurationPredictor,
    duration_batches,
    duration_loss,
    predict_run_lengths,
)
from cslm_jax.speech.fit import FitConfig, fit
from cslm_jax.speech.units import Speech

CONFIG = DurationConfig(codes=12, width=16, dropout=0.0)


def model(seed=0, config=CONFIG):
    return DurationPredictor(config, rngs=nnx.Rngs(seed))


def by_hand(model, units):
    """Conv k3, ReLU, LayerNorm, twice, then linear, in numpy."""
    x = np.asarray(model.embedding.embedding[...])[units]
    for convolution, norm in zip(model.convolutions, model.norms):
        kernel, padded = np.asarray(convolution.kernel[...]), np.pad(x, ((1, 1), (0, 0)))
        x = sum(padded[i : i + len(x)] @ kernel[i] for i in range(3)) + np.asarray(convolution.bias[...])
        x = np.maximum(x, 0)
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        x = x * np.asarray(norm.scale[...]) + np.asarray(norm.bias[...])
    return (x @ np.asarray(model.output.kernel[...]) + np.asarray(model.output.bias[...]))[:, 0]


def test_forward_is_two_convolutions_and_a_linear():
    units = np.array([3, 1, 4, 1, 5, 9, 2, 6])
    out = model()(units[None], jnp.ones((1, 8), bool))[0]
    np.testing.assert_allclose(out, by_hand(model(), units), rtol=1e-4, atol=1e-5)


def test_padding_changes_nothing():
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 12, size) for size in (1, 5, 33)]
    durations = model()
    together = predict_run_lengths(durations, rows)
    padded = durations(np.stack([np.resize(row, 64) for row in rows]), np.arange(64) < np.array([len(r) for r in rows])[:, None])
    for row, frames, log in zip(rows, together, np.asarray(padded)):
        np.testing.assert_allclose(log[: len(row)], by_hand(durations, row), rtol=1e-4, atol=1e-5)
        assert np.array_equal(frames, predict_run_lengths(durations, [row])[0])


@pytest.mark.parametrize("target, of", [("log", np.log1p), ("frames", float)])
def test_run_lengths_are_rounded_and_bounded(target, of):
    durations = model(config=dataclasses.replace(CONFIG, target=target))
    durations.output.kernel[...] *= 0
    for value, frames in ((0.2, 1), (3.4, 3), (3.6, 4), (9000.0, 250)):
        durations.output.bias[...] = jnp.full(1, of(value))
        assert predict_run_lengths(durations, [np.array([1, 2])])[0].tolist() == [frames] * 2


def test_regressing_frames_keeps_the_speaking_rate():
    """Where nobody can know, the mean of log(d + 1) is too short on the average; the mean of d is not."""
    rng = np.random.default_rng(0)
    speeches = [Speech(np.zeros(40, np.int32), rng.choice([1, 9], 40).astype(np.int32)) for _ in range(40)]
    rates = {}
    for target in ("log", "frames"):
        durations = model(config=dataclasses.replace(CONFIG, target=target))
        fit(durations, duration_loss, duration_batches(speeches, 16, 40), FitConfig(steps=80, learning_rate=3e-2))
        rates[target] = predict_run_lengths(durations, [np.zeros(40, np.int32)])[0][5:-5].mean()
    assert rates["log"] < 4.5 < rates["frames"] < 5.5


def test_the_first_and_last_run_of_an_utterance_teach_nothing():
    speech = Speech(np.arange(10, dtype=np.int32), np.arange(1, 11, dtype=np.int32))
    seen = set()
    for step in range(30):
        batch = duration_batches([speech], rows=4, window=6)(step)
        assert np.array_equal(batch["run_lengths"], batch["units"] + 1)
        assert np.array_equal(batch["weights"], (batch["units"] > 0) & (batch["units"] < 9))
        seen |= set(batch["units"][:, 0].tolist())
    assert seen == set(range(5))
    whole = duration_batches([speech], rows=1, window=16)(0)
    assert whole["weights"].sum() == 8 and whole["present"].sum() == 10


def test_batches_follow_from_the_step():
    speeches = [Speech(np.arange(9, dtype=np.int32), np.full(9, i + 1, np.int32)) for i in range(5)]
    first, second = duration_batches(speeches, 4)(7), duration_batches(speeches, 4)(7)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    with pytest.raises(ValueError, match="three runs"):
        duration_batches([Speech(np.zeros(2, np.int32), np.ones(2, np.int32))], 4)


def test_it_learns_what_the_context_says():
    """A unit lasts as long as its own code and its left neighbour's say."""
    rng = np.random.default_rng(0)
    units = [rng.integers(0, 12, 40).astype(np.int32) for _ in range(60)]
    truth = [1 + row % 3 + 2 * (np.roll(row, 1) % 2) for row in units]
    speeches = [Speech(row, frames.astype(np.int32)) for row, frames in zip(units, truth)]
    durations = model()
    config = FitConfig(steps=150, learning_rate=1e-2)
    fit(durations, duration_loss, duration_batches(speeches[:50], 16, 32), config)
    guessed = predict_run_lengths(durations, units[50:])
    right = [g[1:-1] == t[1:-1] for g, t in zip(guessed, truth[50:])]
    assert np.mean(np.concatenate(right)) > 0.95


def test_dropout_only_in_training():
    dropping = model(config=DurationConfig(codes=12, width=16, dropout=0.5))
    units, present = np.arange(12)[None], jnp.ones((1, 12), bool)
    assert np.array_equal(dropping(units, present), dropping(units, present))
    assert not np.allclose(dropping(units, present), dropping(units, present, jax.random.key(0)))


@pytest.mark.parametrize("field", [{"kernel": 4}, {"dropout": 1.0}, {"codes": 0}, {"target": "seconds"}])
def test_impossible_configs_name_the_field(field):
    with pytest.raises(ValueError, match=next(iter(field))):
        DurationConfig(**field)
