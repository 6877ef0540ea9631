"""Corpora -> records. Three things go on at once: other processes load the sound of the next recordings, the device tokenises
these, and this process aligns and writes the ones before."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import itertools
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float

from cslm_jax.data import corpora
from cslm_jax.data.corpora import CorpusConfig, Item, Recording, Rejected, SpokenDialogueItem
from cslm_jax.data.records import Record, SpokenDialogue, SpokenText, Utterance
from cslm_jax.errors import BadRecord, CslmError
from cslm_jax.speech import align
from cslm_jax.speech.tokenizer import Analysis, SpeechTokenizer

# Recordings that a process loads in one go.
_LOADED_TOGETHER = 16

A, B = TypeVar("A"), TypeVar("B")
Loaded = Float[np.ndarray, "S"] | BadRecord
Load = Callable[[Sequence[Recording]], Iterator[Loaded]]


def load_here(recordings: Iterable[Recording]) -> Iterator[Loaded]:
    """The sound of recordings in order, or why there is none."""
    for recording in recordings:
        try:
            yield recording.load()
        except BadRecord as error:
            yield error
        except OSError as error:
            yield BadRecord("audio", f"{recording.file or recording.id} cannot be read: {error}")


class LoadingProcesses:
    """`load_here` in several processes, which begin at once; whoever calls it bounds how many recordings that are."""

    def __init__(self, processes: int):
        # Not forked: this process runs JAX, whose threads a fork would break.
        context = multiprocessing.get_context("spawn")
        self._pool = concurrent.futures.ProcessPoolExecutor(processes, mp_context=context, initializer=_end_with_parent)

    def __call__(self, recordings: Sequence[Recording]) -> Iterator[Loaded]:
        starts = range(0, len(recordings), _LOADED_TOGETHER)
        goes = [self.submit(_load_list, recordings[start : start + _LOADED_TOGETHER]) for start in starts]
        return itertools.chain.from_iterable(map(_result, goes))

    def submit(self, function: Callable[..., A], *arguments: Any) -> concurrent.futures.Future[A]:
        """Runs something else in one of the processes."""
        return self._pool.submit(function, *arguments)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def _result(go: concurrent.futures.Future[A]) -> A:
    try:
        return go.result()
    except BrokenProcessPool as error:
        raise CslmError(
            "a process that loads sound was killed, which the system does when memory runs out; lower data.prepare.processes "
            "or data.prepare.together, and run the same command again: it goes on with what is finished"
        ) from error


def _end_with_parent() -> None:
    """A pool's processes would wait for work for ever when this process is killed."""

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _load_list(recordings: Sequence[Recording]) -> list[Loaded]:
    return list(load_here(recordings))


def make_records(
    items: Iterable[Item],
    corpus: CorpusConfig,
    languages: Sequence[str],
    tokenizer: Callable[[], SpeechTokenizer],
    load: Load = load_here,
    together: int = 512,
) -> Iterator[Record | Rejected]:
    """The record of each item, or the reason why there is none; in order.

    Args:
        languages: the ones that there are tasks for; items in others are set aside.
        tokenizer: gives the speech tokenizer; not called where no item has sound.
        load: loads sound, possibly before it is asked for.
        together: recordings that go through the tokenizer at once; the sound of three times as many is in memory.
    """
    groups = _groups(items, together)
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="tokenise") as device:
        loading = _begun_ahead(groups, lambda group: load([sound for item in group for sound in corpora.recordings(item)]))
        analysing = _begun_ahead(loading, lambda loaded: device.submit(_analyse, loaded[1], tokenizer))
        for (group, _), analyses in analysing:
            heard = iter(analyses.result())
            for item in group:
                mine = list(itertools.islice(heard, len(corpora.recordings(item))))
                yield _attempt(item, mine, corpus, languages, tokenizer)


def _begun_ahead(inputs: Iterable[A], begin: Callable[[A], B]) -> Iterator[tuple[A, B]]:
    """Each input and what was begun for it, once the next one has begun too."""
    waiting: collections.deque[tuple[A, B]] = collections.deque()
    for one in inputs:
        waiting.append((one, begin(one)))
        if len(waiting) > 1:
            yield waiting.popleft()
    yield from waiting


def _groups(items: Iterable[Item], together: int) -> Iterator[list[Item]]:
    """Items with at least `together` recordings (or, without sound, as many items), except at the end."""
    group: list[Item] = []
    size = 0
    for item in items:
        group.append(item)
        size += max(1, len(corpora.recordings(item)))
        if size >= together:
            yield group
            group, size = [], 0
    if group:
        yield group


def _analyse(loading: Iterator[Loaded], tokenizer: Callable[[], SpeechTokenizer]) -> list[Analysis | BadRecord]:
    sounds = list(loading)
    good = [i for i, sound in enumerate(sounds) if not isinstance(sound, BadRecord)]
    results: list[Analysis | BadRecord] = list(sounds)
    if good:
        for i, analysis in zip(good, tokenizer().analyse([sounds[i] for i in good]), strict=True):
            results[i] = analysis
    return results


def _attempt(
    item: Item,
    heard: Sequence[Analysis | BadRecord],
    corpus: CorpusConfig,
    languages: Sequence[str],
    tokenizer: Callable[[], SpeechTokenizer],
) -> Record | Rejected:
    if isinstance(item, Rejected):
        return item
    recording = None
    try:
        for recording, analysis in zip(corpora.recordings(item), heard, strict=True):
            _check(recording, analysis)
        recording = None
        record = _record(item, heard, corpus, tokenizer)
        for language in record.languages:
            if language not in languages:
                known = ", ".join(languages)
                raise BadRecord("record", f"field `language` is {language!r}; data.languages has {known}")
        return record
    except BadRecord as error:
        return Rejected(item.id, recording.file if recording else _file(item), error.stage, error.reason)


def _check(recording: Recording, analysis: Analysis | BadRecord) -> None:
    if isinstance(analysis, BadRecord):
        raise analysis
    if not recording.text.strip():
        raise BadRecord("text", "field `text` is empty")
    if not align.words(recording.text, recording.language):
        raise BadRecord("text", f"field `text` has nothing that can be spoken: {recording.text[:40]!r}")


def _file(item: Item) -> str:
    recordings = corpora.recordings(item)
    return recordings[0].file if recordings else ""


def _record(item: Item, heard: Sequence[Analysis], corpus: CorpusConfig, tokenizer: Callable[[], SpeechTokenizer]) -> Record:
    use = corpus.uses_of(item.id)
    match item:
        case Recording():
            return Utterance(
                id=item.id, split=item.split, use=use, language=item.language, text=item.text,
                speech=heard[0].speech, speaker=item.speaker,
            )  # fmt: skip
        case SpokenDialogueItem():
            asked, answered = heard[: len(item.question)], heard[len(item.question) :]
            return SpokenDialogue(
                id=item.id, split=item.split, use=use,
                question={language: SpokenText(recording.text, analysis.speech)
                          for (language, recording), analysis in zip(item.question.items(), asked, strict=True)},
                answer={language: _aligned(recording, analysis, tokenizer)
                        for (language, recording), analysis in zip(item.answer.items(), answered, strict=True)},
            )  # fmt: skip
        case _:
            return dataclasses.replace(item, use=item.use or use)


def _aligned(recording: Recording, analysis: Analysis, tokenizer: Callable[[], SpeechTokenizer]) -> SpokenText:
    rate = analysis.speech.unit_rate
    words = align.align(recording.text, recording.language, analysis.log_probs, tokenizer().labels, rate)
    return SpokenText(recording.text, analysis.speech, words)
