"""From a record back to the recording that it was made of; records hold units, not sound."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from cslm_jax.data import corpora
from cslm_jax.data.corpora import CorpusConfig, Item, Recording, Rejected, SpokenDialogueItem
from cslm_jax.data.speak.dialogues import spoken
from cslm_jax.errors import CslmError


class NaturalRecordings:
    """Held-out recordings of the corpora, by id and text (ids are unique within a corpus only).

    Args:
        chosen: the corpora that the records were made of; they are read once, when the first sound is asked for.
    """

    def __init__(self, chosen: Sequence[CorpusConfig]):
        self._chosen = chosen
        self._found: Mapping[tuple[str, str], Recording] | None = None

    def load(self, id: str, text: str) -> Float[np.ndarray, "S"]:
        """Mono samples at 16 kHz.

        Raises:
            CslmError: no corpus has it any more.
        """
        if self._found is None:
            items = (item for corpus in self._chosen for item in spoken(_held_out_items(corpus), corpus))
            self._found = {key: recording for item in items for key, recording in _held_out(item)}
        if (id, text) not in self._found:
            raise CslmError(
                f"the recording of {id!r} is in none of config.corpora; name the corpora that the records were made "
                "of, or leave natural recordings out with --config.evaluate.recogniser=0"
            )
        # There is a record of it, so it was not too long.
        return self._found[id, text].load(max_seconds=math.inf)


def _held_out_items(corpus: CorpusConfig) -> Iterator[Item]:
    """Those alone, so that none of the others is translated for it."""
    return (item for item in corpora.read(corpus) if not isinstance(item, Rejected) and item.split == "validation")


def _held_out(item: Item) -> Iterable[tuple[tuple[str, str], Recording]]:
    match item:
        case Recording(split="validation"):
            return [((item.id, item.text), item)]
        case SpokenDialogueItem(split="validation"):
            return [((item.id, recording.text), recording) for recording in item.question.values()]
    return []
