"""Records as training examples: which record belongs to which task, and what chat it becomes (paper sections 2 and 3).

The user turns are made here for training and for evaluation alike, so that a model is asked as it was taught. Token
caches and seqio's tasks (tasks.py) both read from here.
"""

from __future__ import annotations

import concurrent.futures
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from cslm_jax import chat
from cslm_jax.chat import Draft, Message, Units
from cslm_jax.data import prompts, records
from cslm_jax.data.caches import Example
from cslm_jax.data.catalogue import READS, Family, TaskSpec
from cslm_jax.data.config import DataConfig, Split
from cslm_jax.data.prompts import Instruction, Prompts
from cslm_jax.data.records import Dialogue, Record, SpokenDialogue, SpokenText, Translation, Utterance
from cslm_jax.errors import BadRecord
from cslm_jax.speech.chunks import chunk
from cslm_jax.vocabulary import JointVocabulary

# Examples whose texts are encoded at once.
_TOGETHER = 256

SetAside = Callable[[str, Path, BadRecord], None]
"""Is told the id of a record that gives no example, the file that it lies in, and why."""


def read_examples(
    task: TaskSpec, split: Split, config: DataConfig, vocabulary: JointVocabulary, set_aside: SetAside
) -> Iterator[Example]:
    """All examples of a task, in the order of its records; bad records are set aside.

    Raises:
        CslmError: a shard is truncated or corrupted; the message names the file.
    """
    drafts = _read_drafts(task, split, config, vocabulary, set_aside)
    groups = iter(lambda: list(itertools.islice(drafts, _TOGETHER)), [])
    # Tokenizers let go of the interpreter: while one group becomes tokens, the next is read.
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        waiting = None
        for group in groups:
            begun = thread.submit(_finished, group, vocabulary)
            if waiting is not None:
                yield from waiting.result()
            waiting = begun
        if waiting is not None:
            yield from waiting.result()


def _read_drafts(
    task: TaskSpec, split: Split, config: DataConfig, vocabulary: JointVocabulary, set_aside: SetAside
) -> Iterator[tuple[str, Draft]]:
    for kind in READS[task.family]:
        for file, content in records.read_bytes(config.records, kind):
            try:
                record = records.from_bytes(kind, content)
                if record.split == split:
                    yield from _drafts(record, task, config, vocabulary)
            except BadRecord as error:
                set_aside(records.id_of(content), file, error)


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
    yield from _finished(list(_drafts(record, task, config, vocabulary)), vocabulary)


def _drafts(record: Record, task: TaskSpec, config: DataConfig, vocabulary: JointVocabulary) -> Iterator[tuple[str, Draft]]:
    """Ids and chats of the examples."""
    if not takes(task, record):
        return
    if task.family == "plain":
        # Each text by itself, for the text LM that the miniature begins with.
        for i, text in enumerate(record.texts_said()):
            yield f"{record.id}#{i}", chat.plain(text, vocabulary)
    else:
        yield record.id, chat.draft(_CHATS[task.family](record, task, config, vocabulary), vocabulary, config.chat)


def _finished(drafts: Sequence[tuple[str, Draft]], vocabulary: JointVocabulary) -> list[Example]:
    encoded = chat.finish([draft for _, draft in drafts], vocabulary) if drafts else []
    return [Example(id, each.tokens, each.loss_weights) for (id, _), each in zip(drafts, encoded, strict=True)]


# Questions, as evaluation asks them too ------------------------------------------------------------


def ask_asr(record: Utterance, prompts: Prompts) -> Message:
    return _user(prompts.choose("asr", record.language, record.id), Units(record.speech.units))


def ask_tts(record: Utterance, prompts: Prompts) -> Message:
    return _user(prompts.choose("tts", record.language, record.id), record.text)


def ask_mt(record: Translation, source: str, target: str, prompts: Prompts) -> Message:
    return _user(prompts.choose("mt", source, record.id, target), record.texts[source])


def ask_s2s(speech: Units, instruction: Instruction) -> Message:
    return _user(instruction, speech)


def _user(instruction: Instruction, *parts: str | Units) -> Message:
    return Message("user", instruction.turn(*parts))


# Whole chats ---------------------------------------------------------------------------------------


def _prompts(config: DataConfig) -> Prompts:
    return prompts.load(config.language_files)


def _asr(record: Utterance, task: TaskSpec, config: DataConfig, vocabulary: JointVocabulary) -> list[Message]:
    return [ask_asr(record, _prompts(config)), Message("assistant", (record.text,))]


def _tts(record: Utterance, task: TaskSpec, config: DataConfig, vocabulary: JointVocabulary) -> list[Message]:
    return [ask_tts(record, _prompts(config)), Message("assistant", (Units(record.speech.units),))]


def _mt(record: Translation, task: TaskSpec, config: DataConfig, vocabulary: JointVocabulary) -> list[Message]:
    _check_length(record, task, config, vocabulary)
    question = ask_mt(record, task.source, task.target, _prompts(config))
    return [question, Message("assistant", (record.texts[task.target],))]


def _check_length(record: Translation, task: TaskSpec, config: DataConfig, vocabulary: JointVocabulary) -> None:
    """The paper's rule for translations (section 2)."""
    least, most = config.mt_tokens
    if not (least or most):
        return
    length = sum(len(vocabulary.encode_text(record.texts[language])) for language in (task.source, task.target))
    if length < least or (most and length > most):
        raise BadRecord("length", f"{length} tokens of source and target; data.mt_tokens asks for {least} to {most or 'any'}")


def _text(record: Dialogue, task: TaskSpec, config: DataConfig, vocabulary: JointVocabulary) -> list[Message]:
    return [Message(role, (text,)) for role, text in record.turns]


def _s2s(record: SpokenDialogue, task: TaskSpec, config: DataConfig, vocabulary: JointVocabulary) -> list[Message]:
    question, answer = record.question[task.source], record.answer[task.target]
    instruction = _prompts(config).choose("s2s", task.source, record.id, task.target)
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
