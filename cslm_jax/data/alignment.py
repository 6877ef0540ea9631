"""When the words of spoken answers are spoken: by the aligner of their language, or the tokenizer's own recogniser."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from cslm_jax.data import corpora
from cslm_jax.data.corpora import CorpusConfig, Item, Recording, Rejected, SpokenDialogueItem
from cslm_jax.errors import BadRecord, CslmError
from cslm_jax.speech import align, aligners, ctc, espeak, warp
from cslm_jax.speech.align import Word
from cslm_jax.speech.pauses import part_at_pauses
from cslm_jax.speech.tokenizer import Analysis, SpeechTokenizer

LogProbs = Float[np.ndarray, "T V"]


@dataclasses.dataclass(frozen=True, eq=False)
class Heard:
    """What was made of the sound of a recording."""

    waveform: Float[np.ndarray, "S"]
    analysis: Analysis
    words: tuple[Word, ...] | BadRecord = ()
    """Of answers only: when they are spoken, or why that is not known."""


class Alignment:
    """The aligners of an experiment, each loaded when it is first asked for."""

    def __init__(self, paths: Mapping[str, str], tokenizer: Callable[[], SpeechTokenizer]):
        """`paths` is data.aligners."""
        self._paths, self._tokenizer = paths, tokenizer
        self._load = functools.cache(lambda language: aligners.load(paths[language], language))

    def check(self, languages: Sequence[str]) -> None:
        """Raises CslmError if one of the languages cannot be aligned; loads what aligns them."""
        for language in languages:
            if self._is_warped(language):
                espeak.check_language(language)
            elif language in self._paths:
                self._load(language)
            elif self._tokenizer().labels is None:
                raise CslmError(
                    f"data.aligners has nothing for {language!r}, and the speech tokenizer in data.tokenizer has no recogniser "
                    f"that could align spoken answers; give a CTC model with --config.data.aligners {language} PATH, or "
                    f"`{aligners.ESPEAK}` in place of PATH, which needs no model"
                )

    def of_answers(
        self, group: Sequence[Item], heard: Sequence[Heard | BadRecord], languages: Sequence[str]
    ) -> list[Heard | BadRecord]:
        """The recordings of a group of items with the words of the answers among them that are in one of the languages."""
        recordings = [recording for item in group for recording in corpora.recordings(item)]
        answers = [answer for item in group for answer in _are_answers(item)]
        asked = [
            i for i, one in enumerate(heard) if answers[i] and recordings[i].language in languages and isinstance(one, Heard)
        ]
        waveforms, analyses = [heard[i].waveform for i in asked], [heard[i].analysis for i in asked]
        words = dict(zip(asked, self.words([recordings[i] for i in asked], waveforms, analyses), strict=True))
        return [dataclasses.replace(one, words=words[i]) if i in words else one for i, one in enumerate(heard)]

    def words(
        self, recordings: Sequence[Recording], waveforms: Sequence[Float[np.ndarray, "_"]], analyses: Sequence[Analysis]
    ) -> list[tuple[Word, ...] | BadRecord]:
        """The words of every recording, or why there are none; all of a language go through its aligner at once.

        Args:
            analyses: what the speech tokenizer heard.
        """
        results: list = [None] * len(recordings)
        for language in dict.fromkeys(recording.language for recording in recordings):
            mine = [i for i, recording in enumerate(recordings) if recording.language == language]
            chosen, heard = [recordings[i] for i in mine], [waveforms[i] for i in mine]
            texts = [recording.text for recording in chosen]
            if self._is_warped(language):
                found = map(functools.partial(_warped, language=language), texts, heard)
            else:
                labels, rate, log_probs = self._listen(language, chosen, heard, [analyses[i] for i in mine])
                found = align.align_batch(texts, [language] * len(mine), log_probs, labels, rate)
            for i, words in zip(mine, found, strict=True):
                results[i] = words if isinstance(words, BadRecord) else part_at_pauses(words, waveforms[i])
        return results

    def _is_warped(self, language: str) -> bool:
        return self._paths.get(language) == aligners.ESPEAK

    def _listen(
        self, language: str, recordings: Sequence[Recording], waveforms: Sequence[np.ndarray], analyses: Sequence[Analysis]
    ) -> tuple[ctc.Labels, float, list[LogProbs | BadRecord]]:
        self.check([language])
        if language not in self._paths:
            return self._tokenizer().labels, analyses[0].speech.unit_rate, [analysis.log_probs for analysis in analyses]
        aligner = self._load(language)
        return aligner.labels, aligner.frame_rate, aligner.log_probs(waveforms, [recording.id for recording in recordings])


def _warped(text: str, waveform: Float[np.ndarray, "S"], language: str) -> tuple[Word, ...] | BadRecord:
    try:
        return warp.align_spoken(text, language, waveform)
    except BadRecord as error:
        return error


def _are_answers(item: Item) -> list[bool]:
    """Of each recording, in the order of `corpora.recordings`: the answers come last."""
    count = len(corpora.recordings(item))
    answers = len(item.answer) if isinstance(item, SpokenDialogueItem) else 0
    return [i >= count - answers for i in range(count)]


def languages_of_answers(chosen: Sequence[CorpusConfig], languages: Sequence[str]) -> list[str]:
    """Those of the languages in which a corpus answers with speech: that it is to be spoken in, or that its first item has."""
    answered = {language for corpus in chosen for language in _answered(corpus)}
    return [language for language in languages if language in answered]


def _answered(corpus: CorpusConfig) -> Iterable[str]:
    if corpus.speak:
        return corpus.speak.answer
    first = next((item for item in corpora.read(corpus) if not isinstance(item, Rejected)), None)
    return first.answer if isinstance(first, SpokenDialogueItem) else ()
