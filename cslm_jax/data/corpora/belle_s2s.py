"""BELLE-eval-S2S (CSLM): 250 spoken Chinese questions without answers.

Below the path lie test.tsv, with the columns id and text, and wav/<id>.wav. Nothing in the table is quoted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cslm_jax.data.corpora import CorpusConfig, Item, Recording, Rejected, _files
from cslm_jax.errors import BadRecord, CslmError


def read(corpus: CorpusConfig) -> Iterator[Item]:
    """The questions, all held out; they are Chinese, whatever `corpus.language` says.

    Raises:
        CslmError: no test.tsv, or one with other columns.
    """
    table = Path(corpus.path) / "test.tsv"
    lines = _files.lines(table)
    if (head := next(lines, b"").split(b"\t")) != [b"id", b"text"]:
        raise CslmError(f"{table}: the first line must be the columns id and text, found {head}")
    for number, line in enumerate(lines, 2):
        id, tab, text = line.partition(b"\t")
        try:
            if not tab or not id.strip():
                raise BadRecord("text", "an id and a text are needed")
            name = _files.decoded(id, "id")
            yield Recording(name, "zh", _files.decoded(text, "text"), table.parent / "wav" / f"{name}.wav", split="validation")
        except BadRecord as error:
            yield Rejected(f"test.tsv:{number}", str(table), error.stage, f"line {number}: {error.reason}")
