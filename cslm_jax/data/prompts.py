"""Instructions of the tasks, and the user turn that holds them (paper sections 2 and 3).

A language is one small file: what it is called, what it calls others, and how a model is asked in it. English and Chinese
come with the package (data/languages/, ten instructions a task in our own words); `data.language_files` names more. Which
instruction a record gets is a hash of its id, so it never changes.

An instruction is worded in the language of the input, and for speech-to-speech in that of the answer. A language
without wordings of its own is spoken about in English; all it needs is a name.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from cslm_jax.data.catalogue import TaskSpec, nearest
from cslm_jax.errors import CslmError

Task = Literal["asr", "tts", "mt", "s2s"]

STANDARD_SHARE = 0.5
"""Share of speech-to-speech records that get the instruction of inference; the rest get one of the others."""

_TASKS = ("asr", "tts", "mt", "s2s", "s2s_cross")
_FIELDS = ("language", "called", "names", "frame", "instructions")
_CLOSED = tuple(".?!。？！")


@dataclasses.dataclass(frozen=True)
class Language:
    """What a language file says."""

    language: str
    """Its code, such as fr."""
    called: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Its name, by the language that it is named in; for languages whose own files do not name it."""
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Names of languages in this one."""
    frame: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What stands around the input: head, with the place of the {instruction}, and stop."""
    instructions: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    """By task (asr, tts, mt, s2s, s2s_cross), with {source} and {target} for names of languages; the first of s2s and of
    s2s_cross is that of inference. A task without any is worded in English."""

    def __post_init__(self):
        if not isinstance(self.language, str) or not self.language:
            raise ValueError("`language` must be the code of the language, such as fr")
        for field in ("called", "names", "frame"):
            for key, value in _table(self, field).items():
                if not isinstance(value, str) or not value:
                    raise ValueError(f"`{field}.{key}` must be text, not {value!r}")
        if self.instructions and "{instruction}" not in self.frame.get("head", ""):
            raise ValueError("`frame.head` must hold {instruction}, for there are instructions")
        for task, templates in _table(self, "instructions").items():
            if task not in _TASKS:
                raise ValueError(f"`instructions.{task}`: no such task.{nearest(task, _TASKS)}")
            if not isinstance(templates, list) or not templates:
                raise ValueError(f"`instructions.{task}` must be a list of at least one instruction")
            for template in templates:
                _check_template(template, f"instructions.{task}")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """What a model is asked to do, in words."""

    text: str
    language: Language = dataclasses.field(repr=False)
    """That it is worded in."""

    def turn(self, *parts: Any) -> tuple[Any, ...]:
        """Content of a user turn: "{instruction} This is input: {parts}.", or the same in another language (section 3).

        The frame's own full stop is left out behind text that ends in one.

        Args:
            parts: the input as parts of a chat message: text, or units.
        """
        head, stop = self.language.frame["head"], self.language.frame.get("stop", "")
        closed = isinstance(parts[-1], str) and parts[-1].endswith(_CLOSED)
        return (head.replace("{instruction}", self.text), *parts, *(() if closed or not stop else (stop,)))


@dataclasses.dataclass(frozen=True)
class Prompts:
    """All languages that are known, by code."""

    languages: Mapping[str, Language]

    @functools.cached_property
    def sha256(self) -> str:
        """Of everything that decides an instruction."""
        return hashlib.sha256(repr(sorted(self.languages.items())).encode()).hexdigest()

    def fingerprint(self, task: TaskSpec) -> str | None:
        """Of what decides the instructions of one task, so that another language leaves its token caches as they are."""
        if task.family not in get_args(Task):
            return None
        turns = [known.turn("") for known in self.wordings(task.family, task.source, task.target)]
        return hashlib.sha256(repr(turns).encode()).hexdigest()

    def choose(self, task: Task, language: str, key: str, target: str | None = None) -> Instruction:
        """The instruction of one record.

        Args:
            language: of the input: the speech of asr and s2s, the text of tts and mt.
            key: the record's id.
            target: language of the output; by default the same as `language`.

        Raises:
            CslmError: a language that no file names, or a task without instructions.
        """
        known = self.wordings(task, language, target or language)
        draw = int.from_bytes(hashlib.sha256(f"{task} {key}".encode()).digest()[:8], "big")
        if task != "s2s":
            return known[draw % len(known)]
        standard = draw % 1000 < 1000 * STANDARD_SHARE or len(known) == 1
        return known[0 if standard else 1 + draw // 1000 % (len(known) - 1)]

    def of_inference(self, language: str, target: str) -> Instruction:
        """The paper's instruction for answering speech in `language` with speech in `target` (section 3)."""
        return self.wordings("s2s", language, target)[0]

    @functools.cache  # noqa: B019 (there are as many of them as sets of language files)
    def wordings(self, task: Task, language: str, target: str) -> tuple[Instruction, ...]:
        """All instructions of a task."""
        if task not in get_args(Task):
            raise CslmError(f"no instructions for the task {task!r}; there are some for {', '.join(get_args(Task))}")
        name = "s2s_cross" if task == "s2s" and language != target else task
        wanted = self.languages.get(target if task == "s2s" else language)
        wording = wanted if wanted and name in wanted.instructions else self.languages["en"]
        names = {"source": self._name(language, wording), "target": self._name(target, wording)}
        return tuple(Instruction(template.format(**names), wording) for template in wording.instructions[name])

    def _name(self, language: str, wording: Language) -> str:
        called = self.languages[language].called if language in self.languages else {}
        name = called.get(wording.language) or wording.names.get(language)
        if not name:
            raise CslmError(
                f"the language {language!r} has no name in {wording.language!r}; write a file with language = {language!r} "
                f'and [called] {wording.language} = "...", and name it in data.language_files (see configs/languages)'
            )
        return name

    def __hash__(self):
        return hash(self.sha256)


@functools.cache
def load(files: Sequence[str] = ()) -> Prompts:
    """The languages of the package and of `files`; a file may replace one of the package.

    Args:
        files: paths, as in data.language_files; a tuple.

    Raises:
        CslmError: a file is missing or malformed; the message names it and the field.
    """
    built_in = sorted((Path(__file__).parent / "languages").glob("*.toml"))
    languages = [_read(path) for path in (*built_in, *map(Path, files))]
    return Prompts({language.language: language for language in languages})


def _read(path: Path) -> Language:
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
        for field in fields:
            if field not in _FIELDS:
                raise ValueError(f"`{field}`: no such field.{nearest(field, _FIELDS)}")
        return Language(**fields)
    except OSError as error:
        raise CslmError(f"data.language_files: {path} cannot be read ({error.strerror})") from error
    except (ValueError, TypeError) as error:
        raise CslmError(f"{path}: {error}") from error


def _table(language: Language, field: str) -> Mapping[str, Any]:
    value = getattr(language, field)
    if not isinstance(value, Mapping):
        raise ValueError(f"`{field}` must be a table")
    return value


def _check_template(template: Any, where: str) -> None:
    try:
        template.format(source="", target="")
    except (AttributeError, LookupError, ValueError) as error:
        reason = "it must be text whose only placeholders are {source} and {target}"
        raise ValueError(f"`{where}`: {template!r} cannot be filled in; {reason}") from error
