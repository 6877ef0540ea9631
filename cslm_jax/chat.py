"""Chats as tokens with loss weights, and generated tokens as a response again (paper section 3).

A chat is a sequence of messages; a message is a sequence of parts: text, units or markers. Parts are
encoded one by one, so user text that happens to contain `<5>` or `<sosp>` can never become speech.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from cslm_jax.vocabulary import JointVocabulary

ResponseForm = Literal["interleaved", "full", "without_tq", "fixed_ratio"]
CHUNKED_FORMS: tuple[ResponseForm, ...] = ("interleaved", "without_tq")
"""Forms that write an answer chunk by chunk; the others need its whole text and all its units only."""
# GLM-4-Voice's fixed ratio: 13 text tokens, then 26 speech tokens, until the text is told.
RATIO_TEXT, RATIO_SPEECH = 13, 26


class Marker(enum.Enum):
    QUESTION = "question"
    ANSWER = "answer"


@dataclasses.dataclass(frozen=True, eq=False)
class Units:
    """Speech inside a message, written `<sosp>` units `<eosp>`."""

    codes: Int[np.ndarray, "N"]


@dataclasses.dataclass(frozen=True)
class TextIds:
    """A piece of text cut between tokens instead of between characters."""

    ids: tuple[int, ...]


Part = str | Units | TextIds | Marker


@dataclasses.dataclass(frozen=True)
class Message:
    role: Literal["system", "user", "assistant"]
    content: tuple[Part, ...]


@dataclasses.dataclass(frozen=True)
class ChatConfig:
    """How a chat becomes tokens; the defaults are ours, both fields on reproduce the authors' scripts."""

    loss_on_header: bool = False
    """Train on the assistant header too, as the authors' scripts do."""
    double_bos: bool = False
    """Begin with two <|begin_of_text|>, as the authors' scripts do."""


@dataclasses.dataclass(frozen=True)
class Encoded:
    """Two aligned streams (invariant 3)."""

    tokens: Int[np.ndarray, "T"]
    loss_weights: Float[np.ndarray, "T"]


@dataclasses.dataclass(frozen=True, eq=False)
class Draft:
    """A chat whose texts are not ids yet: those of many chats are encoded at once, and what they share only once."""

    parts: tuple[str | Int[np.ndarray, "N"], ...]
    """Text or ids, in order."""
    loss_weights: tuple[float, ...]
    """Of each part."""


def encode(messages: Sequence[Message], vocabulary: JointVocabulary, config: ChatConfig = ChatConfig()) -> Encoded:
    """Tokens and loss weights of a chat: weight 1 on assistant content and its <|eot_id|>, else 0."""
    (encoded,) = finish([draft(messages, vocabulary, config)], vocabulary)
    return encoded


def draft(messages: Sequence[Message], vocabulary: JointVocabulary, config: ChatConfig = ChatConfig()) -> Draft:
    """A chat up to its texts; BadRecord names a unit outside the vocabulary's codes."""
    parts = [_one(vocabulary.bos)] * (2 if config.double_bos else 1)
    weights = [0.0] * len(parts)
    for message in messages:
        trained = float(message.role == "assistant")
        parts.append(_header(message.role, vocabulary))
        weights.append(trained and float(config.loss_on_header))
        content = [*_content(message.content, vocabulary), _one(vocabulary.eot)]
        parts += content
        weights += [trained] * len(content)
    return Draft(tuple(parts), tuple(weights))


def plain(text: str, vocabulary: JointVocabulary) -> Draft:
    """No chat, but a text by itself, all of it trained."""
    return Draft((_one(vocabulary.bos), text, _one(vocabulary.eot)), (0.0, 1.0, 1.0))


def finish(drafts: Sequence[Draft], vocabulary: JointVocabulary) -> list[Encoded]:
    """The chats with their texts as ids."""
    parts = [part for draft in drafts for part in draft.parts]
    texts = list(dict.fromkeys(part for part in parts if isinstance(part, str)))
    found = zip(texts, vocabulary.encode_texts(texts), strict=True)
    ids = {text: np.array(tokens, np.int32) for text, tokens in found}
    rows = [ids[part] if isinstance(part, str) else part for part in parts]
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    tokens = np.concatenate(rows)
    weights = np.repeat(np.array([weight for draft in drafts for weight in draft.loss_weights], np.float32), lengths)
    ends = np.cumsum(lengths)[np.cumsum([len(draft.parts) for draft in drafts]) - 1].tolist()
    return [Encoded(tokens[start:end], weights[start:end]) for start, end in itertools.pairwise([0, *ends])]


