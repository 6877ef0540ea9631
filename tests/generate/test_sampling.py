"""Protects generation: the cache, ragged batches, the draw, and every rule about when to stop."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cslm_jax.generate.sampling import ROOM, Generator, SamplingConfig, choose, top_p_logits, until
from cslm_jax.model import llama

GREEDY = SamplingConfig(greedy=True, max_new_tokens=12)


def prompts(vocabulary, *lengths):
    rng = np.random.default_rng(sum(lengths))
    return [np.r_[vocabulary.bos, rng.integers(0, vocabulary.base_size, n - 1)].astype(np.int32) for n in lengths]


def without_cache(generator, prompt, steps):
    """Greedy decoding by running the training forward on the whole sequence for every token."""
    length = len(prompt) + steps
    model = llama.bind(generator.config, generator.params)
    forward = jax.jit(lambda tokens, segments: model.logits(model(tokens, jnp.arange(length)[None], segments)))
    ids = list(prompt)
    for _ in range(steps):
        tokens, present = np.zeros((1, length), np.int32), np.arange(length)[None] < len(ids)
        tokens[0, : len(ids)] = ids
        logits = np.asarray(forward(tokens, present.astype(np.int32)))[0, len(ids) - 1]
        ids.append(int(np.argmax(logits[: generator.vocabulary.unpadded_size])))
        if ids[-1] == generator.vocabulary.eot:
            return ids[len(prompt) : -1]
    return ids[len(prompt) :]


def test_the_cache_changes_nothing(generator, vocabulary):
    for prompt in prompts(vocabulary, 5, 40):
        assert generator.generate([prompt], GREEDY)[0].tolist() == without_cache(generator, prompt, 12)


def test_a_ragged_batch_is_single_runs(generator, vocabulary):
    asked = prompts(vocabulary, 33, 2, 50, 7, 31, 12)
    told = []
    together = generator.generate(asked, GREEDY, at_once=4, progress=told.append)
    assert told == [4, 2]
    for prompt, answer in zip(asked, together):
        assert np.array_equal(answer, generator.generate([prompt], GREEDY)[0])


def test_a_cache_that_grows_changes_nothing(generator, vocabulary):
    prompt = prompts(vocabulary, ROOM - 40)[0]
    long = dataclasses.replace(GREEDY, max_new_tokens=80)
    assert generator.generate([prompt], long)[0].tolist() == without_cache(generator, prompt, 80)


def test_blocks_are_the_answer_in_parts(generator, vocabulary):
    prompt = prompts(vocabulary, 9)[0]
    for sampling in (GREEDY, SamplingConfig(max_new_tokens=30, top_p=1.0, seed=4)):
        parts = [block[0] for block in generator.blocks([prompt], sampling, 7)]
        assert [len(part) for part in parts[:-1]] == [7] * (len(parts) - 1)
        assert sum(map(len, parts)) == sampling.max_new_tokens
        answer = until(np.concatenate(parts), vocabulary.eot)
        assert np.array_equal(answer, generator.generate([prompt], sampling)[0])


def test_draws_follow_the_seed_and_the_place_not_the_neighbours(generator, vocabulary):
    asked = prompts(vocabulary, 9, 20, 9)
    sampling = SamplingConfig(max_new_tokens=20, top_p=1.0)
    first = generator.generate(asked, sampling, at_once=4)
    assert all(np.array_equal(a, b) for a, b in zip(first, generator.generate(asked, sampling, at_once=4)))
    other = generator.generate(asked, dataclasses.replace(sampling, seed=1), at_once=4)
    assert not all(np.array_equal(a, b) for a, b in zip(first, other))
    assert np.array_equal(first[0], generator.generate(asked[:1], sampling)[0])
    twice = generator.generate([asked[0], asked[0]], sampling, at_once=4)
    assert not np.array_equal(*twice)


@pytest.mark.parametrize("limit", [1, 5, 64, 65])
def test_no_answer_is_longer_than_asked(generator, vocabulary, limit):
    endless = without_end(generator)
    answers = endless.generate(prompts(vocabulary, 3, 9), dataclasses.replace(GREEDY, max_new_tokens=limit), at_once=4)
    assert [len(answer) for answer in answers] == [limit, limit]


def test_an_answer_stops_at_its_end_of_turn(generator, vocabulary):
    """With the output row of the end of turn made large, it is drawn sooner or later in every row."""
    output = generator.params["output"]
    eager = {**generator.params, "output": output.at[vocabulary.eot].multiply(3.0)}
    asked = prompts(vocabulary, *range(3, 15))
    sampling = SamplingConfig(max_new_tokens=50, top_p=1.0)
    answers = Generator(eager, generator.config, vocabulary).generate(asked, sampling, at_once=4)
    assert len({len(answer) for answer in answers}) > 3 and min(map(len, answers)) < 20
    assert all(vocabulary.eot not in answer for answer in answers)


def test_ids_that_only_pad_the_table_are_never_drawn(generator, vocabulary):
    pads = slice(vocabulary.unpadded_size, None)
    assert vocabulary.unpadded_size < vocabulary.size
    output = generator.params["output"]
    tempting = {**generator.params, "output": output.at[pads].multiply(50.0)}
    answers = Generator(tempting, generator.config, vocabulary).generate(
        prompts(vocabulary, *[4] * 8), SamplingConfig(max_new_tokens=20, top_p=1.0), at_once=4
    )
    assert max(answer.max(initial=0) for answer in answers) < vocabulary.unpadded_size


def without_end(generator):
    """The same model with an end of turn that is never likely: its logit is that of a zero row, not an argmax."""
    output = generator.params["output"].at[generator.vocabulary.eot].set(0.0)
    return Generator({**generator.params, "output": output}, generator.config, generator.vocabulary)


@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.7, 0.95, 1.0])
def test_top_p_keeps_the_smallest_set_that_holds_p(top_p):
    logits = np.random.default_rng(0).normal(0, 3, (20, 500)).astype(np.float32)
    kept = np.isfinite(np.asarray(top_p_logits(jnp.asarray(logits), top_p)))
    for row, keep in zip(logits, kept):
        probabilities = np.exp(row - row.max(), dtype=np.float64)
        probabilities /= probabilities.sum()
        order = np.argsort(-probabilities)
        expected = np.zeros(500, bool)
        expected[order[: np.searchsorted(np.cumsum(probabilities[order]), top_p) + 1]] = True
        if top_p == 1.0:
            assert probabilities[~keep].sum() < 1e-6
        else:
            assert np.array_equal(keep, expected)


def test_top_p_keeps_ties_together():
    kept = np.isfinite(np.asarray(top_p_logits(jnp.asarray([[1.0, 1.0, 1.0, -9.0]]), 0.5)))
    assert kept.tolist() == [[True, True, True, False]]


def test_draws_have_the_probabilities_of_temperature_and_top_p():
    logits = jnp.log(jnp.asarray([0.5, 0.3, 0.15, 0.05]))
    keys = jax.random.split(jax.random.key(0), 20000)
    drawn = choose(jnp.tile(logits, (20000, 1)), keys, 0.5, 0.9, greedy=False)
    squared = np.array([0.25, 0.09, 0.0225, 0.0025])  # temperature 0.5 squares; then the best two hold 0.93
    expected = np.array([*squared[:2] / squared[:2].sum(), 0, 0])
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 20000, expected, atol=0.02)


@pytest.mark.parametrize("field", [{"temperature": 0.0}, {"top_p": 0.0}, {"top_p": 1.5}, {"max_new_tokens": 0}])
def test_impossible_configs_name_the_field(field):
    with pytest.raises(ValueError, match=next(iter(field))):
        SamplingConfig(**field)


def test_an_empty_prompt_is_refused_and_no_prompts_give_no_answers(generator):
    with pytest.raises(ValueError, match="prompt is empty"):
        generator.generate([np.zeros(0, np.int32)], GREEDY)
    assert generator.generate([], GREEDY) == []
