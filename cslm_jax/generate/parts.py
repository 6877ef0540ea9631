"""The parts that speech goes through on its way in and out; each comes from a folder of its own, so they may not fit."""

from __future__ import annotations

from collections.abc import Mapping

from cslm_jax.errors import CslmError
from cslm_jax.speech.decoder import SpeechDecoder
from cslm_jax.speech.tokenizer import SpeechTokenizer
from cslm_jax.vocabulary import JointVocabulary


def check_parts(vocabulary: JointVocabulary, tokenizer: SpeechTokenizer, decoder: SpeechDecoder) -> None:
    """
    Raises:
        CslmError: the parts do not speak of the same units.
    """
    heard = tokenizer.config
    _check_equal("units", {"vocabulary": vocabulary.codes, "tokenizer": heard.codes, "decoder": decoder.codes})
    _check_equal("units a second", {"tokenizer": heard.unit_rate, "decoder": decoder.unit_rate})


def _check_equal(what: str, counts: Mapping[str, int]) -> None:
    if len(set(counts.values())) > 1:
        said = ", ".join(f"the {part} {count}" for part, count in counts.items())
        raise CslmError(
            f"the parts do not fit each other in their {what}: {said}; point data.vocabulary, data.tokenizer and "
            "data.decoder at parts that were trained together"
        )
