"""Which measures there are for an experiment, and how each is computed."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence

from cslm_jax.config import Experiment
from cslm_jax.evaluate import measures
from cslm_jax.evaluate.config import EvaluateConfig
from cslm_jax.evaluate.held_out import HeldOut
from cslm_jax.evaluate.judge import JUDGES
from cslm_jax.evaluate.language_id import LanguageIdentifier
from cslm_jax.evaluate.measures import Generation, Result
from cslm_jax.evaluate.natural import NaturalRecordings
from cslm_jax.evaluate.system import System

Measure = Callable[[], Result]


def names(languages: Sequence[str]) -> list[str]:
    """All measures of some languages, in the order of the report: `asr_en` ... `s2s_en_zh` ... `similarity`."""
    single = [f"{kind}_{language}" for kind in ("asr", "tts", "recogniser") for language in languages]
    return [*single, *(f"s2s_{a}_{b}" for a, b in _directions(languages)), "similarity"]


def limit(name: str, config: EvaluateConfig) -> int:
    """Most items of a measure; 0 leaves it out."""
    return getattr(config, name.split("_")[0])


def plan(config: Experiment, held_out: HeldOut, system: System, natural: NaturalRecordings) -> dict[str, Measure]:
    """What can be measured on these held-out records, by name; a limit of 0 leaves a measure out."""
    limits, languages = config.evaluate, config.data.languages
    speaking = Generation(system, config.sampling, limits.batch)
    likeliest = dataclasses.replace(config.sampling, greedy=config.sampling.greedy or limits.greedy_transcripts)
    writing = dataclasses.replace(speaking, sampling=likeliest)
    found: dict[str, Measure] = {}
    for language in languages:
        if heard := held_out.spoken("asr", language, limits.asr):
            found[f"asr_{language}"] = functools.partial(measures.asr, heard, writing)
        if read := held_out.spoken("tts", language, limits.tts):
            found[f"tts_{language}"] = functools.partial(measures.tts, read, speaking)
        if recorded := held_out.spoken("asr", language, limits.recogniser):
            found[f"recogniser_{language}"] = functools.partial(measures.recogniser, recorded, natural, system)
    found |= _speech_to_speech(config, held_out, speaking, natural)
    pairs = {language: held_out.spoken("asr", language, limits.similarity) for language in languages}
    if pairs := {language: spoken for language, spoken in pairs.items() if len(spoken) > 1}:
        found["similarity"] = functools.partial(measures.similarity, pairs, system, limits.seed)
    return {name: found[name] for name in names(languages) if name in found}


def _speech_to_speech(
    config: Experiment, held_out: HeldOut, speaking: Generation, natural: NaturalRecordings
) -> dict[str, Measure]:
    limits = config.evaluate
    identifier = functools.cache(lambda: LanguageIdentifier(config.data.languages))
    shown = limits.samples if limits.recogniser else 0
    found = {}
    for source, target in _directions(config.data.languages):
        if asked := held_out.asked(source, target, limits.s2s):
            compute = functools.partial(
                measures.speech_to_speech, asked, source, target, speaking, JUDGES[limits.judge], identifier()
            )
            found[f"s2s_{source}_{target}"] = functools.partial(_with_questions, compute, asked[:shown], source, natural)
    return found


def _with_questions(compute: Measure, asked: Sequence, source: str, natural: NaturalRecordings) -> Result:
    questions = [natural.load(dialogue.id, dialogue.question[source].text) for dialogue in asked]
    return dataclasses.replace(compute(), questions=questions)


def _directions(languages: Sequence[str]) -> list[tuple[str, str]]:
    """Mono-lingual ones first."""
    return sorted(itertools.product(languages, repeat=2), key=lambda pair: pair[0] != pair[1])
