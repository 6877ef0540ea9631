"""`cslm respond`: a spoken question in, a spoken answer out, piece by piece (paper section 4)."""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float, Int

from cslm_jax import chat, config
from cslm_jax.config import Experiment
from cslm_jax.data import prompts
from cslm_jax.errors import CslmError
from cslm_jax.generate.checkpoint import load_generator
from cslm_jax.generate.parts import check_parts
from cslm_jax.generate.sampling import Generator
from cslm_jax.generate.stream import Finished, Heard, stream
from cslm_jax.speech import ctc
from cslm_jax.speech.audio import load as load_sound
from cslm_jax.speech.decoder import MelDecoder, SpeechDecoder
from cslm_jax.speech.tokenizer import SpeechTokenizer
from cslm_jax.vocabulary import JointVocabulary

logger = logging.getLogger(__name__)


def respond(workdir: str, audio: str, output: str, language: str | None = None) -> None:
    """Answers a spoken question: prints the question as understood and the answer as it comes, writes its sound.

    Args:
        workdir: what `make quickstart` made, or the workdir of one SFT run.
        audio: the question, a sound file of at most 30 seconds.
        output: the WAV file to write.
        language: of the answer, en or zh; by default that of the question.
    """
    waveform = load_sound(audio)
    assistant = Assistant.load(Path(workdir))
    prompt = assistant.prompt(waveform, language)
    assistant.warm_up(prompt)
    started = time.perf_counter()
    prompt = assistant.prompt(waveform, language)
    sounds, heard_after = [], None
    for sound in assistant.answer(prompt, _print):
        heard_after = heard_after or time.perf_counter() - started
        sounds.append(sound)
    print()
    if not sounds:
        raise CslmError(f"the answer has no speech in it, so {output} is not written; train longer, or ask again")
    whole = np.concatenate(sounds)
    _write(Path(output), whole, assistant.decoder.sample_rate)
    total, seconds = time.perf_counter() - started, len(whole) / assistant.decoder.sample_rate
    print(f"{output}: {seconds:.1f} s of speech; first sound after {heard_after:.2f} s, all of it after {total:.2f} s")


@dataclasses.dataclass(frozen=True)
class Assistant:
    """The parts that turn a spoken question into a spoken answer."""

    experiment: Experiment
    vocabulary: JointVocabulary
    tokenizer: SpeechTokenizer
    generator: Generator
    decoder: SpeechDecoder

    @classmethod
    def load(cls, workdir: Path) -> Assistant:
        """Everything from the workdir of `make quickstart`, or from that of one SFT run.

        Raises:
            CslmError: a part is missing or does not fit the others.
        """
        if not workdir.is_dir():
            raise CslmError(f"there is no directory {workdir}; `make quickstart` makes runs/quickstart")
        single = (workdir / "config.json").is_file()
        run = workdir if single else workdir / "sft"
        experiment = config.load_run(run)
        # In a quickstart all parts lie together, wherever it was moved to; a run by itself says where they lie.
        parts = ("vocabulary", "tokenizer", "decoder")
        places = [getattr(experiment.data, part) if single else workdir / part for part in parts]
        vocabulary = JointVocabulary.load(places[0])
        tokenizer, decoder = SpeechTokenizer.load(places[1]), MelDecoder.load(places[2])
        check_parts(vocabulary, tokenizer, decoder)
        return cls(experiment, vocabulary, tokenizer, load_generator(run, vocabulary), decoder)

    def prompt(self, waveform: Float[np.ndarray, "S"], language: str | None) -> Int[np.ndarray, "T"]:
        """The chat that asks for an answer in `language`, or in that of the question.

        Args:
            waveform: the question at 16 kHz.
        """
        languages = self.experiment.data.languages
        if language is not None and language not in languages:
            raise CslmError(f"this model answers in {' or '.join(languages)}, not in {language!r}")
        analysis = self.tokenizer.analyse([waveform])[0]
        spoken = _language(self.tokenizer.labels.decode(ctc.greedy(analysis.log_probs)), languages)
        instruction = prompts.load(self.experiment.data.language_files).of_inference(spoken, language or spoken)
        turn = instruction.turn(chat.Units(analysis.speech.units))
        return chat.prompt([chat.Message("user", turn)], self.vocabulary)

    def warm_up(self, prompt: Int[np.ndarray, "T"]) -> None:
        """Compiles everything up to the first sound, so that the latency is that of a running system."""
        next(self.answer(prompt, lambda event: None), None)

    def answer(
        self, prompt: Int[np.ndarray, "T"], show: Callable[[Heard | chat.ResponsePiece | Finished], None]
    ) -> Iterator[Float[np.ndarray, "S"]]:
        """The sound of each piece, as soon as its units are there; `show` sees everything that comes."""
        for event in stream(self.generator, prompt, self.experiment.sampling):
            show(event)
            if isinstance(event, chat.ResponsePiece) and event.units.size:
                yield self.decoder.decode(event.units)


def _language(transcript: str, languages: tuple[str, ...]) -> str:
    """Chinese if Han characters were heard, else the first of the other languages."""
    han = any("\u4e00" <= character <= "\u9fff" for character in transcript)
    matching = [language for language in languages if (language == "zh") == han]
    return (matching or list(languages))[0]


def _print(event: Heard | chat.ResponsePiece | Finished) -> None:
    match event:
        case Heard(text):
            print(f"question: {text}\nanswer: ", end="", flush=True)
        case chat.ResponsePiece(text=text):
            print(text, end="", flush=True)
        case Finished(complaints=complaints) if complaints:
            logger.warning("the answer is malformed: %s", "; ".join(complaints))


def _write(path: Path, waveform: Float[np.ndarray, "S"], sample_rate: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    soundfile.write(temporary, waveform, sample_rate, format="WAV", subtype="PCM_16")
    os.replace(temporary, path)
