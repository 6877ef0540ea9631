"""A small vocabulary and a small model that every test of generation shares."""

import sys
from pathlib import Path

import jax
import pytest

from cslm_jax.generate.sampling import Generator
from cslm_jax.model import llama
from cslm_jax.text.sentencepiece import SentencePieceText
from cslm_jax.vocabulary import JointVocabulary

# Tests are imported by file, without this folder on the path; the helper module `script` is found through it.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def vocabulary() -> JointVocabulary:
    lines = ["where is the red fox?", "the red fox is in the garden.", "红色的狐狸在花园里。"] * 20
    return JointVocabulary(SentencePieceText.train(lines, 320), codes=16, pad_to=64)


@pytest.fixture(scope="session")
def model_config(vocabulary) -> llama.LlamaConfig:
    return llama.LlamaConfig(vocabulary_size=vocabulary.size, width=32, layers=2, heads=4, kv_heads=2, head_dim=8, mlp_width=48)


@pytest.fixture(scope="session")
def generator(vocabulary, model_config) -> Generator:
    """Random weights, larger than at the start of training so that the answers differ from prompt to prompt."""
    params = llama.initialise(model_config, jax.random.key(3))
    return Generator(jax.tree.map(lambda x: 3 * x, params), model_config, vocabulary)