def prompt(messages: Sequence[Message], vocabulary: JointVocabulary) -> Int[np.ndarray, "T"]:
    """Tokens of a chat up to and including the assistant header: what generation continues."""
    return np.concatenate([encode(messages, vocabulary).tokens, _header("assistant", vocabulary)])


def response(
    question: str, pieces: Sequence[tuple[str, Int[np.ndarray, "N"]]], form: ResponseForm, vocabulary: JointVocabulary
) -> tuple[Part, ...]:
    """The assistant turn that answers a spoken question.

    Args:
        question: TQ, the question as text.
        pieces: (TA, SA) pairs in order: a piece of the answer's text and its units; one pair will do for a form that
            is not chunked.
        form: interleaved | full | without_tq | fixed_ratio.
    """
    asked = () if form == "without_tq" else (Marker.QUESTION, f": {question}; ")
    head = (*asked, Marker.ANSWER, ": ")
    if form in CHUNKED_FORMS:
        return head + tuple(part for text, units in pieces for part in (text, Units(units)))
    text = "".join(text for text, _ in pieces)
    units = _join([units for _, units in pieces])
    if form == "full":
        return (*head, text, Units(units))
    return head + tuple(_fixed_ratio(vocabulary.encode_text(text), units))


def _fixed_ratio(ids: Sequence[int], units: Int[np.ndarray, "N"]) -> Iterable[Part]:
    """13 text tokens and 26 units in turn; the last text is followed by all the units that are left."""
    rounds = max(1, -(-len(ids) // RATIO_TEXT))
    for i in range(rounds):
        last = i == rounds - 1
        yield TextIds(tuple(ids[i * RATIO_TEXT : (i + 1) * RATIO_TEXT]))
        yield Units(units[i * RATIO_SPEECH : None if last else (i + 1) * RATIO_SPEECH])


def _join(parts: Sequence[Int[np.ndarray, "N"]]) -> Int[np.ndarray, "N"]:
    """Concatenates merged units and merges across the seams."""
    units = np.concatenate([np.zeros(0, np.int32), *parts])
    return units[np.diff(units, prepend=-1) != 0]


# A process knows few vocabularies, and every message begins with a header.
@functools.lru_cache(maxsize=32)
def _header(role: str, vocabulary: JointVocabulary) -> Int[np.ndarray, "T"]:
    name, gap = vocabulary.encode_texts([role, "\n\n"])
    return np.array([vocabulary.start_header, *name, vocabulary.end_header, *gap], np.int32)


@functools.lru_cache(maxsize=256)
def _one(token: int) -> Int[np.ndarray, "1"]:
    return np.array([token], np.int32)


def _content(parts: Sequence[Part], vocabulary: JointVocabulary) -> Iterator[str | Int[np.ndarray, "N"]]:
    """Neighbouring texts as one, so that its tokens are those of the whole ("answer: the", not "answer: " and "the")."""
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        if text:
            yield text
            text = ""
        match part:
            case Units():
                yield from (_one(vocabulary.sosp), vocabulary.unit_ids(part.codes), _one(vocabulary.eosp))
            case TextIds():
                yield np.array(part.ids, np.int32)
            case Marker():
                yield _one(vocabulary.question if part is Marker.QUESTION else vocabulary.answer)
    if text:
        yield text


# What came out of the model ------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class ResponsePiece:
    """TA and SA of one chunk; units are empty when the text was never spoken."""

    text: str
    units: Int[np.ndarray, "N"]


@dataclasses.dataclass(frozen=True)
class Response:
    """A generated assistant turn, read back."""

    question: str | None
    """TQ; None when the model wrote none."""
    pieces: tuple[ResponsePiece, ...]
    complaints: tuple[str, ...]
    """What was malformed, in words; empty for a response in the taught format."""

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces).strip()

    @property
    def units(self) -> Int[np.ndarray, "N"]:
        return _join([piece.units for piece in self.pieces])


class ResponseParser:
    """Reads a response token by token, so that a piece can be spoken while the next one is generated.

    It never fails: whatever a model writes is kept, and what breaks the format is noted.
    """

    def __init__(self, vocabulary: JointVocabulary):
        self._vocabulary = vocabulary
        self._text: list[int] = []
        self._units: list[int] = []
        self._field: Marker | None = None
        self._answering = self._after_marker = False
        self._speaking = self._ended = False
        self.question: str | None = None
        self.pieces: list[ResponsePiece] = []
        self.complaints: list[str] = []

    def feed(self, token: int) -> ResponsePiece | None:
        """Takes one token; returns the piece that it completes, if any."""
        v = self._vocabulary
        if self._ended:
            return None
        if token == v.eot:
            self._ended = True
            return self.finish()
        if token in (v.question, v.answer):
            return self._open_field(Marker.QUESTION if token == v.question else Marker.ANSWER)
        if token == v.sosp:
            return self._open_speech()
        if token == v.eosp:
            return self._close_speech()
        if v.is_unit(token):
            self._take_unit(token)
            return None
        if v.is_text(token):
            return self._take_text(token)
        self.complaints.append(f"{v.decode([token])} inside the response")
        return None

    def finish(self) -> ResponsePiece | None:
        """Closes what is open at the end of the stream."""
        if self._speaking:
            self.complaints.append("the stream ended before <eosp>")
        if self._field is Marker.QUESTION:
            self._close_question()
        return self._emit()

    def _open_field(self, field: Marker) -> ResponsePiece | None:
        if self._speaking:
            self.complaints.append(f"[{field.value}] inside speech")
        if self._field is Marker.QUESTION:
            self._close_question()
        piece = self._emit()
        if self._answering and field is Marker.QUESTION:
            self.complaints.append("[question] after [answer]")
        elif self._answering or (field is Marker.QUESTION and self.question is not None):
            self.complaints.append(f"a second [{field.value}]")
        self._answering |= field is Marker.ANSWER
        self._field, self._after_marker = field, True
        return piece

    def _open_speech(self) -> ResponsePiece | None:
        if self._field is Marker.QUESTION:
            self.complaints.append("speech before [answer]")
            self._close_question()
        if self._speaking:
            self.complaints.append("<sosp> inside speech")
            return None
        self._speaking = True
        return None

    def _close_speech(self) -> ResponsePiece | None:
        if not self._speaking:
            self.complaints.append("<eosp> without <sosp>")
            return None
        return self._emit()

    def _take_unit(self, token: int) -> None:
        if not self._speaking:
            self.complaints.append("a unit outside of <sosp> ... <eosp>")
            if self._field is Marker.QUESTION:
                self._close_question()
            self._speaking = True
        self._units.append(token)

    def _take_text(self, token: int) -> ResponsePiece | None:
        piece = None
        if self._speaking:
            self.complaints.append("text inside speech")
            piece = self._emit()
        self._text.append(token)
        return piece

    def _close_question(self) -> None:
        text = self._take_decoded().strip().removesuffix(";").strip()
        self.question = text if self.question is None else f"{self.question} {text}"
        self._field = None

    def _emit(self) -> ResponsePiece | None:
        self._speaking = False
        if not self._text and not self._units:
            return None
        units = self._vocabulary.to_units(np.array(self._units, np.int32))
        piece = ResponsePiece(self._take_decoded(), units)
        self._units = []
        if not piece.text and not piece.units.size:
            return None
        self.pieces.append(piece)
        return piece

    def _take_decoded(self) -> str:
        text = self._vocabulary.decode(self._text)
        # The ": " of the template follows each marker.
        text = text.removeprefix(": ") if self._after_marker else text
        self._text, self._after_marker = [], False
        return text


def parse(ids: Sequence[int], vocabulary: JointVocabulary) -> Response:
    """A whole generated turn as TQ and (TA, SA) pieces; survives malformed output."""
    parser = ResponseParser(vocabulary)
    for token in np.asarray(ids, np.int32).tolist():
        parser.feed(token)
    parser.feed(vocabulary.eot)
    return Response(parser.question, tuple(parser.pieces), tuple(dict.fromkeys(parser.complaints)))
