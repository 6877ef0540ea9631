"""Generation (paper section 4): bucketed prefill and a jitted decode loop over a KV cache, many prompts at once."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from cslm_jax.buckets import bucket, pad_rows
from cslm_jax.model import llama
from cslm_jax.model.cache import Cache, init_cache
from cslm_jax.model.llama import LlamaConfig
from cslm_jax.model.parameters import Params
from cslm_jax.vocabulary import JointVocabulary

ROOM = 128
"""Smallest cache, in tokens; it grows through the buckets from here."""
BLOCK = 64
"""Decode steps between two looks at whether everybody has finished."""


@dataclasses.dataclass(frozen=True)
class SamplingConfig:
    """How the next token is chosen, and when to stop; the defaults are the paper's."""

    temperature: float = 1.0
    """Divides the logits; below 1 the likely tokens become likelier."""
    top_p: float = 0.7
    """Only the likeliest tokens that together hold this probability are drawn from."""
    greedy: bool = False
    """Always take the likeliest token; temperature and top_p then do not matter."""
    max_new_tokens: int = 512
    """Longest answer, in tokens, the end of turn included."""
    seed: int = 0
    """Fixes every draw; a prompt's answer also depends on its place in the list, not on its neighbours."""

    def __post_init__(self):
        if not self.temperature > 0:
            raise ValueError(f"sampling.temperature must be above 0, got {self.temperature}; use greedy for no randomness")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"sampling.top_p must be in (0, 1], got {self.top_p}")
        if self.max_new_tokens < 1:
            raise ValueError(f"sampling.max_new_tokens must be at least 1, got {self.max_new_tokens}")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
    """Where a batch of answers stands between two blocks of decode steps."""

    cache: Cache
    logits: Float[Array, "B V"]
    """Of the token that comes next."""
    positions: Int[Array, "B"]
    """At which it will stand."""
    done: Bool[Array, "B"]
    """Rows that are over; what they emit from now on means nothing."""
    keys: Key[Array, "B"]


def top_p_logits(logits: Float[Array, "B V"], top_p: float | Array) -> Float[Array, "B V"]:
    """-inf outside the smallest set of likeliest tokens that holds `top_p` of the probability (Holtzman et al., 2020).

    Ties stay together. The least probability that stays is found by bisection over the bits of its float, which
    are in the order of the floats: exact, and many times faster than sorting a vocabulary.
    """
    probabilities = jax.nn.softmax(logits.astype(jnp.float32), axis=-1)
    bits = jax.lax.bitcast_convert_type(probabilities, jnp.int32)

    def refine(i, least):
        higher = least | (1 << (29 - i))
        mass = jnp.sum(jnp.where(bits >= higher, probabilities, 0), axis=-1, keepdims=True)
        return jnp.where(mass >= top_p, higher, least)

    # No probability is above 1.0, whose highest bit is bit 29.
    least = jax.lax.fori_loop(0, 30, refine, jnp.zeros_like(bits[:, :1]))
    return jnp.where(bits >= least, logits, -jnp.inf)


def choose(
    logits: Float[Array, "B V"], keys: Key[Array, "B"], temperature: float | Array, top_p: float | Array, greedy: bool
) -> Int[Array, "B"]:
    """The next token of every row, each drawn with its own key."""
    if greedy:
        return jnp.argmax(logits, axis=-1)
    return jax.vmap(jax.random.categorical)(keys, top_p_logits(logits / temperature, top_p))


