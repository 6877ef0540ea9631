"""The parts that are measured together, and the two things that every measure asks of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import soxr
from jaxtyping import Float, Int
from tqdm import tqdm

from cslm_jax import chat
from cslm_jax.config import Experiment
from cslm_jax.data import prompts
from cslm_jax.data.prompts import Prompts
from cslm_jax.errors import BadRecord
from cslm_jax.generate.checkpoint import load_generator
from cslm_jax.generate.parts import check_parts
from cslm_jax.generate.sampling import Generator, SamplingConfig
from cslm_jax.speech import audio
from cslm_jax.speech.decoder import MelDecoder, SpeechDecoder
from cslm_jax.speech.tokenizer import SpeechTokenizer
from cslm_jax.vocabulary import JointVocabulary

LONGEST_SECONDS = 30


@dataclasses.dataclass(frozen=True)
class Spoken:
    """Sound of a generated message."""

    waveform: Float[np.ndarray, "S"]
    """At the decoder's sample rate."""
    cuts: tuple[float, ...]
    """Seconds at which one piece ends and the next begins."""
    units: tuple[Int[np.ndarray, "N"], ...]
    """Of each piece that has a sound."""
    transcript: str
    """What the recogniser hears in it; empty when there is no sound."""


@dataclasses.dataclass(frozen=True)
class System:
    """A model under test with its ears and its voice."""

    vocabulary: JointVocabulary
    generator: Generator
    tokenizer: SpeechTokenizer
    """Also the recogniser that reads generated speech back."""
    decoder: SpeechDecoder
    prompts: Prompts = prompts.load()
    """How it is asked."""

    @classmethod
    def load(cls, config: Experiment) -> System:
        """The newest model in the config's workdir, with the speech models that its data was made with.

        Raises:
            CslmError: a part is missing, or does not fit the others.
        """
        vocabulary = JointVocabulary.load(config.data.vocabulary)
        tokenizer, decoder = SpeechTokenizer.load(config.data.tokenizer), MelDecoder.load(config.data.decoder)
        check_parts(vocabulary, tokenizer, decoder)
        asked = prompts.load(config.data.language_files)
        return cls(vocabulary, load_generator(config.workdir, vocabulary), tokenizer, decoder, asked)

    def respond(
        self, chats: Sequence[Sequence[chat.Message]], sampling: SamplingConfig, batch: int, title: str
    ) -> list[chat.Response]:
        """The assistant turn of each chat, parsed; prompts of like length are generated together."""
        asked = [chat.prompt(messages, self.vocabulary) for messages in chats]
        with tqdm(total=len(asked), desc=title, unit="item") as bar:
            answers = self.generator.generate(asked, sampling, at_once=batch, progress=bar.update)
        return [chat.parse(ids, self.vocabulary) for ids in answers]

    def speak(self, messages: Sequence[Sequence[Int[np.ndarray, "N"]]]) -> list[Spoken]:
        """Sound and transcript of messages given as pieces of units, each decoded by itself as in streaming."""
        audible = [tuple(units for units in message if units.size) for message in messages]
        pieces = iter(self.decoder.decode_batch([units for message in audible for units in message]))
        sounds = [[next(pieces) for _ in message] for message in audible]
        waveforms = [np.concatenate([np.zeros(0, np.float32), *parts]) for parts in sounds]
        cuts = [tuple(np.cumsum([len(part) for part in parts[:-1]]) / self.decoder.sample_rate) for parts in sounds]
        transcripts = self.transcribe(waveforms, self.decoder.sample_rate)
        return [Spoken(*spoken) for spoken in zip(waveforms, cuts, audible, transcripts, strict=True)]

    def transcribe(self, waveforms: Sequence[Float[np.ndarray, "S"]], sample_rate: int) -> list[str]:
        """What the recogniser hears in the first 30 s; nothing in what cannot be speech (silence, a click)."""
        resampled = [_as_heard(waveform, sample_rate) for waveform in waveforms]
        audible = [i for i, waveform in enumerate(resampled) if _is_speech(waveform)]
        transcripts = [""] * len(waveforms)
        for i, text in zip(audible, self.tokenizer.transcribe([resampled[i] for i in audible]), strict=True):
            transcripts[i] = text
        return transcripts


def _as_heard(waveform: Float[np.ndarray, "S"], sample_rate: int) -> Float[np.ndarray, "S"]:
    """At the recogniser's sample rate, and no longer than it takes: a model that never stops is heard for 30 s."""
    resampled = soxr.resample(np.asarray(waveform, np.float32), sample_rate, audio.SAMPLE_RATE)
    return resampled[: LONGEST_SECONDS * audio.SAMPLE_RATE]


def _is_speech(waveform: Float[np.ndarray, "S"]) -> bool:
    try:
        audio.check(waveform)
    except BadRecord:
        return False
    return True
