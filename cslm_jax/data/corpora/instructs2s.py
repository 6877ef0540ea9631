"""InstructS2S-200K (LLaMA-Omni): spoken chats of one or more exchanges, made from Alpaca and UltraChat.

Below the path, when the published parts are joined and unpacked, lie a JSON array and the sound that it names:

    instruct_en_200k_data_cosy2.json
    wav/instruct_en_0-1-user.wav

    {"id": "instruct_en_0", "conversation": [
        {"from": "human", "text": "...", "speech": "wav/instruct_en_0-1-user.wav"},
        {"from": "gpt", "text": "...", "speech": "...", "unit": [...]}]}

The units are CosyVoice 2's, whose codes are not those of the paper's tokenizer: they are not read. An answer without a
sound file has to be synthesised, so read it as `written`. A translation of the data in the same layout is read alike.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from cslm_jax.data.corpora import CorpusConfig, Item, Recording, SpokenDialogueItem, WrittenDialogue, _rows
from cslm_jax.data.corpora.sharegpt import turns_of
from cslm_jax.data.records import Dialogue
from cslm_jax.errors import BadRecord, CslmError

Form = Literal["spoken", "written", "text"]


def read(
    corpus: CorpusConfig,
    *,
    form: Form = "spoken",
    sound: str = "",
    exchanges: Literal["first", "all"] = "first",
    split: str = "train",
) -> Iterator[Item]:
    """The chats, in `corpus.language`.

    Args:
        form: spoken (question and answer are on disk), written (both are to be synthesised) or text (whole chats).
        sound: folder that the sound files are named relative to; by default that of the JSON.
        exchanges: of a spoken or written chat only the first, which can be understood alone, or each as an item of its own.
        split: train or validation.

    Raises:
        CslmError: no such file, a truncated one, or no such form.
    """
    if form not in get_args(Form) or exchanges not in ("first", "all"):
        raise CslmError(f"corpora.{corpus.name}.options: form is {' or '.join(get_args(Form))}, exchanges first or all")
    make = {"spoken": functools.partial(_spoken, sound), "written": _written, "text": _text}[form]
    if form != "text":
        make = functools.partial(_each, make, None if exchanges == "all" else 1)
    return _rows.items(_rows.read(corpus), functools.partial(make, corpus, split))


def _text(corpus: CorpusConfig, split: str, row: _rows.Row) -> Iterator[Dialogue]:
    yield Dialogue(id=row.id, split=split, language=corpus.language, turns=turns_of(row.fields))


def _each(make: Any, most: int | None, corpus: CorpusConfig, split: str, row: _rows.Row) -> Iterator[Item]:
    turns = row.fields.get("conversation")
    if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
        raise BadRecord("text", "field `conversation` is missing, or no list of turns")
    pairs = [(i, pair) for i, pair in enumerate(itertools.pairwise(turns)) if [t.get("from") for t in pair] == ["human", "gpt"]]
    if not pairs:
        raise BadRecord("text", "field `conversation` has no turn of `human` that one of `gpt` follows")
    for exchange, (i, (question, answer)) in enumerate(pairs[:most], 1):
        paths = (f"conversation[{i}]", f"conversation[{i + 1}]")
        yield make(corpus, split, row, f"{row.id}-{exchange}", dict(zip(paths, (question, answer), strict=True)))


def _spoken(
    sound: str, corpus: CorpusConfig, split: str, row: _rows.Row, id: str, sides: Mapping[str, Any]
) -> SpokenDialogueItem:
    folder = Path(sound) if sound else row.file.parent
    recordings = []
    for name, (path, turn) in zip(("question", "answer"), sides.items(), strict=True):
        file = turn.get("speech")
        if not isinstance(file, str) or not file:
            raise BadRecord("audio", f"field `{path}.speech` is missing; with options.form=written it is synthesised")
        recordings.append(Recording(f"{id}-{name}", corpus.language, _said(turn, path), folder / file, split=split))
    question, answer = ({corpus.language: recording} for recording in recordings)
    return SpokenDialogueItem(id, question, answer, split)


def _written(corpus: CorpusConfig, split: str, row: _rows.Row, id: str, sides: Mapping[str, Any]) -> WrittenDialogue:
    question, answer = ({corpus.language: _said(turn, path)} for path, turn in sides.items())
    return WrittenDialogue(id, question, answer, split)


def _said(turn: Mapping[str, Any], path: str) -> str:
    text = turn.get("text")
    if not isinstance(text, str) or not text.strip():
        raise BadRecord("text", f"field `{path}.text` is {text!r}; it must be text")
    return text.strip()
