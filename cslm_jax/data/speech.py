"""`cslm tokenizer` and `cslm decoder`: the speech models, trained on recordings of the corpora."""

from __future__ import annotations

import itertools
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import soxr
from jaxtyping import Float
from tqdm import tqdm

from cslm_jax.config import Experiment
from cslm_jax.data import corpora
from cslm_jax.data.corpora import CorpusConfig, Item, Recording, Rejected, SpokenDialogueItem
from cslm_jax.data.recording import LoadingProcesses
from cslm_jax.errors import BadRecord, CslmError
from cslm_jax.speech import audio, decoder, tokenizer

logger = logging.getLogger(__name__)


def train_tokenizer(config: Experiment) -> None:
    """Trains the speech tokenizer, which is the CTC recogniser too, on a sample of all training recordings."""
    chosen = config.tokenizer
    recordings = _sample(config.corpora, chosen.utterances, config.seed, _in_any_voice, chosen.speaker_share)
    kept, waveforms = _load(recordings, config.data.prepare.processes)
    tokenizer.train(config.tokenizer, waveforms, [recording.text for recording in kept], config.data.tokenizer)


def train_decoder(config: Experiment) -> None:
    """Trains the speech decoder on the voice of the answers: spoken answers, and recordings that are used for TTS."""
    recordings = _sample(config.corpora, config.decoder.utterances, config.seed, _in_the_answer_voice)
    _, waveforms = _load(recordings, config.data.prepare.processes)
    heard = tokenizer.SpeechTokenizer.load(config.data.tokenizer, dtype=config.data.tokenizer_dtype).analyse(waveforms)
    native = [soxr.resample(waveform, audio.SAMPLE_RATE, audio.VOCODER_SAMPLE_RATE) for waveform in waveforms]
    pairs = [(analysis.speech, waveform) for analysis, waveform in zip(heard, native, strict=True)]
    decoder.train(config.decoder, pairs, config.data.decoder)


def _sample(
    chosen: Sequence[CorpusConfig],
    count: int,
    seed: int,
    pick: Callable[[CorpusConfig, Item], Iterable[Recording]],
    speaker_share: float = 1.0,
) -> list[Recording]:
    """At most `count` of the recordings that `pick` takes from the training items, of a speaker at most that share."""
    items = ((corpus, item) for corpus in chosen for item in corpora.read(corpus))
    training = ((corpus, item) for corpus, item in items if not isinstance(item, Rejected) and item.split == "train")
    recordings = [recording for corpus, item in training for recording in pick(corpus, item)]
    if not recordings:
        raise CslmError("none of config.corpora has recordings to train on")
    shuffled = random.Random(seed).sample(recordings, len(recordings))
    return list(itertools.islice(_at_most(shuffled, count * speaker_share), count))


def _at_most(recordings: Iterable[Recording], each: float) -> Iterator[Recording]:
    """Without what a known speaker says beyond so many recordings."""
    said: Counter[str] = Counter()
    for recording in recordings:
        said[recording.speaker] += 1
        if not recording.speaker or said[recording.speaker] <= each:
            yield recording


def _in_any_voice(_: CorpusConfig, item: Item) -> Iterable[Recording]:
    return corpora.recordings(item)


def _in_the_answer_voice(corpus: CorpusConfig, item: Item) -> Iterable[Recording]:
    match item:
        case Recording() if "tts" in corpus.use:
            return (item,)
        case SpokenDialogueItem():
            return item.answer.values()
    return ()


def _load(recordings: Sequence[Recording], processes: int) -> tuple[list[Recording], list[Float[np.ndarray, "S"]]]:
    """The recordings with usable sound, and their 16 kHz waveforms; CslmError if there is none."""
    load = LoadingProcesses(max(1, processes))
    try:
        sounds = list(tqdm(load(recordings), "sound", len(recordings), unit=" recordings"))
    finally:
        load.close()
    for recording, sound in zip(recordings, sounds, strict=True):
        if isinstance(sound, BadRecord):
            logger.warning("%s is left out: %s", recording.id, sound)
    pairs = [(r, s) for r, s in zip(recordings, sounds, strict=True) if not isinstance(s, BadRecord)]
    if not pairs:
        raise CslmError(f"none of the {len(recordings)} recordings of config.corpora has usable sound; the first: {sounds[0]}")
    return [recording for recording, _ in pairs], [sound for _, sound in pairs]
