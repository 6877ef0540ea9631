"""Token caches: the examples of one task as two aligned streams, with their lengths beside them.

Below cache/<task>/<fingerprint>/ lie::

    examples.arrayrecord    int32 tokens, then float32 loss weights, of each example
    lengths.npy             tokens of each example
    ids.txt                 record id of each example
    rejected.jsonl          records that gave no example, with the reason
    manifest.json           the recipe: everything that decided the content

The fingerprint is that of the recipe, so caches of several vocabularies, response forms or states of the records
live side by side, and nothing is ever made twice. Free of TensorFlow: training reads this.
"""

from __future__ import annotations

import array
import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from cslm_jax.chat import CHUNKED_FORMS
from cslm_jax.data import files, prompts, shards
from cslm_jax.data.catalogue import READS, TaskSpec
from cslm_jax.data.config import DataConfig
from cslm_jax.errors import CslmError

# Part of every recipe: raise it when the same records would give other tokens.
_FORMAT = 2


class NoCache(CslmError):
    """A task has no cache for a config; the message says in what the nearest one differs.

    Args:
        of_other_vocabularies: it has caches, and every one of them was made with another vocabulary.
    """

    def __init__(self, message: str, of_other_vocabularies: bool):
        super().__init__(message)
        self.of_other_vocabularies = of_other_vocabularies


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """One training example of a task."""

    id: str
    tokens: Int[np.ndarray, "T"]
    loss_weights: Float[np.ndarray, "T"]


Reject = Callable[[Mapping[str, str]], None]
"""Is told of a record that gives no example: id, file, stage, reason."""


def recipe(config: DataConfig, task: TaskSpec, vocabulary_sha256: str) -> dict[str, Any]:
    """Everything that decides the tokens of a task; two equal recipes give the same cache."""
    content = {
        "format": _FORMAT,
        "task": task.name,
        "split": config.split,
        "vocabulary": vocabulary_sha256,
        "templates": prompts.load(config.language_files).fingerprint(task),
        "chat": dataclasses.asdict(config.chat),
        "records": shards.fingerprint(Path(config.records), READS[task.family]),
    }
    if task.family == "mt":
        content |= {"mt_tokens": list(config.mt_tokens)}
    if task.family == "s2s":
        content |= {"response_form": config.response_form}
        if config.response_form in CHUNKED_FORMS:
            content |= {"chunk_size": config.chunk_size}
    return content


def fingerprint(recipe: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]


def directory(config: DataConfig, recipe: Mapping[str, Any]) -> Path:
    return Path(config.cache) / recipe["task"] / fingerprint(recipe)


def find(config: DataConfig, recipe: Mapping[str, Any]) -> Path:
    """The finished cache of a recipe.

    A machine that trains may hold the caches without the records: then the one whose recipe agrees in all but the
    records is taken.

    Raises:
        NoCache: there is none.
        CslmError: several fit, or a manifest is damaged; the message names it.
    """
    exact = directory(config, recipe)
    if (exact / "manifest.json").is_file():
        return exact
    # Half-written folders begin with a dot.
    others = {path.parent: read_manifest(path)["recipe"] for path in sorted(exact.parent.glob("[!.]*/manifest.json"))}
    if recipe["records"] is None:
        fitting = [path for path, other in others.items() if {**other, "records": None} == recipe]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise CslmError(f"{len(fitting)} caches in {exact.parent} fit; keep one, or bring data.records along")
    message = f"task {recipe['task']} has no cache in {exact.parent}{_difference(recipe, others)}; run `cslm prepare`"
    foreign = bool(others) and all(other["vocabulary"] != recipe["vocabulary"] for other in others.values())
    if foreign:
        message += " to make one for this vocabulary, or point data.vocabulary at the one that the cache was made with"
    raise NoCache(message, foreign)


def _difference(recipe: Mapping[str, Any], others: Mapping[Path, Mapping[str, Any]]) -> str:
    def differing(other: Mapping[str, Any]) -> list[str]:
        return [key for key in {**recipe, **other} if recipe.get(key) != other.get(key)]

    if not others:
        return ""
    path, other = min(others.items(), key=lambda item: len(differing(item[1])))
    words = [f"{key} {_short(other.get(key))} and not {_short(recipe.get(key))}" for key in differing(other)]
    return f" for this config ({path / 'manifest.json'} was made with {', '.join(words)})"


def _short(value: Any) -> str:
    return f"{value[:12]}..." if isinstance(value, str) and len(value) > 16 else str(value)


