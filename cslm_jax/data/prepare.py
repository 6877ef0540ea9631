"""`cslm prepare`: corpora -> records -> token caches, resumable at any point.

A shard of a corpus and a cache of a task are each written whole or not at all, so rerunning the command does what is
left. Workers (`--worker=i/N`) share the shards of a corpus and need not know of each other: each shard has one worker that
makes it, and clears away what was left of it when that worker was killed.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cslm_jax.config import Experiment
from cslm_jax.data import corpora, ensure, files, shards
from cslm_jax.data.alignment import Alignment, languages_of_answers
from cslm_jax.data.config import DataConfig
from cslm_jax.data.corpora import CorpusConfig, Postponed, Rejected
from cslm_jax.data.parts import Part, parts
from cslm_jax.data.progress import Progress, size
from cslm_jax.data.recording import Load, LoadingProcesses, load_here, make_records
from cslm_jax.data.records import Record, SpokenDialogue, write_records
from cslm_jax.data.speak.dialogues import spoken
from cslm_jax.data.summary import text_tokens, write_summary
from cslm_jax.errors import CslmError
from cslm_jax.speech.tokenizer import SpeechTokenizer, files_of
from cslm_jax.vocabulary import JointVocabulary


def prepare(config: Experiment, worker: str = "0/1", caches: bool = False, summary: bool = False) -> None:
    """Makes the records and token caches that are not there yet, and writes WORKDIR/summary.json, lengths.png and rejected.jsonl.

    Args:
        worker: i/N: do only the shards of worker i (from 0) of N; with more than one worker, run once without it
            at the end, for what is left: the caches and the summary.
        caches: only the token caches, once all records are there; worker i of N makes those of every N-th task.
        summary: only look at what is there.

    Raises:
        CslmError: there is no vocabulary, or it has fewer units than the speech tokenizer: told before the long work; or
            the disk is full.
    """
    index, workers = _parse_worker(worker)
    if not summary:
        check_units(config.data)
        if not caches:
            make_records_of(config.corpora, config.data, index, workers)
        if caches or workers == 1:
            make_caches_of(config.data, index, workers)
    if summary or workers == 1:
        write_summary(config.data, Path(config.workdir))


def _parse_worker(worker: str) -> tuple[int, int]:
    index, _, workers = worker.partition("/")
    if not (index.isdecimal() and workers.isdecimal() and int(index) < int(workers)):
        raise CslmError(f"--worker={worker}: write i/N with i from 0 to N-1, e.g. 0/4")
    return int(index), int(workers)


def check_units(config: DataConfig) -> None:
    """Raises CslmError if the vocabulary has fewer units than the speech tokenizer. Corpora of text alone need no tokenizer."""
    vocabulary = JointVocabulary.load(config.vocabulary)
    if not files_of(config.tokenizer):
        return
    codes = SpeechTokenizer.load(config.tokenizer).config.codes
    if codes > vocabulary.codes:
        raise CslmError(
            f"the speech tokenizer in {config.tokenizer} has {codes} codes and the vocabulary in {config.vocabulary} "
            f"{vocabulary.codes}; set config.tokenizer.model.codes to {codes} and run `cslm vocabulary` again"
        )


def make_caches_of(config: DataConfig, worker: int = 0, workers: int = 1) -> None:
    """Makes the token caches of every N-th task with records, where they are missing."""
    ensure.make_missing_caches(config, ensure.with_records(config)[worker::workers])


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
    tokenizer = functools.cache(functools.partial(SpeechTokenizer.load, config.tokenizer, dtype=config.tokenizer_dtype))
    alignment = Alignment(config.aligners, tokenizer)
    alignment.check(languages_of_answers(chosen, config.languages))
    vocabulary = JointVocabulary.load(config.vocabulary)
    try:
        for corpus in chosen:
            _make_corpus(corpus, config, tokenizer, alignment, vocabulary, load, worker, workers)
    finally:
        if isinstance(load, LoadingProcesses):
            load.close()


def _make_corpus(
    corpus: CorpusConfig,
    config: DataConfig,
    tokenizer: Callable[[], SpeechTokenizer],
    alignment: Alignment,
    vocabulary: JointVocabulary,
    load: Load,
    worker: int,
    workers: int,
) -> None:
    directory = Path(config.records) / corpus.name
    fingerprint = _fingerprint(config)
    _check_unchanged(directory, corpus, config, fingerprint, worker)
    done = _done(directory)
    begun: collections.deque[Part] = collections.deque()  # not a tee, which keeps 57 parts
    todo = _noted(_todo(corpus, config, done, worker, workers), begun)
    items = spoken((item for part in todo for item in part.items), corpus, config.languages)
    made = make_records(items, corpus, config.languages, tokenizer, load, config.prepare.together, alignment)
    work = (size, corpus, config.prepare.shard_items, worker, workers, set(done))
    count = functools.partial(load.submit, *work) if isinstance(load, LoadingProcesses) else None
    with Progress(corpus.name, count) as progress:
        results: list[Record | Rejected] = []
        for result in made:
            if not results:
                progress.begin_shard()
            results.append(progress.count(result))
            if len(results) == len(begun[0].items):
                part = begun.popleft()
                notes = {"tokenizer": fingerprint, "aligners": _aligned_by(results, config), "items": part.described}
                _write(directory, results, part.number, notes, vocabulary)
                results = []


def _noted(parts: Iterable[Part], begun: collections.deque[Part]) -> Iterator[Part]:
    for part in parts:
        begun.append(part)
        yield part


def _write(
    directory: Path, results: Sequence[Record | Rejected], number: int, notes: Mapping[str, Any], vocabulary: JointVocabulary
) -> None:
    rejected = [dataclasses.asdict(result) for result in results if isinstance(result, Rejected)]
    kept = [result for result in results if not isinstance(result, Rejected)]
    notes = {**notes, "text_tokens": {"vocabulary": vocabulary.sha256, "tokens": text_tokens(kept, vocabulary)}}
    if postponed := sum(isinstance(result, Postponed) for result in results):
        notes["retry"] = postponed
        tqdm.write(f"{directory}: {postponed} items of shard {number:05d} wait for another run of this")
    write_records(directory, kept, rejected, number, notes)


def _done(directory: Path) -> dict[int, Any]:
    """The items that each finished shard was made from; None where some were postponed, for all of it is made again with them."""
    return {
        shard.number: None if shard.content.get("retry") else shard.content.get("items") for shard in shards.of_corpus(directory)
    }


def _todo(corpus: CorpusConfig, config: DataConfig, done: Mapping[int, Any], worker: int, workers: int) -> Iterator[Part]:
    """What this worker has to do: every N-th part, without those whose shards are made from the same items."""
    found = 0
    for part in parts(corpora.read(corpus), config.prepare.shard_items, config.languages, corpus.path):
        found += 1
        if part.number % workers == worker and done.get(part.number) != part.described:
            yield part
    if done and max(done) >= found:
        raise CslmError(
            f"corpora.{corpus.name} has items for {found} shards now, and {config.records}/{corpus.name} holds shard "
            f"{max(done):05d}; bring the rest back, or delete the shards from {found:05d} on"
        )


def _fingerprint(config: DataConfig) -> str | None:
    """Identifies the units of a speech tokenizer by its files and numbers; None where there is none (text needs none)."""
    found = files_of(config.tokenizer)
    if not found:
        return None
    sha256 = hashlib.sha256("".join(map(files.sha256_of, found)).encode()).hexdigest()
    return f"{sha256} {config.tokenizer_dtype}" if config.tokenizer_dtype else sha256


def _names(config: DataConfig) -> dict[str, str]:
    """Aligners by the name of their folder or file: they may move."""
    return {language: Path(path).name for language, path in config.aligners.items()}


def _aligned_by(results: Sequence[Record | Rejected], config: DataConfig) -> dict[str, str | None]:
    """What aligned the answers in each of their languages; None for the tokenizer's own recogniser."""
    answered = {language for result in results if isinstance(result, SpokenDialogue) for language in result.answer}
    return {language: _names(config).get(language) for language in sorted(answered)}


