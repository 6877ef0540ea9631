"""Do speech and its text meet inside the model? (paper section 5, similarity)"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from cslm_jax import chat
from cslm_jax.buckets import map_bucketed
from cslm_jax.generate.sampling import Generator
from cslm_jax.model import llama
from cslm_jax.model.llama import LlamaConfig
from cslm_jax.model.parameters import Params
from cslm_jax.vocabulary import JointVocabulary


@dataclasses.dataclass(frozen=True, eq=False)
class Cosines:
    """Cosines between speech and text, one an utterance."""

    parallel: Float[np.ndarray, "N"]
    """Speech and its own text."""
    random: Float[np.ndarray, "N"]
    """Speech and the text of another utterance."""


def cosines(speech: Float[np.ndarray, "N D"], text: Float[np.ndarray, "N D"], seed: int = 0) -> Cosines:
    """Cosines of parallel pairs, and of as many random pairs that are all not parallel.

    Raises:
        ValueError: fewer than two pairs: there is no random one.
    """
    if len(speech) < 2:
        raise ValueError(f"similarity needs at least two utterances, got {len(speech)}")
    speech, text = (rows / np.linalg.norm(rows, axis=-1, keepdims=True) for rows in (speech, text))
    ring = np.random.default_rng(seed).permutation(len(text))
    following = np.empty_like(ring)
    following[ring] = np.roll(ring, -1)  # everyone meets the text of the next one in a shuffled ring
    return Cosines((speech * text).sum(-1), (speech * text[following]).sum(-1))


def pooled(generator: Generator, parts: Sequence[str | chat.Units]) -> Float[np.ndarray, "N D"]:
    """Mean of the last layer's states over the tokens of each part, each read by itself as a user turn.

    The turn's header and `<sosp>` are read but not in the mean; what follows the part could not change it.
    """
    if not parts:
        return np.zeros((0, generator.config.width), np.float32)
    rows, begins = zip(*(_turn(part, generator.vocabulary) for part in parts), strict=True)
    if len(set(begins)) > 1:
        raise ValueError("speech and text are pooled in two calls")

    def states(tokens: np.ndarray, lengths: np.ndarray) -> Array:
        return _pooled(generator.config, generator.params, tokens, lengths, begins[0])

    return np.stack(map_bucketed(states, rows))


def _turn(part: str | chat.Units, vocabulary: JointVocabulary) -> tuple[Int[np.ndarray, "T"], int]:
    """A user turn up to the end of `part`, and where the part's own tokens begin."""
    header = len(chat.encode([chat.Message("user", ())], vocabulary).tokens) - 1
    tokens = chat.encode([chat.Message("user", (part,))], vocabulary).tokens
    return (tokens[:-1], header) if isinstance(part, str) else (tokens[:-2], header + 1)


@functools.partial(jax.jit, static_argnums=0)
def _pooled(
    config: LlamaConfig, params: Params, tokens: Int[Array, "B T"], lengths: Int[Array, "B"], begin: int
) -> Float[Array, "B D"]:
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    present = positions < lengths[:, None]
    hidden = llama.bind(config, params)(tokens, positions, present.astype(jnp.int32))
    own = (present & (positions >= begin))[..., None]
    # Padding's states mean nothing, not even a number.
    total = jnp.sum(jnp.where(own, hidden.astype(jnp.float32), 0), axis=1)
    return total / jnp.maximum(jnp.sum(own, axis=1), 1)
