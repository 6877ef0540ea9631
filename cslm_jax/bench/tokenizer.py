"""`cslm bench tokenizer`: how much sound a speech tokenizer turns into units in an hour."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Literal

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float

from cslm_jax.bench import report
from cslm_jax.bench.timing import Spread
from cslm_jax.config import Experiment
from cslm_jax.speech import audio
from cslm_jax.speech.s3_config import PUBLISHED, Dtype
from cslm_jax.speech.tokenizer import SpeechTokenizer, new_model


def tokenizer(
    config: Experiment,
    version: Literal["v1_25hz", "v1_50hz", "v2", "v3"] = "v1_25hz",
    utterances: int = 32,
    longest: float = 15.0,
    dtype: Dtype = "float32",
    batch_seconds: float | None = None,
    repetitions: int = 5,
    json: str | None = None,
) -> None:
    """Times a published speech tokenizer in its full size with random weights; needs no data.

    Args:
        version: that of CosyVoice-300M-25Hz, CosyVoice-300M, CosyVoice 2 or CosyVoice 3.
        utterances: noises that are tokenised in one go.
        longest: seconds of the longest; the shortest has a fifth of them.
        dtype: what the blocks compute in.
        batch_seconds: sound that goes through a device at once.
        repetitions: goes that are timed, after one that compiles.
        json: file for the same figures.
    """
    sound = make_noises(utterances, longest, config.seed)
    sizes = dataclasses.replace(PUBLISHED[version], dtype=dtype)
    heard = SpeechTokenizer(new_model(sizes, None, config.seed), None, batch_seconds)
    began = time.perf_counter()
    heard.analyse(sound)
    first = time.perf_counter() - began
    clocks = [_clocks(lambda: heard.analyse(sound)) for _ in range(repetitions)]
    seconds = sum(map(len, sound)) / audio.SAMPLE_RATE
    result = {
        "version": version,
        "dtype": dtype,
        "sound_seconds": seconds,
        "seconds": Spread.of([wall for wall, _ in clocks]),
        "cpu_seconds": Spread.of([cpu for _, cpu in clocks]),
        "hours_an_hour": Spread.of([seconds / wall for wall, _ in clocks]),
        "first_seconds": first,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(nnx.state(heard.model, nnx.Param))),
        "peak_memory_bytes": report.peak_memory_bytes(),
    }
    report.publish("tokenizer", config, report.describe_devices(), [result], json)


def _clocks(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and seconds of processor, which other programs on the machine move less."""
    began = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - began[0], time.process_time() - began[1]


def make_noises(count: int, longest: float, seed: int) -> list[Float[np.ndarray, "S"]]:
    """Lengths lie evenly between a fifth of the longest and the longest; speed does not depend on what is heard."""
    random = np.random.default_rng(seed)
    lengths = random.permutation(np.linspace(longest / 5, longest, count)) * audio.SAMPLE_RATE
    return [0.1 * random.standard_normal(int(length), np.float32) for length in lengths]
