"""`cslm units` and `cslm align`: what the speech tokenizer and the aligner make of single sound files, as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from cslm_jax.config import Experiment
from cslm_jax.data.alignment import Alignment
from cslm_jax.data.corpora import Recording
from cslm_jax.data.recording import load_here
from cslm_jax.errors import BadRecord, CslmError
from cslm_jax.speech import ctc
from cslm_jax.speech.align import Word
from cslm_jax.speech.chunks import Piece, chunk
from cslm_jax.speech.tokenizer import SpeechTokenizer
from cslm_jax.speech.units import Speech

_FILE = arg(metavar="FILE")


def units(config: Experiment, files: Annotated[Positional[tuple[str, ...]], _FILE]) -> None:
    """Prints a line of JSON a file, in order: id (the file), seconds, units and run_lengths.

    Args:
        files: sound files.

    Raises:
        CslmError: there is no speech tokenizer; or, at the end, some files could not be read. Each has its line on stderr.
    """
    if not files:
        raise CslmError("name at least one sound file")
    tokenizer = SpeechTokenizer.load(config.data.tokenizer, dtype=config.data.tokenizer_dtype)
    together, longest = config.data.prepare.together, config.data.prepare.max_seconds
    bad = 0
    for start in range(0, len(files), together):
        for file, heard in _hear(files[start : start + together], tokenizer, longest):
            if isinstance(heard, BadRecord):
                print(f"{file}: {heard}", file=sys.stderr)
                bad += 1
                continue
            lists = {"units": heard.units.tolist(), "run_lengths": heard.run_lengths.tolist()}
            print(json.dumps({"id": file, "seconds": heard.seconds, **lists}), flush=True)
    if bad:
        raise CslmError(f"{bad} of {len(files)} files could not be read; each is named above")


def _hear(files: Sequence[str], tokenizer: SpeechTokenizer, longest: float) -> Iterator[tuple[str, Speech | BadRecord]]:
    for file, heard in zip(files, tokenizer.analyse_each(list(load_here(map(_recording, files), longest))), strict=True):
        yield file, heard if isinstance(heard, BadRecord) else heard.speech


def align(config: Experiment, file: Annotated[Positional[str], _FILE], text: str, language: str = "", plot: str = "") -> None:
    """Prints an object with the words of a recording and its chunks, as `cslm prepare` makes them, with their times in seconds.

    Args:
        file: sound file.
        text: what is said in it.
        language: of the text; left out, zh where it has Chinese characters, otherwise the first of data.languages.
        plot: picture file to draw it into: spectrogram, units, words and cuts over each other.

    Raises:
        CslmError: the file cannot be read, or the text cannot be aligned with it.
    """
    recording = _recording(file, language or _guess(text, config.data.languages), text)
    (waveform,) = load_here([recording], config.data.prepare.max_seconds)
    if isinstance(waveform, BadRecord):
        raise CslmError(f"{file}: {waveform}")
    tokenizer = SpeechTokenizer.load(config.data.tokenizer, dtype=config.data.tokenizer_dtype)
    (analysis,) = tokenizer.analyse_each([waveform])
    if isinstance(analysis, BadRecord):
        raise CslmError(f"{recording.file}: {analysis}")
    (words,) = Alignment(config.data.aligners, lambda: tokenizer).words([recording], [waveform], [analysis])
    if isinstance(words, BadRecord):
        raise CslmError(f"{file}: {words}")
    pieces = chunk(text, words, config.data.chunk_size, analysis.speech.seconds)
    if plot:
        # Here and not above: who wants no picture need not wait for matplotlib.
        from cslm_jax.data import plots

        plots.utterance(waveform, analysis.speech, text, words, pieces).savefig(plot)
    found = {"words": [_word(text, word) for word in words], "chunks": [_chunk(piece, analysis.speech) for piece in pieces]}
    print(json.dumps(found, ensure_ascii=False))


def _word(text: str, word: Word) -> dict[str, Any]:
    return {"word": text[word.start_char : word.end_char], "start": word.start_s, "end": word.end_s}


def _chunk(piece: Piece, speech: Speech) -> dict[str, Any]:
    units = speech.cut(piece.start_s, piece.end_s).units.tolist()
    return {"text": piece.text, "start": piece.start_s, "end": piece.end_s, "units": units}


def _recording(file: str, language: str = "", text: str = "") -> Recording:
    return Recording(Path(file).stem, language, text, Path(file))


def _guess(text: str, languages: Sequence[str]) -> str:
    return "zh" if any(map(ctc.is_han, text)) else languages[0]
