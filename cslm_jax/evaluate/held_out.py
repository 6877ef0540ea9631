"""The held-out records of each measure."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeVar

from cslm_jax.data.catalogue import TaskSpec
from cslm_jax.data.examples import takes
from cslm_jax.data.records import Record, SpokenDialogue, Utterance, read_records
from cslm_jax.errors import CslmError

R = TypeVar("R", bound=Record)


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Validation records, in an order that is fixed by a seed and their ids alone."""

    utterances: Sequence[Utterance]
    dialogues: Sequence[SpokenDialogue]

    @classmethod
    def read(cls, records: str | Path, seed: int = 0) -> HeldOut:
        """
        Raises:
            CslmError: no validation record is there.
        """
        found = cls(*(_drawn(list(read_records(records, kind, "validation")), seed) for kind in _KINDS))
        if not found.utterances and not found.dialogues:
            raise CslmError(f"{records} holds no spoken validation records; run `cslm prepare` with a corpus that has them")
        return found

    def spoken(self, task: Literal["asr", "tts"], language: str, most: int) -> list[Utterance]:
        """Utterances that a task takes."""
        return _first(self.utterances, TaskSpec(task, language, language), most)

    def asked(self, source: str, target: str, most: int) -> list[SpokenDialogue]:
        """Questions that are there in `source`, with an answer in `target`."""
        return _first(self.dialogues, TaskSpec("s2s", source, target), most)


_KINDS = ("utterance", "spoken_dialogue")


def _first(records: Sequence[R], task: TaskSpec, most: int) -> list[R]:
    return list(itertools.islice((record for record in records if takes(task, record)), most))


def _drawn(records: list[R], seed: int) -> list[R]:
    return sorted(records, key=lambda record: hashlib.sha256(f"{seed} {record.id}".encode()).digest())