class Generator:
    """Answers prompts with one set of parameters.

    Args:
        params: parameters of `config`, on any mesh.
        config: the architecture, with its vocabulary_size set.
        vocabulary: says which ids exist and which one ends a turn.
        step: of the checkpoint that the parameters are from, if they are from one.
    """

    def __init__(self, params: Params, config: LlamaConfig, vocabulary: JointVocabulary, step: int | None = None):
        self.params, self.config, self.vocabulary, self.step = params, config, vocabulary, step

    def generate(
        self,
        prompts: Sequence[Int[np.ndarray, "T"]],
        sampling: SamplingConfig = SamplingConfig(),
        at_once: int = 32,
        progress: Callable[[int], object] = lambda count: None,
    ) -> list[Int[np.ndarray, "N"]]:
        """The answers in the order of the prompts, each without its end of turn.

        Args:
            prompts: token ids that end where the answer begins (`chat.prompt`), of any lengths.
            sampling: see `SamplingConfig`.
            at_once: rows of a batch; prompts of like length share one.
            progress: told how many answers are new, batch by batch.
        """
        order = np.argsort([len(prompt) for prompt in prompts], kind="stable")
        rows = 1 if len(prompts) == 1 else at_once
        answers: list = [None] * len(prompts)
        for start in range(0, len(prompts), at_once):
            picked = order[start : start + at_once]
            tokens = self._answer([prompts[i] for i in picked], sampling, picked, rows)
            for i, row in zip(picked, tokens):
                answers[i] = until(row, self.vocabulary.eot)
            progress(len(picked))
        return answers

    def blocks(
        self,
        prompts: Sequence[Int[np.ndarray, "T"]],
        sampling: SamplingConfig,
        block: int,
        streams: Sequence[int] | None = None,
        rows: int | None = None,
    ) -> Iterator[Int[np.ndarray, "B N"]]:
        """The answers of one batch, `block` tokens at a time, up to sampling.max_new_tokens.

        The next block is already being computed while the caller works on this one. Behind a row's end of turn
        there is nothing but ends of turn; the caller stops when it has seen enough.

        Args:
            streams: the random stream of every prompt; 0, 1, 2 ... by default.
            rows: rows to pad the batch to, so that it fits a function that is compiled already.
        """
        longest = max(map(len, prompts))
        streams = range(len(prompts)) if streams is None else streams
        state = self._prefill(prompts, sampling.seed, streams, rows or len(prompts), block)
        ready = None
        for start in range(0, sampling.max_new_tokens, block):
            room = bucket(longest + start + block, ROOM)
            state = state if room == state.cache.length else _grow(state, room)
            limit = min(block, sampling.max_new_tokens - start)
            tokens, state = self._decode(state, sampling, block, limit)
            if ready is not None:
                yield np.asarray(ready)
            ready = tokens[:, :limit]
        yield np.asarray(ready)

    def _answer(self, prompts, sampling: SamplingConfig, streams, rows: int) -> Int[np.ndarray, "B N"]:
        blocks = []
        for block in self.blocks(prompts, sampling, BLOCK, streams, rows):
            blocks.append(block)
            if np.all(block[:, -1] == self.vocabulary.eot):
                break
        return np.concatenate(blocks, axis=1)

    def _prefill(self, prompts, seed: int, streams: Sequence[int], rows: int, block: int) -> State:
        lengths = np.array([len(prompt) for prompt in prompts], np.int32)
        if not lengths.all():
            raise ValueError("a prompt is empty: it must at least hold the beginning of the text")
        padded = pad_rows(prompts, rows, bucket(int(lengths.max())))
        room = bucket(int(lengths.max()) + block, ROOM)
        lengths, streams = (np.pad(np.asarray(x, np.int32), (0, rows - len(prompts))) for x in (lengths, streams))
        return _prefill(self.config, room, self.params, padded, lengths, seed, streams)

    def _decode(self, state: State, sampling: SamplingConfig, block: int, limit: int) -> tuple[Int[Array, "B N"], State]:
        vocabulary = self.vocabulary
        return _decode(
            self.config, block, sampling.greedy, vocabulary.unpadded_size, vocabulary.eot,
            self.params, state, sampling.temperature, sampling.top_p, limit,
        )  # fmt: skip


@functools.partial(jax.jit, static_argnums=(0, 1))
def _prefill(
    config: LlamaConfig,
    room: int,
    params: Params,
    tokens: Int[Array, "B T"],
    lengths: Int[Array, "B"],
    seed: int,
    streams: Int[Array, "B"],
) -> State:
    model = llama.bind(config, params)
    positions = jnp.arange(tokens.shape[1])
    positions = jnp.where(positions < lengths[:, None], positions, -1)
    hidden, cache = model.extend(tokens, positions, init_cache(config, len(tokens), room))
    last = jnp.take_along_axis(hidden, jnp.maximum(lengths - 1, 0)[:, None, None], axis=1)[:, 0]
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), streams)
    return State(cache, model.logits(last), lengths, lengths == 0, keys)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3, 4), donate_argnums=6)
def _decode(
    config: LlamaConfig,
    block: int,
    greedy: bool,
    live: int,
    eot: int,
    params: Params,
    state: State,
    temperature: float,
    top_p: float,
    limit: int,
) -> tuple[Int[Array, "B N"], State]:
    """Up to `limit` steps, fewer when every row is over; uses the state up. Ids from `live` on only pad the table."""
    model = llama.bind(config, params)

    def more(carry):
        step, _, state = carry
        return (step < limit) & ~jnp.all(state.done)

    def step_once(carry):
        step, out, state = carry
        keys = jax.vmap(jax.random.fold_in)(state.keys, state.positions)
        logits = jnp.where(jnp.arange(state.logits.shape[-1]) < live, state.logits, -jnp.inf)
        token = jnp.where(state.done, eot, choose(logits, keys, temperature, top_p, greedy))
        done = state.done | (token == eot)
        hidden, cache = model.extend(token[:, None], jnp.where(done, -1, state.positions)[:, None], state.cache)
        state = State(cache, model.logits(hidden[:, 0]), state.positions + 1, done, state.keys)
        return step + 1, out.at[:, step].set(token), state

    out = jnp.full((len(state.done), block), eot, jnp.int32)
    _, out, state = jax.lax.while_loop(more, step_once, (0, out, state))
    return out, state


@functools.partial(jax.jit, static_argnums=1)
def _grow(state: State, room: int) -> State:
    """The same state with a cache for `room` tokens a row: short answers do not pay for the longest."""
    more = room - state.cache.length
    pad = lambda x: jnp.pad(x, ((0, 0), (0, 0), (0, more), (0, 0), (0, 0)))
    return dataclasses.replace(state, cache=jax.tree.map(pad, state.cache))


def until(row: Int[np.ndarray, "N"], end: int) -> Int[np.ndarray, "N"]:
    """The part of a row before its first `end`."""
    ends = np.flatnonzero(row == end)
    return row[: ends[0]] if len(ends) else row
