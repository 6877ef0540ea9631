"""`cslm bench generate`: prefill and decode of a batch of prompts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Int

from cslm_jax.bench import report
from cslm_jax.bench.data import with_rows, without_data
from cslm_jax.bench.timing import measure
from cslm_jax.config import Experiment
from cslm_jax.generate.sampling import Generator, SamplingConfig
from cslm_jax.model import llama


@dataclasses.dataclass(frozen=True)
class Endless:
    """In place of a vocabulary: no token ends an answer, so that every answer is as long as it may be."""

    unpadded_size: int
    eot: int = -1


def make_generator(config: Experiment) -> Generator:
    """A model with random weights, on the first device; speed does not depend on them."""
    params = jax.jit(lambda key: llama.initialise(config.model, key))(jax.random.key(config.seed))
    return Generator(params, config.model, Endless(config.model.vocabulary_size))


def random_prompts(config: Experiment, batch: int, length: int) -> list[Int[np.ndarray, "T"]]:
    return list(np.random.default_rng(config.seed).integers(config.model.vocabulary_size, size=(batch, length), dtype=np.int32))


def generate(
    config: Experiment, batch: int = 8, prompt: int = 128, new_tokens: int = 128, repetitions: int = 10, json: str | None = None
) -> None:
    """Times answers of random weights on one device, with the config's sampling; needs no data.

    Args:
        batch: prompts that are answered together.
        prompt: tokens of each.
        new_tokens: tokens of each answer.
        repetitions: answers that are timed.
        json: file for the same figures.
    """
    config = with_rows(without_data(config))
    generator, prompts = make_generator(config), random_prompts(config, batch, prompt)
    first = measure(lambda: _answer(generator, prompts, config.sampling, 1), repetitions)
    whole = measure(lambda: _answer(generator, prompts, config.sampling, new_tokens), repetitions)
    decode = whole.median - first.median
    result = {
        "prefill_seconds": first,
        "answer_seconds": whole,
        "prefill_tokens_per_second": batch * prompt / first.median,
        "decode_tokens_per_second": batch * (new_tokens - 1) / decode,
        "decode_step_seconds": decode / (new_tokens - 1),
        "peak_memory_bytes": report.peak_memory_bytes(),
    }
    report.publish("generate", config, report.describe_devices(), [result], json)


def _answer(generator: Generator, prompts: Sequence[np.ndarray], sampling: SamplingConfig, tokens: int) -> list[np.ndarray]:
    return generator.generate(prompts, dataclasses.replace(sampling, max_new_tokens=tokens), at_once=len(prompts))
