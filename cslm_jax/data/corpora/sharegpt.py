"""Text chats as they are shared: ShareGPT's form (Infinity-Instruct and many others), OpenAI's, and that of CSLM's scripts.

The path is a file or a folder of JSON (an array, or an object a line) or parquet files. One object a chat:

    {"conversations": [{"from": "human", "value": "..."}, {"from": "gpt", "value": "..."}], "langdetect": "zh-cn"}
    {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}
    {"prompt": "..." or ["...", "..."], "response": "..." or ["...", "..."]}

What comes before the first turn of the user (but the system's) and after the last of the assistant is left out: shared
chats often begin in the middle, or end with a question that no one answered.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from cslm_jax.data.corpora import CorpusConfig, Item, _rows
from cslm_jax.data.corpora._language import language_of
from cslm_jax.data.records import Dialogue, Role
from cslm_jax.errors import BadRecord

_CHATS = ("conversations", "conversation", "messages")
_WHO, _WHAT = ("from", "role"), ("value", "content", "text")
_LANGUAGE = ("langdetect", "language", "lang")
_ROLES: Mapping[str, Role] = {
    "system": "system",
    **dict.fromkeys(("human", "user", "prompter"), "user"),
    **dict.fromkeys(("gpt", "assistant", "chatgpt", "bot", "model"), "assistant"),
}

Turns = tuple[tuple[Role, str], ...]


def read(corpus: CorpusConfig, *, split: str = "train") -> Iterator[Item]:
    """The chats, as dialogues. The language is that of the field langdetect, language or lang; where there is none, it is
    told by the script, and `corpus.language` where the script does not tell.

    Args:
        split: train or validation.

    Raises:
        CslmError: no files, or a truncated one.
    """
    columns = {*_CHATS, *_LANGUAGE, "prompt", "response"}
    return _rows.items(_rows.read(corpus, columns), functools.partial(_dialogue, corpus, split))


def _dialogue(corpus: CorpusConfig, split: str, row: _rows.Row) -> Iterator[Dialogue]:
    turns = turns_of(row.fields)
    told = next((row.fields[field] for field in _LANGUAGE if isinstance(row.fields.get(field), str)), "")
    language = language_of(told, "\n".join(text for _, text in turns), corpus.language)
    yield Dialogue(id=row.id, split=split, language=language, turns=turns)


def turns_of(fields: Mapping[str, Any]) -> Turns:
    """The turns of a chat in any of the three forms; BadRecord names what is wrong."""
    field = next((field for field in _CHATS if fields.get(field)), None)
    if field is None:
        turns = _prompts_and_responses(fields)
    elif not isinstance(fields[field], list):
        raise BadRecord("text", f"field `{field}` is {repr(fields[field])[:40]}; it must be a list of turns")
    else:
        turns = [_turn(turn, f"{field}[{i}]") for i, turn in enumerate(fields[field])]
    return _trimmed([(role, text) for role, text in turns if text or role != "system"])


def _turn(turn: Any, path: str) -> tuple[Role, str]:
    if not isinstance(turn, Mapping):
        raise BadRecord("text", f"field `{path}` is {repr(turn)[:40]}; it must be an object")
    who = next((turn[key] for key in _WHO if key in turn), None)
    if not isinstance(who, str) or who not in _ROLES:
        raise BadRecord("text", f"field `{path}` is said by {who!r}; known are {', '.join(_ROLES)}")
    return _ROLES[who], _text(next((turn[key] for key in _WHAT if turn.get(key) is not None), None), path)


def _text(value: Any, path: str) -> str:
    match value:
        case str():
            return value.strip()
        case [*parts] if all(isinstance(part, Mapping) and isinstance(part.get("text"), str) for part in parts):
            return "".join(part["text"] for part in parts).strip()
    raise BadRecord("text", f"field `{path}` has no text, but {repr(value)[:40]}")


def _prompts_and_responses(fields: Mapping[str, Any]) -> list[tuple[Role, str]]:
    sides = [fields.get(name) for name in ("prompt", "response")]
    if not all(sides):
        raise BadRecord("text", f"there is no field {', '.join(_CHATS)}, or prompt and response")
    asked, told = ([side] if isinstance(side, str) else side for side in sides)
    if len(asked) != len(told):
        raise BadRecord("text", f"field `prompt` has {len(asked)} turns and `response` {len(told)}")
    return [
        (role, _text(text, f"{name}[{i}]"))
        for i, pair in enumerate(zip(asked, told, strict=True))
        for role, name, text in zip(("user", "assistant"), ("prompt", "response"), pair, strict=True)
    ]


def _trimmed(turns: list[tuple[Role, str]]) -> Turns:
    system = [turn for turn in turns[:1] if turn[0] == "system"]
    chat = list(itertools.dropwhile(lambda turn: turn[0] != "user", turns))
    while chat and chat[-1][0] != "assistant":
        chat.pop()
    if not chat:
        raise BadRecord("text", "no question of the user with an answer of the assistant")
    return (*system, *chat)
