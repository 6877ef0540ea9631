"""Instructions of the tasks, and the user turn that holds them (paper sections 2 and 3).

Ten instructions per task and language, in our own words; those of speech-to-speech begin with the one the
paper uses at inference. Which of them a record gets is a hash of its id, so it never changes.

An instruction is worded in the language of the input, and for speech-to-speech in that of the answer. A
language without wordings of its own is spoken about in English; all it needs is a line in `LANGUAGE_NAMES`.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from cslm_jax.errors import CslmError

Task = Literal["asr", "tts", "mt", "s2s"]

LANGUAGE_NAMES: Mapping[str, Mapping[str, str]] = {
    "en": {"en": "English", "zh": "Chinese", "fr": "French", "de": "German", "es": "Spanish", "ja": "Japanese"},
    "zh": {"en": "英文", "zh": "中文", "fr": "法文", "de": "德文", "es": "西班牙文", "ja": "日文"},
}
"""Names of languages, first by the language that they are named in."""

TEMPLATES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "asr": {
        "en": (
            "Write down what is said in this recording.",
            "Turn this {source} speech into text.",
            "Transcribe the following {source} audio.",
            "What does the speaker say? Write it.",
            "Please write the spoken words as text.",
            "Give the text of this {source} recording.",
            "Listen, and write what you hear.",
            "Put this speech into written {source}.",
            "Make a transcript of the audio.",
            "Note every word that is spoken here.",
        ),
        "zh": (
            "写下这段录音里说的话。",
            "把这段{source}语音转成文字。",
            "请转写下面的{source}音频。",
            "说话人说了什么？请写出来。",
            "请把听到的话写成文字。",
            "给出这段{source}录音的文字。",
            "听一听，写下你听到的内容。",
            "将这段语音写成{source}。",
            "为这段音频做文字记录。",
            "记下这里说的每个字。",
        ),
    },
    "tts": {
        "en": (
            "Read this text aloud.",
            "Say the following in {source}.",
            "Turn this {source} text into speech.",
            "Speak the words below.",
            "Please make a recording of this text.",
            "Let me hear this {source} sentence.",
            "Give the text a voice.",
            "Read the {source} text out as audio.",
            "How does this text sound? Speak it.",
            "Please pronounce the text that follows.",
        ),
        "zh": (
            "朗读这段文字。",
            "用{source}说出下面的话。",
            "把这段{source}文字转成语音。",
            "请读出下面的字。",
            "请为这段文字录音。",
            "让我听听这句{source}。",
            "给这段文字配上声音。",
            "将{source}文字读成音频。",
            "这段话怎么读？请读出来。",
            "请念出后面的内容。",
        ),
    },
    "mt": {
        "en": (
            "Translate this {source} text into {target}.",
            "Say this in {target}.",
            "What is this sentence in {target}?",
            "Give the {target} version of this text.",
            "Please put the following into {target}.",
            "Write the {source} text in {target}.",
            "How would you write this in {target}?",
            "Turn these {source} words into {target} ones.",
            "Please translate from {source} into {target}.",
            "I need the text below in {target}.",
        ),
        "zh": (
            "把这段{source}翻译成{target}。",
            "用{target}说这句话。",
            "这句话的{target}是什么？",
            "给出这段文字的{target}版本。",
            "请把下面的内容译成{target}。",
            "将这段{source}写成{target}。",
            "这句话用{target}怎么写？",
            "把这些{source}字换成{target}。",
            "请从{source}翻译到{target}。",
            "我需要下面文字的{target}。",
        ),
    },
    "s2s": {
        "en": (
            "Please directly answer the questions in the user's speech.",
            "Answer the question that you hear.",
            "Listen to the speech, and reply.",
            "Give a spoken answer to this question.",
            "Please reply to what is said.",
            "What is your answer to the speaker?",
            "Respond to the user's recording.",
            "Hear the request, and answer it.",
            "Please respond to this spoken question.",
            "Do what the speaker asks for.",
        ),
        "zh": (
            "直接回答用户语音中的问题。",
            "回答你听到的问题。",
            "听这段语音，然后回复。",
            "用语音回答这个问题。",
            "请回复说话人的话。",
            "你怎么回答说话人？",
            "回应用户的录音。",
            "听清要求，然后回答。",
            "请回应这个语音问题。",
            "做说话人要求的事。",
        ),
    },
    "s2s_cross": {
        "en": (
            "Please answer the questions in the user's speech in {target}.",
            "Answer the question that you hear in {target}.",
            "Listen to the speech, and reply in {target}.",
            "Give a spoken {target} answer to this question.",
            "Please reply in {target} to what is said.",
            "What is your {target} answer to the speaker?",
            "Respond in {target} to the user's recording.",
            "Hear the request, and answer it in {target}.",
            "Please use {target} for your spoken response.",
            "Speak {target} and do what is asked.",
        ),
        "zh": (
            "用{target}回答用户语音中的问题。",
            "用{target}回答你听到的问题。",
            "听这段语音，然后用{target}回复。",
            "用{target}语音回答这个问题。",
            "请用{target}回复说话人的话。",
            "你怎么用{target}回答说话人？",
            "用{target}回应用户的录音。",
            "听清要求，然后用{target}回答。",
            "请用{target}回应这个语音问题。",
            "说{target}，做说话人要求的事。",
        ),
    },
}
"""Instructions by task and by the language that they are worded in."""

STANDARD_SHARE = 0.5
"""Share of speech-to-speech records that get the instruction of inference; the rest get one of the other nine."""

_FRAMES = {"en": ("{instruction} This is input: ", "."), "zh": ("{instruction} 这是输入: ", "。")}
_CLOSED = tuple(".?!。？！")


def choose(task: Task, language: str, key: str, target: str | None = None) -> str:
    """The instruction of one record.

    Args:
        language: of the input: the speech of asr and s2s, the text of tts and mt.
        key: the record's id.
        target: language of the output; by default the same as `language`.

    Raises:
        CslmError: a language that `LANGUAGE_NAMES` does not name, or a task without instructions.
    """
    known = wordings(task, language, target or language)
    draw = int.from_bytes(hashlib.sha256(f"{task} {key}".encode()).digest()[:8], "big")
    if task == "s2s":
        rest = len(known) - 1
        standard = draw % 1000 < 1000 * STANDARD_SHARE
        picked = 0 if standard else 1 + draw // 1000 % rest
    else:
        picked = draw % len(known)
    return known[picked]


def inference_instruction(language: str, target: str) -> str:
    """The paper's instruction for answering speech in `language` with speech in `target` (section 3)."""
    return _filled(_templates("s2s", language, target)[0], _wording("s2s", language, target), language, target)


