"""Alpaca: instructions with their answers, in one language or with the same entries in several (paper section 3).

One object an entry, in JSON (an array, or an object a line) or parquet:

    {"instruction": "...", "input": "...", "output": "..."}                       stanford_alpaca and its translations
    {..., "instruction_zh": "...", "input_zh": "...", "output_zh": "..."}         both languages in one entry

Another language may lie in a file of its own (`files`), whose entries are the translations of the first file's, one by one.
A question is the instruction and, on a line below, the input; `<noinput>` is how some entries write that there is none.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from cslm_jax.data.corpora import CorpusConfig, Item, Rejected, WrittenDialogue, _files, _rows
from cslm_jax.data.records import Dialogue
from cslm_jax.errors import BadRecord, CslmError

Form = Literal["written", "text"]


def read(corpus: CorpusConfig, *, files: Mapping[str, str] = {}, form: Form = "written", split: str = "train") -> Iterator[Item]:
    """The entries, as dialogues that are to be spoken, or as text.

    Args:
        files: a file below the path by language, such as {"en": "alpaca_data.json", "zh": "alpaca_data_zh.json"}; without
            it the path itself is read, in `corpus.language`.
        form: written (one item an entry, in all of its languages) or text (a dialogue a language).
        split: train or validation.

    Raises:
        CslmError: no such file or form, or files with different numbers of entries: they cannot be translations.
    """
    if form not in get_args(Form):
        raise CslmError(f"corpora.{corpus.name}.options.form is {form!r}; choose one of {', '.join(get_args(Form))}")
    make = functools.partial(_made, form=form, split=split)
    if files:
        return _rows.items(_side_by_side(corpus, files), make)
    return _rows.items(map(functools.partial(_in, corpus.language), _rows.read(corpus)), make)


def _in(language: str, row: _rows.Row | Rejected) -> _rows.Row | Rejected:
    """The row with what each language says."""
    if isinstance(row, Rejected):
        return row
    others = [field.removeprefix("instruction_") for field in row.fields if field.startswith("instruction_")]
    sides = {language: _part(row.fields, "")} if "instruction" in row.fields or not others else {}
    return _rows.Row(row.id, row.file, row.place, sides | {other: _part(row.fields, f"_{other}") for other in others})


def _part(fields: Mapping[str, Any], ending: str) -> dict[str, Any]:
    return {name: fields.get(name + ending) for name in ("instruction", "input", "output")}


def _side_by_side(corpus: CorpusConfig, files: Mapping[str, str]) -> Iterator[_rows.Row | Rejected]:
    paths = {language: Path(corpus.path) / file for language, file in files.items()}
    counts = {path: sum(1 for _ in _rows.read_file(path, "")) for path in paths.values()}
    if len(set(counts.values())) > 1:
        told = " and ".join(f"{path} has {count:,} entries" for path, count in counts.items())
        raise CslmError(f"corpora.{corpus.name}: {told}; they are not translations of each other")
    name = _files.name(corpus, next(iter(paths.values())))
    for rows in zip(*(_rows.read_file(path, name) for path in paths.values()), strict=True):
        bad = next((row for row in rows if isinstance(row, Rejected)), None)
        if bad is not None:
            yield bad
            continue
        sides = {language: _part(row.fields, "") for language, row in zip(paths, rows, strict=True)}
        yield _rows.Row(rows[0].id, rows[0].file, rows[0].place, sides)


def _made(row: _rows.Row, form: Form, split: str) -> Iterator[Item]:
    question = {language: _question(side, language) for language, side in row.fields.items()}
    answer = {language: _text(side, "output", language) for language, side in row.fields.items()}
    if form == "written":
        yield WrittenDialogue(row.id, question, answer, split)
    else:
        for language in question:
            turns = (("user", question[language]), ("assistant", answer[language]))
            yield Dialogue(id=f"{row.id}-{language}", split=split, language=language, turns=turns)


def _question(side: Mapping[str, Any], language: str) -> str:
    given = side["input"] or ""
    asked = _text(side, "instruction", language)
    if not isinstance(given, str) or given.strip().lower() in ("", "<noinput>", "<no input>"):
        return asked
    return f"{asked}\n{given.strip()}"


def _text(side: Mapping[str, Any], field: str, language: str) -> str:
    text = side[field]
    if not isinstance(text, str) or text.strip().lower() in ("", "<nooutput>"):
        raise BadRecord("text", f"field `{field}` ({language}) is {text!r}; it must be text")
    return text.strip()
