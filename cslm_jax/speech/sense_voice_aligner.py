"""SenseVoice-Small as an aligner of Chinese, Cantonese and Japanese.

Download the folder FunAudioLLM/SenseVoiceSmall (model.pt, am.mvn, chn_jpn_yue_eng_ko_spectok.bpe.model) and give its place:
`--config.data.aligners zh /models/SenseVoiceSmall`. `model.pt` is read with PyTorch, a `model.safetensors` without.

* **Labels.** Each of the 10,126 Chinese characters and 170 kana of its vocabulary is a SentencePiece piece of its own, and no
  second piece writes the same character after a space. These pieces and the blank are kept; the other 14,758 columns are
  dropped after the softmax.
* **English words.** The network writes them in longer pieces ("▁people"), so letters are outside the alphabet and the
  aligner gives each such word one star. Digits are outside it too: asked for the spoken form, the network spells numbers out.
* **Time.** A frame is seven filterbank frames in steps of six: frame t hears 60 t - 30 to 60 t + 55 ms, with its middle at
  60 t + 12.5 ms. Its reader takes it for 60 t to 60 (t + 1) ms, whose middle is 17.5 ms later, less than half a unit.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import sentencepiece
from flax import nnx
from jaxtyping import Array, Float, Int

from cslm_jax.errors import BadRecord, CslmError
from cslm_jax.speech import align, audio, ctc
from cslm_jax.speech.rows import Rows
from cslm_jax.speech.sense_voice import LANGUAGES, SenseVoice, SenseVoiceConfig
from cslm_jax.speech.sense_voice_features import Normalisation, fbank, stack
from cslm_jax.speech.sense_voice_weights import load_published

PIECES, STATISTICS = "chn_jpn_yue_eng_ko_spectok.bpe.model", "am.mvn"


class SenseVoiceAligner:
    """Character log-probabilities of SenseVoice; immutable, so it can be shared."""

    def __init__(
        self,
        model: SenseVoice,
        characters: dict[str, int],
        normalisation: Normalisation,
        language: str = "zh",
        batch_seconds: float = 48.0,
        devices: Sequence[jax.Device] | None = None,
    ):
        """
        Args:
            characters: the label of the network that each character has; the blank is its label 0.
            language: the spoken language, one of LANGUAGES.
            batch_seconds: how much sound, padding included, goes through the network at once on each device.
            devices: share the rows of every batch; by default all accelerators of this host, or its processor.
        """
        self.config, self.normalisation = model.config, normalisation
        self.labels = ctc.Labels(tuple(sorted(characters)))
        self.frame_rate = 100 / model.config.stride
        """Frames of the log-probabilities a second."""
        columns = np.array([0, *(characters[character] for character in self.labels.characters)])
        self._rows = Rows(batch_seconds, self.frame_rate, devices)
        graph, state = nnx.split(model)
        self._state = self._rows.replicate(state)
        self._run = self._rows.jit(functools.partial(_log_probs, graph, columns, language))

    def log_probs(
        self, waveforms: Sequence[Float[np.ndarray, "S"]], ids: Sequence[str] = ()
    ) -> list[Float[np.ndarray, "T V"] | BadRecord]:
        """Log-probabilities of the blank and the characters in 16 kHz waveforms; what a row lacks to 1 are the other pieces.

        The shape that a waveform is computed in follows from its own length alone, so its log-probabilities do not depend
        on what else is in the call. `ids` are for aligners that look theirs up. In the place of a waveform that cannot be
        speech stands why.
        """
        results: list = [audio.complaint(waveform) for waveform in waveforms]
        good = [i for i, complaint in enumerate(results) if complaint is None]
        features = [self.features(waveforms[i]) for i in good]
        lengths = [len(x) for x in features]

        def pack(members: Sequence[int], frames: int) -> tuple[np.ndarray, np.ndarray]:
            rows = [np.pad(features[i], ((0, frames - lengths[i]), (0, 0))) for i in members]
            return np.stack(rows), np.array([lengths[i] for i in members], np.int32)

        found = self._rows.map(self._run, self._state, lengths, pack)
        for i, out, length in zip(good, found, lengths, strict=True):
            results[i] = out[:length]
        return results

    def features(self, waveform: Float[np.ndarray, "S"]) -> Float[np.ndarray, "T I"]:
        """The input frames of one waveform."""
        return self.normalisation(stack(fbank(waveform, self.config.mels), self.config.stacked, self.config.stride))

    @classmethod
    def load(
        cls, directory: str | Path, language: str = "zh", config: SenseVoiceConfig = SenseVoiceConfig()
    ) -> SenseVoiceAligner:
        """Reads the published folder.

        Raises:
            CslmError: a file is missing or damaged or does not fit the others, or the language is not one of LANGUAGES.
        """
        directory = Path(directory)
        if language not in LANGUAGES:
            raise CslmError(f"SenseVoice aligns {', '.join(LANGUAGES)}, not {language!r}: its other labels are no characters")
        characters = _characters(directory / PIECES, config.labels)
        normalisation = Normalisation.load(directory / STATISTICS, config.inputs)
        return cls(load_published(directory, config), characters, normalisation, language)


def _log_probs(
    graph: nnx.GraphDef, columns: Int[np.ndarray, "V"], language: str, state: nnx.State, features: Array, lengths: Array
) -> Float[Array, "B T V"]:
    return nnx.merge(graph, state)(features, lengths, language)[:, :, columns]


def _characters(path: Path, labels: int) -> dict[str, int]:
    """The pieces that are one character and a word by themselves, with their labels."""
    try:
        processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError) as error:
        raise CslmError(f"{path} cannot be read ({error}); download it again") from error
    if len(processor) != labels:
        raise CslmError(f"{path} has {len(processor)} pieces, and the network {labels} labels; take both from one folder")
    pieces = [processor.id_to_piece(i) for i in range(labels)]
    # Two Chinese characters are two words of one each, two letters are one word.
    return {piece: i for i, piece in enumerate(pieces) if len(piece) == 1 and len(align.words(2 * piece, "zh")) == 2}
