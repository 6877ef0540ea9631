"""What a reader gives: recordings, dialogues and texts, and what it had to set aside."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from cslm_jax.data.config import Split
from cslm_jax.data.records import Dialogue, Record, Translation


@dataclasses.dataclass(frozen=True)
class Segment:
    """A stretch of a long sound file; no more of the file is read for it."""

    path: Path
    start_s: float
    end_s: float


Sound = Path | Segment | Callable[[], Float[np.ndarray, "S"]]
"""A sound file, a stretch of one, or a picklable function without arguments (say, a functools.partial) that makes 16 kHz
mono samples."""


@dataclasses.dataclass(frozen=True)
class Recording:
    """A text that is spoken; the sound is loaded only when it is needed."""

    id: str
    language: str
    text: str
    audio: Sound
    speaker: str = ""
    split: Split = "train"

    def load(self, max_seconds: float = 30.0) -> Float[np.ndarray, "S"]:
        """Mono samples at 16 kHz; BadRecord if there is no usable sound."""
        # Here and not above: whoever reads texts only need not wait for the sound libraries.
        from cslm_jax.speech import audio, pace, segment

        match self.audio:
            case Path():
                waveform = audio.load(self.audio, max_seconds=max_seconds)
            case Segment(path, start_s, end_s):
                waveform = segment.load(path, start_s, end_s, max_seconds=max_seconds)
            case make:
                waveform = make()
        audio.check(waveform, max_seconds=max_seconds)
        if self.file:
            pace.check(self.text, len(waveform) / audio.SAMPLE_RATE)
        return waveform

    @property
    def file(self) -> str:
        """Where the sound lies; empty if it is made."""
        match self.audio:
            case Path():
                return str(self.audio)
            case Segment(path):
                return str(path)
        return ""


@dataclasses.dataclass(frozen=True)
class SpokenDialogueItem:
    """A spoken question and its spoken answer, by language."""

    id: str
    question: Mapping[str, Recording]
    answer: Mapping[str, Recording]
    split: Split = "train"

    @property
    def recordings(self) -> tuple[Recording, ...]:
        return (*self.question.values(), *self.answer.values())


@dataclasses.dataclass(frozen=True)
class Rejected:
    """Something that was set aside, as a line of rejected.jsonl."""

    id: str
    file: str
    stage: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Postponed(Rejected):
    """Set aside because something outside failed; another run tries it again."""


@dataclasses.dataclass(frozen=True)
class WrittenDialogue:
    """A question and its answer as text, by language; the corpus's `speak` makes it a spoken dialogue."""

    id: str
    question: Mapping[str, str]
    answer: Mapping[str, str]
    split: Split = "train"

    @property
    def languages(self) -> tuple[str, ...]:
        return (*self.question, *self.answer)


Item = Recording | SpokenDialogueItem | WrittenDialogue | Translation | Dialogue | Rejected


def recordings(item: Item) -> tuple[Recording, ...]:
    """What is spoken in an item; nothing in text alone."""
    match item:
        case Recording():
            return (item,)
        case SpokenDialogueItem():
            return item.recordings
    return ()


def texts(item: Item) -> Iterator[str]:
    """What an item says, in order; nothing where it was rejected."""
    match item:
        case Recording():
            yield item.text
        case SpokenDialogueItem():
            yield from (recording.text for recording in item.recordings)
        case WrittenDialogue():
            yield from (*item.question.values(), *item.answer.values())
        case Record():
            yield from item.texts_said()


def languages(item: Item) -> tuple[str, ...]:
    """In which it is said; some may come twice."""
    match item:
        case Recording():
            return (item.language,)
        case SpokenDialogueItem():
            return (*item.question, *item.answer)
        case Rejected():
            return ()
    return item.languages
