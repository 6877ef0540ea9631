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
from cslm_jax.data.alignment import Alignment, Heard
from cslm_jax.data.corpora import CorpusConfig, Item, Postponed, Recording, Rejected, SpokenDialogueItem, WrittenDialogue
from cslm_jax.data.records import Record, SpokenDialogue, SpokenText, Utterance
from cslm_jax.errors import BadRecord, CslmError, TryAgain
from cslm_jax.speech import align
from cslm_jax.speech.tokenizer import SpeechTokenizer

# Recordings that a process loads in one go.
_LOADED_TOGETHER = 16

A, B = TypeVar("A"), TypeVar("B")
Loaded = Float[np.ndarray, "S"] | BadRecord
Load = Callable[[Sequence[Recording]], Iterator[Loaded]]


def load_here(recordings: Iterable[Recording], max_seconds: float = 30.0) -> Iterator[Loaded]:
    """The sound of recordings in order, or why there is none."""
    for recording in recordings:
        try:
            yield recording.load(max_seconds)
        except BadRecord as error:
            yield error
        except OSError as error:
            yield BadRecord("audio", f"{recording.file or recording.id} cannot be read: {error}")


class LoadingProcesses:
    """`load_here` in several processes, which begin at once; whoever calls it bounds how many recordings that are."""

    def __init__(self, processes: int, max_seconds: float = 30.0):
        # Not forked: this process runs JAX, whose threads a fork would break.
        context = multiprocessing.get_context("spawn")
        self._pool = concurrent.futures.ProcessPoolExecutor(processes, mp_context=context, initializer=_end_with_parent)
        self._max_seconds = max_seconds

    def __call__(self, recordings: Sequence[Recording]) -> Iterator[Loaded]:
        starts = range(0, len(recordings), _LOADED_TOGETHER)
        goes = [self.submit(_load_list, recordings[i : i + _LOADED_TOGETHER], self._max_seconds) for i in starts]
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


def _load_list(recordings: Sequence[Recording], max_seconds: float) -> list[Loaded]:
    return list(load_here(recordings, max_seconds))


def make_records(
    items: Iterable[Item],
    corpus: CorpusConfig,
    languages: Sequence[str],
    tokenizer: Callable[[], SpeechTokenizer],
    load: Load = load_here,
    together: int = 512,
    alignment: Alignment | None = None,
) -> Iterator[Record | Rejected]:
    """The record of each item, or the reason why there is none; in order.

    Args:
        languages: the ones that there are tasks for; items in others are set aside.
        tokenizer: gives the speech tokenizer; not called where no item has sound.
        load: loads sound, possibly before it is asked for.
        together: recordings that go through the tokenizer at once; the sound of three times as many is in memory.
        alignment: times the words of spoken answers; left out, by the tokenizer's own recogniser.
    """
    alignment = alignment or Alignment({}, tokenizer)
    groups = _groups(items, together)

    def hear(group: Sequence[Item], sounds: Iterator[Loaded]) -> list[Heard | BadRecord]:
        return alignment.of_answers(group, _analyse(sounds, tokenizer), languages)

    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="hear") as device:
        loading = _begun_ahead(groups, lambda group: load([sound for item in group for sound in corpora.recordings(item)]))
        hearing = _begun_ahead(loading, lambda loaded: device.submit(hear, *loaded))
        for (group, _), results in hearing:
            heard = iter(results.result())
            for item in group:
                mine = list(itertools.islice(heard, len(corpora.recordings(item))))
                yield _attempt(item, mine, corpus, languages)


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


def _analyse(loading: Iterator[Loaded], tokenizer: Callable[[], SpeechTokenizer]) -> list[Heard | BadRecord]:
    sounds = list(loading)
    if all(isinstance(sound, BadRecord) for sound in sounds):
        return sounds
    heard = tokenizer().analyse_each(sounds)
    return [one if isinstance(one, BadRecord) else Heard(sound, one) for sound, one in zip(sounds, heard, strict=True)]


def _attempt(
    item: Item,
    heard: Sequence[Heard | BadRecord],
    corpus: CorpusConfig,
    languages: Sequence[str],
) -> Record | Rejected:
    if isinstance(item, Rejected):
        return item
    recording = None
    try:
        for recording, found in zip(corpora.recordings(item), heard, strict=True):
            _check(recording, found)
        recording = None
        for language in corpora.languages(item):
            if language not in languages:
                known = ", ".join(languages)
                raise BadRecord("record", f"field `language` is {language!r}; data.languages has {known}")
        return _record(item, heard, corpus)
    except BadRecord as error:
        kind = Postponed if isinstance(error, TryAgain) else Rejected
        place = recording.file or recording.id if recording else _file(item)
        return kind(item.id, place, error.stage, error.reason)


def _check(recording: Recording, heard: Heard | BadRecord) -> None:
    if isinstance(heard, BadRecord):
        raise heard
    if not recording.text.strip():
        raise BadRecord("text", "field `text` is empty")
    if not align.words(recording.text, recording.language):
        raise BadRecord("text", f"field `text` has nothing that can be spoken: {recording.text[:40]!r}")


def _file(item: Item) -> str:
    recordings = corpora.recordings(item)
    return recordings[0].file if recordings else ""


def _record(item: Item, heard: Sequence[Heard], corpus: CorpusConfig) -> Record:
    use = corpus.uses_of(item.id)
    match item:
        case Recording():
            return Utterance(
                id=item.id, split=item.split, use=use, language=item.language, text=item.text,
                speech=heard[0].analysis.speech, speaker=item.speaker,
            )  # fmt: skip
        case SpokenDialogueItem():
            asked, answered = heard[: len(item.question)], heard[len(item.question) :]
            return SpokenDialogue(
                id=item.id, split=item.split, use=use,
                question={language: SpokenText(recording.text, found.analysis.speech)
                          for (language, recording), found in zip(item.question.items(), asked, strict=True)},
                answer={language: _aligned(recording, found)
                        for (language, recording), found in zip(item.answer.items(), answered, strict=True)},
            )  # fmt: skip
        case WrittenDialogue():
            raise CslmError(f"corpora.{corpus.name} gives written dialogues; its `speak` says who speaks them")
        case _:
            return dataclasses.replace(item, use=item.use or use)


def _aligned(recording: Recording, heard: Heard) -> SpokenText:
    if isinstance(heard.words, BadRecord):
        raise heard.words
    return SpokenText(recording.text, heard.analysis.speech, heard.words)
