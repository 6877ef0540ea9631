"""Text -> text in another language, by a language model behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import itertools
import json
import unicodedata

from cslm_jax.data import prompts
from cslm_jax.data.speak import endpoint
from cslm_jax.data.speak.cache import Cache
from cslm_jax.data.speak.config import TranslatorConfig
from cslm_jax.data.speak.patience import patience_with
from cslm_jax.data.speak.template import fill
from cslm_jax.errors import BadRecord, TryAgain
from cslm_jax.speech import align

PROMPT = (
    "Translate the following text from {source} into {target}. Write it as it would be said aloud. "
    "Answer with the translation alone: no notes, no quotation marks around it.\n\n{text}"
)
_STAGE = "translate"
_COMPLETIONS = "/chat/completions"
# First words of the Unicode names of a language's letters; any other language is written in Latin ones.
_SCRIPTS = {
    "zh": ("CJK",), "yue": ("CJK",), "ja": ("CJK", "HIRAGANA", "KATAKANA"), "ko": ("HANGUL", "CJK"),
    "ru": ("CYRILLIC",), "uk": ("CYRILLIC",), "bg": ("CYRILLIC",), "el": ("GREEK",), "he": ("HEBREW",),
    "ar": ("ARABIC",), "fa": ("ARABIC",), "ur": ("ARABIC",), "hi": ("DEVANAGARI",), "th": ("THAI",),
}  # fmt: skip
# A translation may have so many times as many words as its source, or so many times fewer, and some more.
_TIMES_LONGER, _TIMES_SHORTER, _WORDS_MORE = 4, 4, 20
_ECHO_WORDS = 4


def translate(
    text: str, source: str, target: str, field: str, translator: TranslatorConfig, cache: Cache, failures_in_a_row: int
) -> str:
    """The translation, from the cache if it was ever made.

    Args:
        source, target: languages, such as "en" and "zh".
        field: of the record, for messages.

    Raises:
        BadRecord: the answer is no translation: empty, cut off, in another script, or absurdly long or short.
        TryAgain: the endpoint failed.
        CslmError: it failed for many texts in a row, or always would.
    """
    prompt = translator.prompts.get(f"{source}-{target}", PROMPT)
    filled = fill(prompt, {"text": text, "source": _name(source), "target": _name(target)})
    messages = [{"role": "user", "content": filled}]
    request = {"model": translator.model, "temperature": 0, "messages": messages, **translator.body}
    asked = {"endpoint": translator.endpoint.identity, **request}
    try:
        answer = cache.find_text(asked)
        if answer is not None:
            return check(answer, text, source, target)
        with patience_with(translator.endpoint.url + _COMPLETIONS, failures_in_a_row):
            answer = _ask(translator, request)
            cache.keep_text(asked, answer)
            return check(answer, text, source, target)
    except BadRecord as error:
        raise type(error)(error.stage, f"field `{field}` into {_name(target)}: {error.reason}") from error


def _name(language: str) -> str:
    return prompts.load().languages["en"].names.get(language, language)


def _ask(translator: TranslatorConfig, request: dict) -> str:
    content = endpoint.ask(translator.endpoint, _STAGE, _COMPLETIONS, json=request).data
    try:
        choice = json.loads(content)["choices"][0]
        answer, finished = choice["message"]["content"], choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        url = translator.endpoint.url + _COMPLETIONS
        raise TryAgain(_STAGE, f"{url} answered with something that is no chat completion: {content[:80]!r}") from error
    if finished == "length":
        raise BadRecord(_STAGE, "the translation was cut off; see max_tokens (translator.body)")
    return (answer or "").strip()


def check(answer: str, text: str, source: str, target: str) -> str:
    """The answer, if it can be a translation of the text; a BadRecord says why it cannot."""
    if not answer:
        raise BadRecord(_STAGE, "the translation is empty")
    if "<think>" in answer:
        raise BadRecord(_STAGE, "the translation holds the model's thoughts (<think>); turn them off (translator.body)")
    if not _is_written_in(answer, target):
        raise BadRecord(_STAGE, f"the translation is not written in {_name(target)}: {answer[:60]!r}")
    before, after = len(align.words(text, source)), len(align.words(answer, target))
    if before > _ECHO_WORDS and answer == text.strip():
        raise BadRecord(_STAGE, "the text came back as it was")
    if not (before - _WORDS_MORE) / _TIMES_SHORTER <= after <= before * _TIMES_LONGER + _WORDS_MORE:
        raise BadRecord(_STAGE, f"the translation has {after} words, the text {before}")
    return answer


def _is_written_in(text: str, language: str) -> bool:
    """Whether half of the words are in the script of the language. A word is a run of letters of one script, in Chinese and
    Japanese one character, so that a foreign name counts once."""
    letters = [unicodedata.name(letter, "").partition(" ")[0] if letter.isalpha() else "" for letter in text]
    runs = ((script, len(list(run))) for script, run in itertools.groupby(letters) if script)
    words = [(script, length if script == "CJK" else 1) for script, length in runs]
    ours = sum(count for script, count in words if script in _SCRIPTS.get(language, ("LATIN",)))
    return 2 * ours >= sum(count for _, count in words)
