"""Batches for training: batch = f(config, step), and nothing else (invariant 1 of the design).

    row n of the run  --Mixture-->  row k of task t  --PackingPlan-->  examples  --Cache-->  tokens, weights

Rows are numbered over the whole run; step s is the rows s * global_batch .. (s + 1) * global_batch - 1, and a process
takes its share of them. There is no iterator state, so a run resumes from its step number alone, on any number of
processes. Free of TensorFlow and seqio.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from typing import Protocol, TypedDict

import grain
import numpy as np
from jaxtyping import Float, Int

from cslm_jax.data import caches, catalogue
from cslm_jax.data.catalogue import mixture_weights, tasks
from cslm_jax.data.config import DataConfig
from cslm_jax.data.mixing import Mixture
from cslm_jax.data.packing import PackingPlan, stable_hash
from cslm_jax.errors import CslmError
from cslm_jax.vocabulary import JointVocabulary

__all__ = ["Batch", "DataConfig", "Loader"]

logger = logging.getLogger(__name__)

_READ_TOKENS = 2**17


class Batch(TypedDict):
    """Rows of one step. Padding is segment id 0, whatever its token is (invariant 2)."""

    tokens: Int[np.ndarray, "B T"]
    loss_weights: Float[np.ndarray, "B T"]
    segment_ids: Int[np.ndarray, "B T"]
    positions: Int[np.ndarray, "B T"]
    task: Int[np.ndarray, "B"]


class RowSource(Protocol):
    """The endless rows of one task."""

    tokens_per_row: float
    examples_per_row: float

    def read(self, rows: list[int]) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """Lengths of the examples in each row, and the tokens and loss weights of all of them, joined."""


class PackedTask:
    """Rows packed from the cache of one task."""

    def __init__(self, name: str, cache: caches.Cache, row_length: int, seed: int):
        self.name, self.cache = name, cache
        self.plan = PackingPlan(cache.lengths, row_length, stable_hash(seed, name))
        if not self.plan.rows:
            raise _no_rows(name, cache, row_length)
        if self.plan.left_out:
            logger.warning("%s: %d of %d examples are longer than a row of %d tokens and are left out",
                           name, self.plan.left_out, len(cache.lengths), row_length)  # fmt: skip
        self.tokens_per_row = self.plan.tokens / self.plan.rows
        self.examples_per_row = self.plan.examples / self.plan.rows

    def read(self, rows: list[int]) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        examples = self.plan.read(rows)
        tokens, weights = self.cache.read(np.concatenate(examples))
        return [self.cache.lengths[row] for row in examples], tokens, weights


class SyntheticTask:
    """Rows of random tokens, cut at random into segments, with the little padding at their end that packing leaves.

    A row is a pure function of the seed and its number, as a packed one is.
    """

    SEGMENTS = 8
    """Of a row, at most; two cuts may coincide."""
    MOST_PADDING = 0.04
    """Of a row; on average it is half of that."""

    def __init__(self, vocabulary_size: int, row_length: int, seed: int):
        self._size, self._row_length, self._seed = vocabulary_size, row_length, seed
        self._most_padding = int(row_length * self.MOST_PADDING)
        self.tokens_per_row, self.examples_per_row = row_length - self._most_padding / 2, float(self.SEGMENTS)

    def read(self, rows: list[int]) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        lengths, tokens = zip(*map(self._row, rows), strict=True)
        joined = np.concatenate(tokens)
        return list(lengths), joined, np.ones(len(joined), np.float32)

    def _row(self, row: int) -> tuple[Int[np.ndarray, "N"], Int[np.ndarray, "T"]]:
        """Lengths of the segments of a row, and its tokens."""
        random = np.random.default_rng((self._seed, row))
        filled = self._row_length - int(random.integers(self._most_padding, endpoint=True))
        cuts = np.unique(random.integers(1, filled, self.SEGMENTS - 1)) if filled > 1 else []
        return np.diff([0, *cuts, filled]), random.integers(self._size, size=filled, dtype=np.int32)


class Loader:
    """Packed, mixed and shuffled batches of one process.

    Args:
        vocabulary: the one the model uses; caches made with another one are refused.
        process, processes: which of the equal parts of each global batch is this process's.
        rows: which rows of each global batch, ascending, are this process's; instead of one of the equal parts.

    Raises:
        CslmError: an unknown task in the weights, a cache that is missing, damaged or made with another vocabulary or
            response form, or a global batch that cannot be split evenly.
    """

    def __init__(
        self,
        config: DataConfig,
        vocabulary: JointVocabulary,
        process: int = 0,
        processes: int = 1,
        rows: Sequence[int] | None = None,
    ):
        if config.global_batch % processes:
            raise CslmError(
                f"data.global_batch is {config.global_batch} rows, which {processes} processes cannot share evenly; "
                "make it a multiple of their number"
            )
        self.config = config
        self._sources = _synthetic(config, vocabulary) if config.synthetic else _packed(config, vocabulary)
        self.tasks: tuple[str, ...] = tuple(self._sources)
        self._readers = list(self._sources.values())
        self._mixture = Mixture(list(self._rates()))
        share = config.global_batch // processes
        self.rows: Sequence[int] = range(process * share, (process + 1) * share) if rows is None else rows

    def _rates(self) -> Iterator[float]:
        """Rows of each task, relative to each other, from its weight per token or per example."""
        if self.config.synthetic:
            return iter([1.0])
        weights = mixture_weights(self.config.mixture, self.config.languages, self.config.weights)
        per = f"{self.config.weights_per or catalogue.weights_per(self.config.mixture)}_per_row"
        return (weights[name] / getattr(source, per) for name, source in self._sources.items())

    @property
    def density(self) -> float:
        """Share of the batch that is not padding, in the long run."""
        counts = self._mixture.counts
        tokens = sum(int(n) * source.tokens_per_row for n, source in zip(counts, self._readers, strict=True))
        return tokens / (counts.sum() * self.config.row_length)

    def shares(self) -> dict[str, float]:
        """Share of the tokens that each task has, in the long run."""
        counts = self._mixture.counts
        tokens = np.array([n * source.tokens_per_row for n, source in zip(counts, self._readers, strict=True)])
        return dict(zip(self.tasks, (tokens / tokens.sum()).tolist(), strict=True))

    def batch(self, step: int) -> Batch:
        """This process's rows of step `step` (from 0)."""
        return self._assemble(self._numbers(step))

    def global_batch(self, step: int) -> Batch:
        """The rows of all processes."""
        return self._assemble(range(step * self.config.global_batch, (step + 1) * self.config.global_batch))

    def global_sha256(self, step: int) -> str:
        """Fingerprint of the global batch's tokens, the same for any number of processes."""
        return hashlib.sha256(np.ascontiguousarray(self.global_batch(step)["tokens"], "<i4").tobytes()).hexdigest()

    def record_ids(self, step: int, row: int) -> list[str]:
        """Record ids of the examples in row `row` of the global batch, in order; for people who look at data."""
        task, index = self._mixture[step * self.config.global_batch + row]
        source = self._readers[task]
        if not isinstance(source, PackedTask):
            return []
        return [source.cache.ids[example] for example in source.plan.read([index])[0]]

    def prefetch(self, start_step: int = 0) -> Iterator[tuple[int, Batch]]:
        """(step, batch) from `start_step` on, without end; threads read and pack ahead."""
        # Small batches are read several at once, for a read of ten records costs nearly what one of a hundred does.
        size = max(1, _READ_TOKENS // (len(self.rows) * self.config.row_length))
        ahead = max(self.config.read_threads, -(-self.config.read_ahead // size))
        options = grain.ReadOptions(num_threads=self.config.read_threads, prefetch_buffer_size=ahead)
        firsts = grain.MapDataset.range(start_step, 2**31 - 1, size)
        for block in firsts.map(lambda first: self._block(int(first), size)).to_iter_dataset(options):
            yield from block

    def _block(self, first: int, steps: int) -> list[tuple[int, Batch]]:
        rows = len(self.rows)
        whole = self._assemble([n for step in range(first, first + steps) for n in self._numbers(step)])
        cuts = [slice(i * rows, (i + 1) * rows) for i in range(steps)]
        return [(first + i, Batch(**{name: array[cut] for name, array in whole.items()})) for i, cut in enumerate(cuts)]

    def _numbers(self, step: int) -> list[int]:
        """Which rows of the run are this process's in a step."""
        return [step * self.config.global_batch + row for row in self.rows]

    def _assemble(self, numbers: Sequence[int]) -> Batch:
        places = [self._mixture[number] for number in numbers]
        batch = _empty(len(places), self.config.row_length)
        batch["task"][:] = [task for task, _ in places]
        for task in sorted({task for task, _ in places}):
            mine = [i for i, (t, _) in enumerate(places) if t == task]
            _scatter(batch, mine, *self._readers[task].read([places[i][1] for i in mine]))
        return batch


def _packed(config: DataConfig, vocabulary: JointVocabulary) -> dict[str, RowSource]:
    known = tasks(config.languages)
    sources: dict[str, RowSource] = {}
    for name in mixture_weights(config.mixture, config.languages, config.weights):
        found = caches.find(config, caches.recipe(config, known[name], vocabulary.sha256))
        sources[name] = PackedTask(name, caches.Cache(found), config.row_length, config.seed)
    return sources


def _no_rows(name: str, cache: caches.Cache, row_length: int) -> CslmError:
    instead = f"prepare data for it, or set data.weights.{name} to 0"
    if len(cache.lengths):
        return CslmError(
            f"task {name} has no example of at most {row_length} tokens ({cache.directory}); raise data.row_length, {instead}"
        )
    if count := cache.manifest["rejected"]:
        why = f"all {count} records were set aside, see {cache.directory / 'rejected.jsonl'}"
    else:
        why = f"no record is meant for it ({cache.directory} is empty)"
    return CslmError(f"task {name} has no example: {why}; {instead}")


def _synthetic(config: DataConfig, vocabulary: JointVocabulary) -> dict[str, RowSource]:
    return {"synthetic": SyntheticTask(vocabulary.base_size, config.row_length, config.seed)}


def _empty(rows: int, length: int) -> Batch:
    return Batch(
        tokens=np.zeros((rows, length), np.int32),
        loss_weights=np.zeros((rows, length), np.float32),
        segment_ids=np.zeros((rows, length), np.int32),
        positions=np.zeros((rows, length), np.int32),
        task=np.zeros(rows, np.int32),
    )


def _scatter(batch: Batch, rows: list[int], lengths: list[np.ndarray], tokens: np.ndarray, weights: np.ndarray) -> None:
    """Writes joined examples into rows of the batch, with their segment ids (from 1) and positions (from 0)."""
    row_length = batch["tokens"].shape[1]
    joined = np.concatenate(lengths)
    filled = np.array([row.sum() for row in lengths])
    into = np.repeat(np.array(rows) * row_length, filled) + _count_up(filled)
    batch["tokens"].reshape(-1)[into] = tokens
    batch["loss_weights"].reshape(-1)[into] = weights
    batch["segment_ids"].reshape(-1)[into] = np.repeat(_count_up(np.array([len(row) for row in lengths])) + 1, joined)
    batch["positions"].reshape(-1)[into] = _count_up(joined)


def _count_up(counts: Int[np.ndarray, "N"]) -> Int[np.ndarray, "T"]:
    """0 .. n-1 for each n, joined: [2, 3] -> [0, 1, 0, 1, 2]."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1]) - np.repeat(ends - counts, counts)