@functools.cache
def wordings(task: Task, language: str, target: str) -> tuple[str, ...]:
    """All instructions of a task."""
    wording = _wording(task, language, target)
    return tuple(_filled(template, wording, language, target) for template in _templates(task, language, target))


def user_turn(instruction: str, parts: Sequence[Any]) -> tuple[Any, ...]:
    """Content of a user turn: "{instruction} This is input: {parts}.", or the same in Chinese (paper section 3).

    The frame's own full stop is left out behind text that ends in one.

    Args:
        parts: the input as parts of a chat message: text, or units.
    """
    head, stop = _frame(instruction)
    closed = isinstance(parts[-1], str) and parts[-1].endswith(_CLOSED)
    return (head, *parts, *(() if closed else (stop,)))


@functools.lru_cache(maxsize=1024)
def _frame(instruction: str) -> tuple[str, str]:
    """What stands before the input and behind it."""
    chinese = any("\u4e00" <= character <= "\u9fff" for character in instruction)
    head, stop = _FRAMES["zh" if chinese else "en"]
    return head.format(instruction=instruction), stop


def _wording(task: Task, language: str, target: str) -> str:
    """The language that the instruction itself is in."""
    wanted = target if task == "s2s" else language
    return wanted if wanted in LANGUAGE_NAMES else "en"


def _templates(task: Task, language: str, target: str) -> tuple[str, ...]:
    name = "s2s_cross" if task == "s2s" and language != target else task
    if name not in TEMPLATES:
        raise CslmError(f"no instructions for the task {task!r}; TEMPLATES in data/prompts.py has {', '.join(TEMPLATES)}")
    return TEMPLATES[name][_wording(task, language, target)]


def _filled(template: str, wording: str, language: str, target: str) -> str:
    names = LANGUAGE_NAMES[wording]
    for code in (language, target):
        if code not in names:
            raise CslmError(f"the language {code!r} has no name; add it to LANGUAGE_NAMES[{wording!r}] in data/prompts.py")
    return template.format(source=names[language], target=names[target])
