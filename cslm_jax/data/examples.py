"""Records as training examples: which record belongs to which task, and what chat it becomes (paper sections 2 and 3).

The user turns are made here for training and for evaluation alike, so that a model is asked as it was taught. Token
caches and seqio's tasks (tasks.py) both read from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from cslm_jax import chat
from cslm_jax.chat import Message, Units
from cslm_jax.data import prompts, records
from cslm_jax.data.caches import Example
from cslm_jax.data.catalogue import READS, Family, TaskSpec
from cslm_jax.data.config import DataConfig, Split
from cslm_jax.data.records import Dialogue, Record, SpokenDialogue, SpokenText, Translation, Utterance
from cslm_jax.errors import BadRecord
from cslm_jax.speech.chunks import chunk
from cslm_jax.vocabulary import JointVocabulary

SetAside = Callable[[str, BadRecord], None]
"""Is told the id of a record that gives no example, and why."""


def read_examples(
    task: TaskSpec, split: Split, config: DataConfig, vocabulary: JointVocabulary, set_aside: SetAside
) -> Iterator[Example]:
    """All examples of a task, in the order of its records; bad records are set aside.

    Raises:
        CslmError: a shard is truncated or corrupted; the message names the file.
    """
    for kind in READS[task.family]:
        for content in records.read_bytes(config.records, kind):
            try:
                record = records.from_bytes(kind, content)
                if record.split == split:
                    yield from examples(record, task, config, vocabulary)
            except BadRecord as error:
                set_aside(records.id_of(content), error)


def takes(task: TaskSpec, record: Record) -> bool:
    """Whether a task reads a record: the languages are there and the corpus is meant for it."""
    if task.family == "plain":
        return True
    if record.use and not _uses(task) & set(record.use):
        return False
    match record:
        case Translation():
            return task.source in record.texts and task.target in record.texts
        case SpokenDialogue():
            return task.source in record.question and task.target in record.answer
        case _:
            return record.language == task.source


def _uses(task: TaskSpec) -> set[str]:
    if task.family == "s2s":
        return {"s2s", "s2s_mono" if task.source == task.target else "s2s_cross"}
    return {task.family}


def examples(record: Record, task: TaskSpec, config: DataConfig, vocabulary: JointVocabulary) -> Iterator[Example]:
    """The examples that a task makes of a record, none if it does not take it.

    Raises:
        BadRecord: a unit outside the vocabulary's codes; the reason names it.
    """
    if not takes(task, record):
        return
    if task.family == "plain":
        yield from _plain(record, vocabulary)
        return
    encoded = chat.encode(_CHATS[task.family](record, task, config, vocabulary), vocabulary, config.chat)
    yield Example(record.id, encoded.tokens, encoded.loss_weights)


# Questions, as evaluation asks them too ------------------------------------------------------------


def ask_asr(record: Utterance) -> Message:
    return _user(prompts.choose("asr", record.language, record.id), Units(record.speech.units))


def ask_tts(record: Utterance) -> Message:
    return _user(prompts.choose("tts", record.language, record.id), record.text)


def ask_mt(record: Translation, source: str, target: str) -> Message:
    return _user(prompts.choose("mt", source, record.id, target), record.texts[source])


def ask_s2s(speech: Units, instruction: str) -> Message:
    return _user(instruction, speech)


def _user(instruction: str, *parts: str | Units) -> Message:
    return Message("user", prompts.user_turn(instruction, parts))


# Whole chats ---------------------------------------------------------------------------------------


def _asr(record: Utterance, task: TaskSpec, config: DataConfig, vocabulary: JointVocabulary) -> list[Message]:
    return [ask_asr(record), Message("assistant", (record.text,))]


def _tts(record: Utterance, task: TaskSpec, config: DataConfig, vocabulary: JointVocabulary) -> list[Message]:
    return [ask_tts(record), Message("assistant", (Units(record.speech.units),))]


def _mt(record: Translation, task: TaskSpec, config: DataConfig, vocabulary: JointVocabulary) -> list[Message]:
    return [ask_mt(record, task.source, task.target), Message("assistant", (record.texts[task.target],))]


def _text(record: Dialogue, task: TaskSpec, config: DataConfig, vocabulary: JointVocabulary) -> list[Message]:
    return [Message(role, (text,)) for role, text in record.turns]


def _s2s(record: SpokenDialogue, task: TaskSpec, config: DataConfig, vocabulary: JointVocabulary) -> list[Message]:
    question, answer = record.question[task.source], record.answer[task.target]
    instruction = prompts.choose("s2s", task.source, record.id, task.target)
    content = chat.response(question.text, _told(answer, config), config.response_form, vocabulary)
    return [ask_s2s(Units(question.speech.units), instruction), Message("assistant", content)]


def _told(answer: SpokenText, config: DataConfig) -> list[tuple[str, np.ndarray]]:
    if config.response_form in chat.CHUNKED_FORMS:
        return pieces(answer, config.chunk_size)
    return [(answer.text, answer.speech.units)]


def pieces(answer: SpokenText, chunk_size: int) -> list[tuple[str, np.ndarray]]:
    """(TA, SA) pairs of an answer: its text in chunks, each with the units of its own span of time."""
    chunks = chunk(answer.text, answer.words, chunk_size, answer.speech.seconds)
    cut = [(piece.text, answer.speech.cut(piece.start_s, piece.end_s).units) for piece in chunks]
    for text, units in cut:
        if not len(units):
            raise BadRecord("chunk", f"the chunk {text!r} holds no unit")
    return cut


_CHATS: Mapping[Family, Callable[..., list[Message]]] = {
    "asr": _asr, "tts": _tts, "mt": _mt, "text": _text, "s2s": _s2s,
}  # fmt: skip


def _plain(record: Record, vocabulary: JointVocabulary) -> Iterator[Example]:
    """Each text of a record as plain text, for the text LM that the miniature begins with."""
    for i, text in enumerate(record.texts_said()):
        tokens = np.array([vocabulary.bos, *vocabulary.encode_text(text), vocabulary.eot], np.int32)
        weights = np.ones(len(tokens), np.float32)
        weights[0] = 0.0
        yield Example(f"{record.id}#{i}", tokens, weights)
