"""Similarity: pooling sees the part's own tokens only, batches change nothing, random pairs are never parallel."""

import jax
import numpy as np
import pytest

from cslm_jax import chat
from cslm_jax.evaluate.similarity import cosines, pooled
from cslm_jax.generate.sampling import Generator
from cslm_jax.model import llama
from cslm_jax.model.llama import LlamaConfig


@pytest.fixture(scope="module")
def generator(vocabulary) -> Generator:
    config = LlamaConfig(vocabulary_size=vocabulary.size, width=32, layers=1, heads=2, kv_heads=1, head_dim=16, mlp_width=48)
    return Generator(llama.initialise(config, jax.random.key(0)), config, vocabulary)


def by_hand(generator: Generator, string: str, own: str) -> np.ndarray:
    """Mean state of the last tokens, which spell `own`, of a prompt read without padding."""
    tokens = np.array([generator.vocabulary.encode(string)], np.int32)
    hidden = llama.bind(generator.config, generator.params)(tokens, np.arange(tokens.shape[1])[None], np.ones_like(tokens))
    count = len(generator.vocabulary.encode(own))
    return np.asarray(hidden[0, -count:]).mean(0)


def test_pooled_states_are_those_of_the_part_alone(generator):
    head = "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n"
    texts = ["the cat is red", "红色的猫"]
    states = pooled(generator, texts)
    for state, text in zip(states, texts, strict=True):
        np.testing.assert_allclose(state, by_hand(generator, head + text, text), atol=1e-5)
    units = [np.array([1, 2, 3]), np.arange(40)]
    states = pooled(generator, [chat.Units(row) for row in units])
    for state, row in zip(states, units, strict=True):
        own = "".join(f"<{unit}>" for unit in row)
        np.testing.assert_allclose(state, by_hand(generator, f"{head}<sosp>{own}", own), atol=1e-5)


def test_speech_and_text_cannot_be_mixed_in_one_call(generator):
    with pytest.raises(ValueError):
        pooled(generator, ["a", chat.Units(np.array([1]))])


@pytest.mark.parametrize("seed", range(5))
def test_random_pairs_are_never_parallel(seed):
    """With orthogonal vectors a pair is parallel exactly if its cosine is 1."""
    found = cosines(np.eye(7), 3 * np.eye(7), seed)
    np.testing.assert_allclose(found.parallel, 1)
    np.testing.assert_allclose(found.random, 0)


def test_cosines_do_not_depend_on_length():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 5, 8))
    expected = [np.dot(x, y) / np.linalg.norm(x) / np.linalg.norm(y) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(cosines(2 * a, 5 * b).parallel, expected)


def test_one_utterance_has_no_random_pair():
    with pytest.raises(ValueError, match="at least two"):
        cosines(np.ones((1, 3)), np.ones((1, 3)))