def write(directory: Path, recipe: Mapping[str, Any], read: Callable[[Reject], Iterable[Example]]) -> int:
    """Writes a cache, an example at a time; it appears under its name when it is complete.

    Args:
        read: gives the examples, and tells its argument of each record that gave none (id, file, stage, reason).

    Returns:
        How many records gave none.
    """
    files.clear_leftovers(directory.parent, directory.name)
    lengths = array.array("i")
    with files.replacing(directory) as temporary:
        temporary.mkdir()
        with (
            files.record_writer(temporary / "examples.arrayrecord") as file,
            (temporary / "ids.txt").open("w", encoding="utf-8", newline="") as ids,
            files.line_writer(temporary / "rejected.jsonl") as rejected,
        ):
            for example in read(rejected.write):
                tokens, weights = example.tokens.astype("<i4", copy=False), example.loss_weights.astype("<f4", copy=False)
                file.write(tokens.tobytes() + weights.tobytes())
                lengths.append(len(example.tokens))
                ids.write(example.id + "\n")
        np.save(temporary / "lengths.npy", np.array(lengths, np.int32))
        summary = {"examples": len(lengths), "tokens": sum(lengths), "rejected": rejected.count}
        files.write_json(temporary / "manifest.json", {**summary, "recipe": dict(recipe)})
    return rejected.count


def _remedy(directory: Path) -> str:
    return f"delete the folder {directory} and run `cslm prepare` again, which makes this cache anew"


def read_manifest(path: Path) -> dict[str, Any]:
    manifest = files.read_json(path, _remedy(path.parent))
    if not isinstance(manifest, dict) or not {"examples", "tokens", "rejected", "recipe"} <= set(manifest):
        raise files.damaged(path, "fields are missing", _remedy(path.parent))
    return manifest


class CacheIndex:
    """What lies beside the examples of a task; says how many and how long they are without opening them.

    Raises:
        CslmError: a file of it is missing, truncated or corrupted; the message names it.
    """

    def __init__(self, directory: Path):
        self.directory = directory
        self.manifest = read_manifest(directory / "manifest.json")
        self.lengths = self._load_lengths(directory / "lengths.npy")

    def _load_lengths(self, path: Path) -> Int[np.ndarray, "N"]:
        try:
            lengths = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise files.damaged(path, error, _remedy(self.directory)) from error
        examples, tokens = self.manifest["examples"], self.manifest["tokens"]
        if lengths.shape != (examples,) or lengths.sum(dtype=np.int64) != tokens or (lengths < 1).any():
            reason = f"it says {lengths.size} examples of {lengths.sum()} tokens, the manifest {examples} of {tokens}"
            raise files.damaged(path, reason, _remedy(self.directory))
        return lengths

    @functools.cached_property
    def ids(self) -> list[str]:
        """Record id of each example."""
        return list(self.read_ids())

    def read_ids(self) -> Iterator[str]:
        """`ids`, a line at a time."""
        path, count = self.directory / "ids.txt", 0
        try:
            with path.open(encoding="utf-8", newline="\n") as file:
                for line in file:
                    count += 1
                    yield line.removesuffix("\n")
        except (OSError, ValueError) as error:
            raise files.damaged(path, error, _remedy(self.directory)) from error
        if count != len(self.lengths):
            raise files.damaged(path, f"{count} ids for {len(self.lengths)} examples", _remedy(self.directory))

    def rejected(self) -> Iterator[dict[str, str]]:
        """Records that gave no example (id, file, stage, reason)."""
        return files.read_lines(self.directory / "rejected.jsonl", _remedy(self.directory))


class Cache(CacheIndex):
    """Random access to the examples of a task; raises what CacheIndex does."""

    def __init__(self, directory: Path):
        super().__init__(directory)
        self._file = files.RecordFile(directory / "examples.arrayrecord", len(self.lengths), _remedy(directory))

    def read(self, examples: Int[np.ndarray, "N"]) -> tuple[Int[np.ndarray, "T"], Float[np.ndarray, "T"]]:
        """Tokens and loss weights of the examples, one behind the other; `lengths` says where each ends."""
        lengths = self.lengths[examples]
        content = b"".join(self._file.read(examples))
        if len(content) != 8 * lengths.sum():
            raise files.damaged(self._file.path, "the lengths beside it do not fit", _remedy(self.directory))
        # Each example is n tokens, then n weights: every other stretch is tokens.
        is_token = np.repeat(np.tile([True, False], len(lengths)), np.repeat(lengths, 2))
        words = np.frombuffer(content, "<i4")
        return words[is_token], words[~is_token].view("<f4")
