"""`cslm bench prepare`: how fast one process makes tokens of records, and where the time goes."""

from __future__ import annotations

import cProfile
import dataclasses
import functools
import itertools
import os
import pstats
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cslm_jax.bench import report
from cslm_jax.bench.timing import Spread
from cslm_jax.bench.turns import Stopwatch
from cslm_jax.config import Experiment
from cslm_jax.data import caches, corpora
from cslm_jax.data.catalogue import TaskSpec
from cslm_jax.data.config import DataConfig
from cslm_jax.data.corpora import CorpusConfig, miniature
from cslm_jax.data.examples import read_examples
from cslm_jax.data.records import Dialogue, Record, Translation, Utterance, write_records
from cslm_jax.miniature.lexicon import LANGUAGES
from cslm_jax.speech.units import Speech
from cslm_jax.text.sentencepiece import SentencePieceText
from cslm_jax.vocabulary import JointVocabulary

TASKS = tuple(TaskSpec(*task) for task in (("mt", "en", "zh"), ("asr", "en", "en"), ("tts", "zh", "zh"), ("text", "en", "en")))
FRAMES = 100
"""Of each recording: 4 seconds."""


def prepare(config: Experiment, examples: int = 20_000, repetitions: int = 5, entries: int = 12, json: str | None = None) -> None:
    """Times what `cslm prepare` does once the sound is units: records are read, made chats and tokens, and written as caches.

    The records are short sentences of the miniature with made-up units. The vocabulary is the config's; with
    data.synthetic a small one is trained.

    Args:
        examples: of each task.
        repetitions: what is timed; one more comes before it.
        entries: functions that the profile of each task names.
        json: file for the same figures.
    """
    with tempfile.TemporaryDirectory() as folder:
        data = dataclasses.replace(config.data, records=f"{folder}/records", cache=f"{folder}/cache", languages=LANGUAGES)
        vocabulary = _small_vocabulary() if data.synthetic else JointVocabulary.load(data.vocabulary)
        results = []
        for task in TASKS:
            write_records(Path(data.records) / "made", itertools.islice(_records(task, vocabulary.codes), examples))
            results.append(_measure(task, data, vocabulary, repetitions, entries))
    report.publish("prepare", config, {**report.describe_devices(), "load": os.getloadavg()[0]}, results, json)


def _measure(task: TaskSpec, data: DataConfig, vocabulary: JointVocabulary, repetitions: int, entries: int) -> dict[str, Any]:
    recipe = caches.recipe(data, task, vocabulary.sha256)
    turns = []
    for _ in range(1 + repetitions):
        watch = Stopwatch()
        _make(task, data, vocabulary, recipe)
        turns.append(watch.read())
    made = caches.Cache(caches.directory(data, recipe))
    examples = len(made.lengths)
    profile = cProfile.Profile()
    profile.runcall(_make, task, data, vocabulary, recipe)
    print(f"{task.name}, by the time inside of each function (a profile slows small functions most):")
    shares = _shares(profile, entries)
    print("".join(f"  {100 * share:4.1f}%  {function}\n" for function, share in shares.items()))
    return {
        "task": task.name,
        "examples": examples,
        "tokens_per_example": float(made.lengths.mean()),
        "examples_per_second": Spread.of([examples / turn["seconds"] for turn in turns[1:]]),
        "examples_per_cpu_second": Spread.of([examples / turn["cpu_seconds"] for turn in turns[1:]]),
        "profile": shares,
    }


def _make(task: TaskSpec, data: DataConfig, vocabulary: JointVocabulary, recipe: Mapping[str, Any]) -> None:
    def set_aside(id: str, file: Path, error: Exception) -> None:
        raise error

    caches.write(caches.directory(data, recipe), recipe, lambda _: read_examples(task, "train", data, vocabulary, set_aside))


def _shares(profile: cProfile.Profile, entries: int) -> dict[str, float]:
    """The functions that most time was spent in, without what they called, and their shares of all time."""
    stats = pstats.Stats(profile)
    own = {_name(*key): values[2] for key, values in stats.stats.items()}
    top = sorted(own.items(), key=lambda item: -item[1])[:entries]
    return {name: seconds / stats.total_tt for name, seconds in top}


def _name(file: str, line: int, function: str) -> str:
    return function if file == "~" else f"{'/'.join(Path(file).parts[-2:])}:{line} {function}"


def _records(task: TaskSpec, codes: int) -> Iterator[Record]:
    """Endlessly many records of the kind that a task reads, in its language."""
    random = np.random.default_rng(0)
    for i in itertools.count():
        if task.family == "text":
            known = _dialogues(task.source)
            yield dataclasses.replace(known[i % len(known)], id=f"dialogue-{i}", split="train")
            continue
        texts = miniature.statements(0)[i % len(miniature.statements(0))].text
        if task.family == "mt":
            yield Translation(id=f"translation-{i}", texts={language: texts[language] for language in LANGUAGES})
        else:
            heard = Speech.from_frames(random.integers(codes, size=FRAMES))
            yield Utterance(id=f"recording-{i}", language=task.source, text=texts[task.source], speech=heard)


@functools.cache
def _dialogues(language: str) -> list[Dialogue]:
    items = corpora.read(CorpusConfig("dialogues", "miniature", "dialogues"))
    return [dialogue for dialogue in items if dialogue.language == language]


def _small_vocabulary() -> JointVocabulary:
    lines = [statement.text[language] for statement in miniature.statements(0)[:2000] for language in LANGUAGES]
    return JointVocabulary(SentencePieceText.train(lines, 1000), codes=256)
