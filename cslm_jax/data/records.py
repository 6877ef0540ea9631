"""What is known about one piece of data, after tokenisation and alignment: the records that tasks read.

Four kinds, each a frozen dataclass; on disk msgpack inside ArrayRecord shards. Every field is checked when a record is
made, so a record that exists is sound; a bad one raises BadRecord naming the field.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import msgpack
import numpy as np

from cslm_jax.data import files, shards
from cslm_jax.data.catalogue import RecordKind
from cslm_jax.data.config import Split
from cslm_jax.data.record_fields import (
    check_id,
    check_speech,
    check_text,
    check_words,
    check_writable,
    read_as,
    read_fields,
    read_member,
    read_speech,
    read_tuple,
    read_word,
)
from cslm_jax.errors import BadRecord
from cslm_jax.speech.align import Word
from cslm_jax.speech.units import Speech

Role = Literal["system", "user", "assistant"]
_ROLES, _SPLITS = get_args(Role), get_args(Split)


@dataclasses.dataclass(frozen=True)
class SpokenText:
    """A text and how it was spoken."""

    text: str
    speech: Speech
    words: tuple[Word, ...] = ()
    """When each word is spoken; only answers are aligned, for only answers are cut into chunks."""

    def __post_init__(self):
        check_text("text", self.text)
        check_speech("speech", self.speech)
        check_words("words", self.words, self.text)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record(abc.ABC):
    """What every kind of record has."""

    kind: ClassVar[RecordKind]

    id: str
    """Unique within its corpus; errors and rejected.jsonl name it."""
    split: Split = "train"
    """Held-out records are `validation`."""
    use: tuple[str, ...] = ()
    """Families of tasks that may read it (asr, tts, mt, text, s2s_mono, s2s_cross); empty for all that can."""

    def __post_init__(self):
        check_id(self.id)
        if self.split not in _SPLITS:
            raise BadRecord("record", f"field `split` is {self.split!r}; it must be train or validation")
        if not isinstance(self.use, tuple) or not all(isinstance(use, str) for use in self.use):
            raise BadRecord("record", f"field `use` is {self.use!r}; it must be names of families of tasks")
        self.check()

    @abc.abstractmethod
    def check(self) -> None:
        """Raises BadRecord naming the field that is wrong."""

    @property
    @abc.abstractmethod
    def languages(self) -> tuple[str, ...]:
        """Languages that the record is in."""

    def speeches(self) -> Iterator[Speech]:
        """All speech in the record."""
        return iter(())

    @abc.abstractmethod
    def texts_said(self) -> Iterator[str]:
        """All text in the record, for vocabularies and counts."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Utterance(Record):
    """A transcribed recording: ASR one way, TTS the other."""

    kind = "utterance"
    language: str
    text: str
    speech: Speech
    speaker: str = ""

    def check(self) -> None:
        check_text("language", self.language)
        check_text("text", self.text)
        check_speech("speech", self.speech)
        check_writable("speaker", self.speaker)

    @property
    def languages(self) -> tuple[str, ...]:
        return (self.language,)

    def speeches(self) -> Iterator[Speech]:
        yield self.speech

    def texts_said(self) -> Iterator[str]:
        yield self.text


@dataclasses.dataclass(frozen=True, kw_only=True)
class Translation(Record):
    """The same text in several languages."""

    kind = "translation"
    texts: Mapping[str, str]

    def check(self) -> None:
        if not isinstance(self.texts, Mapping) or len(self.texts) < 2:
            raise BadRecord("record", "field `texts` needs the text in at least two languages")
        for language, text in self.texts.items():
            check_text(f"texts[{language}]", text)

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self.texts)

    def texts_said(self) -> Iterator[str]:
        yield from self.texts.values()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dialogue(Record):
    """A text conversation of one or more turns."""

    kind = "dialogue"
    language: str
    turns: tuple[tuple[Role, str], ...]
    """(role, text) in order; the last turn is the assistant's."""

    def check(self) -> None:
        check_text("language", self.language)
        for i, turn in enumerate(self.turns):
            if not isinstance(turn, tuple) or len(turn) != 2:
                raise BadRecord("record", f"field `turns[{i}]` is {turn!r}; it must be a role and a text")
        if not self.turns or self.turns[-1][0] != "assistant":
            raise BadRecord("record", "field `turns` must end with a turn of the assistant")
        for i, (role, text) in enumerate(self.turns):
            if role not in _ROLES:
                raise BadRecord("record", f"field `turns[{i}]` has the role {role!r}; there are {_ROLES}")
            check_text(f"turns[{i}]", text)

    @property
    def languages(self) -> tuple[str, ...]:
        return (self.language,)

    def texts_said(self) -> Iterator[str]:
        yield from (text for _, text in self.turns)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpokenDialogue(Record):
    """A spoken question and its spoken answer, each in one or more languages."""

    kind = "spoken_dialogue"
    question: Mapping[str, SpokenText]
    answer: Mapping[str, SpokenText]

    def check(self) -> None:
        for name in ("question", "answer"):
            if not getattr(self, name):
                raise BadRecord("record", f"field `{name}` is empty; it needs at least one language")
            for language in getattr(self, name):
                check_text(f"{name}.language", language)
        for language, spoken in self.answer.items():
            if not spoken.words:
                raise BadRecord("record", f"field `answer[{language}].words` is empty; answers must be aligned")

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*self.question, *self.answer]))

    def speeches(self) -> Iterator[Speech]:
        yield from (spoken.speech for spoken in [*self.question.values(), *self.answer.values()])

    def texts_said(self) -> Iterator[str]:
        yield from (spoken.text for spoken in [*self.question.values(), *self.answer.values()])


