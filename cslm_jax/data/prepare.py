"""`cslm prepare`: corpora -> records -> token caches, resumable at any point.

A shard of a corpus and a cache of a task are each written whole or not at all, so rerunning the command does what is
left. Workers (`--worker=i/N`) share the shards of a corpus and need not know of each other.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from cslm_jax.config import Experiment
from cslm_jax.data import corpora, ensure, files, shards
from cslm_jax.data.alignment import Alignment, languages_of_answers
from cslm_jax.data.config import DataConfig
from cslm_jax.data.corpora import CorpusConfig, Postponed, Rejected
from cslm_jax.data.parts import Part, parts
from cslm_jax.data.recording import Load, LoadingProcesses, load_here, make_records
from cslm_jax.data.records import Record, write_records
from cslm_jax.data.speak.dialogues import spoken
from cslm_jax.data.summary import write_summary
from cslm_jax.errors import CslmError
from cslm_jax.speech.tokenizer import SpeechTokenizer, files_of
from cslm_jax.vocabulary import JointVocabulary


def prepare(config: Experiment, worker: str = "0/1", summary: bool = False) -> None:
    """Makes the records and token caches that are not there yet, and writes WORKDIR/summary.json and rejected.jsonl.

    Args:
        worker: i/N: do only the shards of worker i (from 0) of N; with more than one worker, run once without it
            at the end, for the caches and the summary.
        summary: only look at what is there.

    Raises:
        CslmError: there is no vocabulary, or it has fewer units than the speech tokenizer: told before the long work.
    """
    index, workers = _parse_worker(worker)
    if not summary:
        _check_units(config.data)
        make_records_of(config.corpora, config.data, index, workers)
        if workers > 1:
            return
        ensure.make_missing_caches(config.data)
    write_summary(config.data, Path(config.workdir))


def _parse_worker(worker: str) -> tuple[int, int]:
    index, _, workers = worker.partition("/")
    if not (index.isdecimal() and workers.isdecimal() and int(index) < int(workers)):
        raise CslmError(f"--worker={worker}: write i/N with i from 0 to N-1, e.g. 0/4")
    return int(index), int(workers)


def _check_units(config: DataConfig) -> None:
    """Corpora of text alone need no tokenizer."""
    vocabulary = JointVocabulary.load(config.vocabulary)
    if _fingerprint(Path(config.tokenizer)) is None:
        return
    codes = SpeechTokenizer.load(config.tokenizer).config.codes
    if codes > vocabulary.codes:
        raise CslmError(
            f"the speech tokenizer in {config.tokenizer} has {codes} codes and the vocabulary in {config.vocabulary} "
            f"{vocabulary.codes}; set config.tokenizer.model.codes to {codes} and run `cslm vocabulary` again"
        )


def make_records_of(chosen: Sequence[CorpusConfig], config: DataConfig, worker: int = 0, workers: int = 1) -> None:
    """Makes the shards of every corpus that are not there yet, or were made from other items.

    Raises:
        CslmError: a corpus is read otherwise, or by another speech tokenizer or aligner, than when its shards were made, or
            it has fewer items now; or nothing can align the answers of a language.
    """
    names = [corpus.name for corpus in chosen]
    if len(set(names)) < len(names):
        raise CslmError(f"config.corpora: two corpora have the same name ({', '.join(names)})")
    processes, longest = config.prepare.processes, config.prepare.max_seconds
    load = LoadingProcesses(processes, longest) if processes else functools.partial(load_here, max_seconds=longest)
    # One for all corpora: it compiles a function for each length that it meets, and text alone needs none.
    tokenizer = functools.cache(functools.partial(SpeechTokenizer.load, config.tokenizer))
    alignment = Alignment(config.aligners, tokenizer)
    alignment.check(languages_of_answers(chosen, config.languages))
    try:
        for corpus in chosen:
            _make_corpus(corpus, config, tokenizer, alignment, load, worker, workers)
    finally:
        if isinstance(load, LoadingProcesses):
            load.close()


def _make_corpus(
    corpus: CorpusConfig,
    config: DataConfig,
    tokenizer: Callable[[], SpeechTokenizer],
    alignment: Alignment,
    load: Load,
    worker: int,
    workers: int,
) -> None:
    directory = Path(config.records) / corpus.name
    fingerprint = _fingerprint(Path(config.tokenizer))
    _check_unchanged(directory, corpus, config, fingerprint)
    todo, ahead = itertools.tee(_todo(corpus, config, directory, worker, workers))
    items = spoken((item for part in ahead for item in part.items), corpus, config.languages)
    made = make_records(items, corpus, config.languages, tokenizer, load, config.prepare.together, alignment)
    with _Progress(corpus.name) as progress:
        for part in todo:
            results = [progress.count(result) for result in itertools.islice(made, len(part.items))]
            rejected = [dataclasses.asdict(result) for result in results if isinstance(result, Rejected)]
            kept = [result for result in results if not isinstance(result, Rejected)]
            notes = {"tokenizer": fingerprint, "aligners": _names(config), "items": part.described}
            if postponed := sum(isinstance(result, Postponed) for result in results):
                notes["retry"] = postponed
                tqdm.write(f"records of {corpus.name}: {postponed} items of shard {part.number:05d} wait for another run of this")
            write_records(directory, kept, rejected, part.number, notes)


def _todo(corpus: CorpusConfig, config: DataConfig, directory: Path, worker: int, workers: int) -> Iterator[Part]:
    """What this worker has to do: every N-th part, without those whose shards are made from the same items."""
    found_before = {shard.number: shard.content for shard in shards.of_corpus(directory)}
    # Items that were postponed are tried again, and all of their shard is made with them.
    done = {number: None if before.get("retry") else before.get("items") for number, before in found_before.items()}
    found = 0
    for part in parts(corpora.read(corpus), config.prepare.shard_items, config.languages):
        found += 1
        if part.number % workers == worker and done.get(part.number) != part.described:
            yield part
    if done and max(done) >= found:
        raise CslmError(
            f"corpora.{corpus.name} has items for {found} shards now, and {directory} holds shard {max(done):05d}; "
            f"bring the rest back, or delete the shards from {found:05d} on"
        )


def _fingerprint(tokenizer: Path) -> str | None:
    """Identifies a speech tokenizer by its files; None where there is none (text needs none)."""
    found = files_of(tokenizer)
    if not found:
        return None
    return hashlib.sha256("".join(map(files.sha256_of, found)).encode()).hexdigest()


def _names(config: DataConfig) -> dict[str, str]:
    """Aligners by the name of their folder or file: they may move."""
    return {language: Path(path).name for language, path in config.aligners.items()}


def _check_unchanged(directory: Path, corpus: CorpusConfig, config: DataConfig, tokenizer: str | None) -> None:
    """Shards that are made from different things must not lie side by side."""
    decisive = {"shard_items": config.prepare.shard_items, "max_seconds": config.prepare.max_seconds}
    speak = corpus.speak and corpus.speak.recipe
    recipe = json.loads(json.dumps({**dataclasses.asdict(corpus), "speak": speak, **decisive}))
    path = directory / "recipe.json"
    if not path.is_file():
        files.write_json(path, recipe)
    # It was always 30 s before it became a field.
    before = {"max_seconds": 30.0, **files.read_json(path, "delete this file and run the same command again")}
    for field in {**recipe, **before}:
        # A field that a later version added is not set in either.
        if (recipe.get(field) or None) != (before.get(field) or None):
            raise CslmError(
                f"{directory} was made with {field} = {before.get(field)!r}, the config has {recipe.get(field)!r}; "
                "delete the folder, or give the corpus another name"
            )
    for shard in shards.of_corpus(directory):
        if shard.content["units"] and shard.content["tokenizer"] != tokenizer:
            raise CslmError(f"{directory} was made with another speech tokenizer; delete the folder to make it again")
        if shard.count("spoken_dialogue") and shard.content.get("aligners", {}) != _names(config):
            raise CslmError(
                f"{directory} was aligned with data.aligners = {shard.content.get('aligners', {})}, the config has "
                f"{_names(config)}; delete the folder to align it again"
            )


class _Progress:
    """Items, hours of speech done, and how many times faster than real time."""

    def __init__(self, name: str):
        self._bar = tqdm(desc=f"records of {name}", unit=" items", unit_scale=True)
        self._seconds, self._rejected, self._started = 0.0, 0, time.monotonic()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_) -> None:
        self._bar.close()

    def count(self, result: Record | Rejected) -> Record | Rejected:
        if isinstance(result, Rejected):
            self._rejected += 1
        else:
            self._seconds += sum(speech.seconds for speech in result.speeches())
        speed = self._seconds / (time.monotonic() - self._started)
        self._bar.set_postfix_str(
            f"{self._seconds / 3600:.2f} h, {speed:.0f} x real time, {self._rejected} rejected", refresh=False
        )
        self._bar.update()
        return result