def _check_unchanged(directory: Path, corpus: CorpusConfig, config: DataConfig, tokenizer: str | None, worker: int) -> None:
    """Shards that are made from different things must not lie side by side."""
    decisive = {"shard_items": config.prepare.shard_items, "max_seconds": config.prepare.max_seconds}
    speak = corpus.speak and corpus.speak.recipe
    recipe = json.loads(json.dumps({**dataclasses.asdict(corpus), "speak": speak, **decisive}))
    path = directory / "recipe.json"
    if worker == 0 and not path.is_file():
        files.clear_leftovers(directory, path.name)
        files.write_json(path, recipe)
    # Like every file it has one worker that makes it; those that were there before it have nothing to compare with.
    before = files.read_json(path, "delete this file and run the same command again") if path.is_file() else recipe
    before = {"max_seconds": 30.0, **before}  # it was always 30 s before it became a field
    for field in {**recipe, **before}:
        # A field that a later version added is not set in either.
        if (recipe.get(field) or None) != (before.get(field) or None):
            moved = f"; if it only moved, write its new path into {path}" if field == "path" else ""
            raise CslmError(
                f"{directory} was made with {field} = {before.get(field)!r}, the config has {recipe.get(field)!r}; "
                f"delete the folder, or give the corpus another name{moved}"
            )
    for shard in shards.of_corpus(directory):
        if shard.content["units"] and shard.content["tokenizer"] != tokenizer:
            raise CslmError(f"{directory} was made with another speech tokenizer; delete the folder to make it again")
        if shard.count("spoken_dialogue"):
            names = _names(config)
            aligned = shard.content.get("aligners") or dict.fromkeys(names)  # older shards name none where there was none
            configured = {language: names.get(language) for language in aligned}
            if aligned != configured:
                raise CslmError(
                    f"{directory} was aligned with data.aligners = {aligned}, the config has {configured}; "
                    "delete the folder to align it again"
                )