# Bytes ---------------------------------------------------------------------------------------------


def to_bytes(record: Record) -> bytes:
    content = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    return msgpack.packb(content, default=_plain)


def _plain(value: Any) -> Any:
    match value:
        case Speech():
            units, runs = (np.asarray(array, "<i4").tobytes() for array in (value.units, value.run_lengths))
            return {"units": units, "run_lengths": runs, "unit_rate": value.unit_rate}
        case SpokenText():
            words = [(word.start_char, word.end_char, word.start_s, word.end_s) for word in value.words]
            return {"text": value.text, "speech": value.speech, "words": words}
        case Mapping():
            return dict(value)
    raise TypeError(f"a {type(value).__name__} has no place in a record")


def from_bytes(kind: RecordKind, content: bytes) -> Record:
    """The inverse of `to_bytes`; BadRecord names a field that is missing, unknown or wrong."""
    fields = read_fields(content)
    known, needed = _fields(kind)
    if unknown := fields.keys() - known:
        raise BadRecord("record", f"{kind} has no field {', '.join(sorted(map(str, unknown)))}")
    for name in needed:
        if name not in fields:
            raise BadRecord("record", f"field `{name}` is missing (record {fields.get('id', 'without id')})")
    return KINDS[kind](**{name: _READ[name](value, name) if name in _READ else value for name, value in fields.items()})


@functools.cache
def _fields(kind: RecordKind) -> tuple[frozenset[str], tuple[str, ...]]:
    """Names of all fields, and of those that have to be there."""
    fields = dataclasses.fields(KINDS[kind])
    needed = (field.name for field in fields if field.default is dataclasses.MISSING)
    return frozenset(field.name for field in fields), tuple(needed)


def id_of(content: bytes) -> str:
    """Id of a record that may be damaged, for messages."""
    try:
        return str(read_fields(content)["id"])
    except (BadRecord, KeyError):
        return "without id"


def _spoken_texts(value: Any, path: str) -> dict[str, SpokenText]:
    return {language: _spoken_text(spoken, f"{path}[{language}]") for language, spoken in read_as(dict, value, path).items()}


def _spoken_text(value: Any, path: str) -> SpokenText:
    text, speech, words = (read_member(value, name, path) for name in ("text", "speech", "words"))
    timed = tuple(read_word(word, f"{path}.words") for word in read_tuple(words, f"{path}.words"))
    return SpokenText(text, read_speech(speech, f"{path}.speech"), timed)


_READ: Mapping[str, Callable[[Any, str], Any]] = {
    "speech": read_speech,
    "question": _spoken_texts,
    "answer": _spoken_texts,
    "use": read_tuple,
    "turns": lambda value, path: tuple(tuple(turn) if isinstance(turn, list) else turn for turn in read_tuple(value, path)),
}

KINDS: Mapping[RecordKind, type[Record]] = {record.kind: record for record in (Utterance, Translation, Dialogue, SpokenDialogue)}


# Shards --------------------------------------------------------------------------------------------


def write_records(
    corpus: Path | str,
    records: Iterable[Record],
    rejected: Sequence[Mapping[str, str]] = (),
    number: int = 0,
    notes: Mapping[str, Any] = {},
) -> None:
    """Writes shard `number` of a corpus folder; it exists when its .json, written last, is there.

    Args:
        corpus: RECORDS/<name of the corpus>.
        notes: said in the .json too, such as the tokenizer that made the units.
    """
    shard = shards.Shard(Path(corpus) / f"{number:05d}.json", {})
    shard.begin()
    by_kind: dict[RecordKind, list[Record]] = {}
    for record in records:
        by_kind.setdefault(record.kind, []).append(record)
    content: dict[str, Any] = {"records": {}, "rejected": len(rejected)}
    for kind, members in sorted(by_kind.items()):
        with files.record_writer(shard.file(kind)) as writer:
            for record in members:
                writer.write(to_bytes(record))
        content["records"][kind] = {"count": len(members), "sha256": files.sha256_of(shard.file(kind))}
    every = [record for members in by_kind.values() for record in members]
    content["seconds"] = sum(speech.seconds for record in every for speech in record.speeches())
    content["units"] = sum(len(speech.units) for record in every for speech in record.speeches())
    content["characters"] = sum(len(text) for record in every for text in record.texts_said())
    files.write_lines(shard.rejected, rejected)
    shard.keep_only(by_kind)
    files.write_json(shard.path, {**content, **notes})


def read_records(directory: Path | str, kind: RecordKind, split: Split | None = None) -> Iterator[Record]:
    """All records of a kind below a folder of corpora, in a fixed order.

    Raises:
        BadRecord: a record on disk lacks a field or has a wrong one.
        CslmError: a shard is truncated or corrupted; the message names the file.
    """
    for _, record in read_bytes(directory, kind):
        found = from_bytes(kind, record)
        if split in (None, found.split):
            yield found


def read_bytes(directory: Path | str, kind: RecordKind) -> Iterator[tuple[Path, bytes]]:
    """Each record with the file that it lies in."""
    for shard in shards.finished(Path(directory)):
        if kind in shard.content["records"]:
            file = files.RecordFile(shard.file(kind), shard.content["records"][kind]["count"], shard.remedy)
            yield from zip(itertools.repeat(file.path), file)
