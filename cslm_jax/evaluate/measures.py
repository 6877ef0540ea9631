"""The measures of the paper (section 5), each a function from held-out records to a result."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from cslm_jax import chat
from cslm_jax.data import examples
from cslm_jax.data.records import SpokenDialogue, Utterance
from cslm_jax.evaluate.judge import Answer, Judge
from cslm_jax.evaluate.language_id import LanguageIdentifier
from cslm_jax.evaluate.metrics import error_rate, interval, rate_name
from cslm_jax.evaluate.natural import NaturalRecordings
from cslm_jax.evaluate.similarity import cosines, pooled
from cslm_jax.evaluate.system import Spoken, System
from cslm_jax.generate.sampling import SamplingConfig
from cslm_jax.speech import audio


@dataclasses.dataclass(frozen=True)
class Result:
    """One measure over held-out records."""

    values: Mapping[str, float]
    """Named as in report.json."""
    n: int
    """Records behind the values."""
    intervals: Mapping[str, tuple[float, float]]
    """95% bootstrap intervals of the values that are taken over records."""
    items: Sequence[dict[str, Any]] = ()
    """What was asked and what came out, record by record."""
    sounds: Sequence[Spoken] = ()
    """What was spoken, in the order of the items."""
    questions: Sequence[Float[np.ndarray, "S"]] = ()
    """Natural recordings (16 kHz) of what was asked, of the first items."""


@dataclasses.dataclass(frozen=True)
class Generation:
    """How the model is let to write and speak."""

    system: System
    sampling: SamplingConfig
    batch: int
    """Prompts at once."""

    def respond(self, questions: Sequence[chat.Message], title: str) -> list[chat.Response]:
        return self.system.respond([[question] for question in questions], self.sampling, self.batch, title)


def asr(utterances: Sequence[Utterance], generation: Generation) -> Result:
    """WER or CER of the model's transcripts of held-out speech, all in one language."""
    questions = [examples.ask_asr(spoken, generation.system.prompts) for spoken in utterances]
    responses = generation.respond(questions, f"asr {utterances[0].language}")
    return _rate(utterances, [response.text for response in responses])


def recogniser(utterances: Sequence[Utterance], natural: NaturalRecordings, system: System) -> Result:
    """WER or CER of the recogniser on natural recordings: how much of the other rates may be its own."""
    recordings = [natural.load(utterance.id, utterance.text) for utterance in utterances]
    return _rate(utterances, system.transcribe(recordings, audio.SAMPLE_RATE))


def tts(utterances: Sequence[Utterance], generation: Generation) -> Result:
    """WER or CER of what the recogniser hears when the model speaks held-out texts, all in one language."""
    questions = [examples.ask_tts(spoken, generation.system.prompts) for spoken in utterances]
    responses = generation.respond(questions, f"tts {utterances[0].language}")
    sounds = generation.system.speak([[response.units] for response in responses])
    return dataclasses.replace(_rate(utterances, [sound.transcript for sound in sounds]), sounds=sounds)


def speech_to_speech(
    dialogues: Sequence[SpokenDialogue],
    source: str,
    target: str,
    generation: Generation,
    judge: Judge,
    identifier: LanguageIdentifier,
) -> Result:
    """Answers in `target` to questions spoken in `source`: correct? spoken as written? in the language asked for?"""
    instruction = generation.system.prompts.of_inference(source, target)
    questions = [examples.ask_s2s(chat.Units(dialogue.question[source].speech.units), instruction) for dialogue in dialogues]
    responses = generation.respond(questions, f"s2s {source} -> {target}")
    sounds = generation.system.speak([[piece.units for piece in response.pieces] for response in responses])
    items = []
    for dialogue, response, sound in zip(dialogues, responses, sounds, strict=True):
        question, reference = dialogue.question[source].text, dialogue.answer[target].text
        items.append(
            {
                "id": dialogue.id,
                "question": question,
                "heard": response.question,
                "reference": reference,
                "answer": response.text,
                "pieces": _spoken_texts(response),
                "transcript": sound.transcript,
                "correct": judge(Answer(question, reference, response.text, target)),
                "off_target": identifier.is_off_target(response.text, target),
                "complaints": list(response.complaints),
            }
        )
    return _judged(items, sounds, target)


def _spoken_texts(response: chat.Response) -> list[str]:
    """The text of each piece that has a sound; a piece without one belongs to the next, at the end to the last."""
    texts, waiting = [], ""
    for piece in response.pieces:
        waiting += piece.text
        if piece.units.size:
            texts.append(waiting)
            waiting = ""
    return [*texts[:-1], texts[-1] + waiting] if texts else []


def _judged(items: Sequence[dict[str, Any]], sounds: Sequence[Spoken], target: str) -> Result:
    spoken = error_rate([item["answer"] for item in items], [item["transcript"] for item in items], target)
    correct, off_target = ([float(item[name]) for item in items] for name in ("correct", "off_target"))
    values = {
        "answer_accuracy": float(np.mean(correct)),
        "asr_er": spoken.rate,
        "off_target_text": float(np.mean(off_target)),
    }
    intervals = {
        "answer_accuracy": interval(correct),
        "asr_er": interval(spoken.edits, spoken.lengths),
        "off_target_text": interval(off_target),
    }
    return Result(values, len(items), intervals, items, sounds)


def similarity(utterances: Mapping[str, Sequence[Utterance]], system: System, seed: int = 0) -> Result:
    """Cosine of speech and text inside the model, parallel and random; pairs stay inside a language.

    Args:
        utterances: by language, at least two each.
    """
    found = []
    for spoken in utterances.values():
        speech = pooled(system.generator, [chat.Units(utterance.speech.units) for utterance in spoken])
        text = pooled(system.generator, [utterance.text for utterance in spoken])
        found.append(cosines(speech, text, seed))
    parallel, random = (np.concatenate([getattr(part, name) for part in found]) for name in ("parallel", "random"))
    return Result(
        {"parallel": float(parallel.mean()), "random": float(random.mean())},
        len(parallel),
        {"parallel": interval(parallel), "random": interval(random)},
    )


def _rate(utterances: Sequence[Utterance], heard: Sequence[str]) -> Result:
    """Error rate of transcripts; all utterances are in one language."""
    language = utterances[0].language
    rate = error_rate([utterance.text for utterance in utterances], heard, language)
    name = f"{rate_name(language)}_{language}"
    items = [
        {"id": utterance.id, "reference": utterance.text, "transcript": text, "edits": edits}
        for utterance, text, edits in zip(utterances, heard, rate.edits, strict=True)
    ]
    return Result({name: rate.rate}, rate.n, {name: interval(rate.edits, rate.lengths)}, items)
