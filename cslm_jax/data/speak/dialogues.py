"""Text dialogues -> spoken dialogues, whose sound is made when it is loaded."""

from __future__ import annotations

import collections
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from cslm_jax.data.corpora import CorpusConfig, Item, Postponed, Recording, Rejected, SpokenDialogueItem, WrittenDialogue
from cslm_jax.data.records import Dialogue
from cslm_jax.data.speak import tts
from cslm_jax.data.speak.cache import Cache
from cslm_jax.data.speak.config import SpeakConfig, TtsConfig
from cslm_jax.data.speak.translate import translate
from cslm_jax.errors import BadRecord, CslmError, TryAgain

# Dialogues that are in translation ahead of what is asked for, per thread.
_WAITING = 4


def spoken(items: Iterable[Item], corpus: CorpusConfig, languages: Sequence[str] | None = None) -> Iterator[Item]:
    """The items of a corpus, in order, its text dialogues as spoken ones; translated in threads ahead of what is asked for.

    Args:
        languages: the ones that there are tasks for; None for any.

    Raises:
        CslmError: a language without tasks, or a translator or synthesiser that fails for good.
    """
    speak = corpus.speak
    if speak is None:
        return iter(items)
    for language in (*speak.question, *speak.answer):
        if languages is not None and language not in languages:
            known = ", ".join(languages)
            raise CslmError(f"corpora.{corpus.name}.speak has the language {language!r}; data.languages has {known}")
    convert = functools.partial(_spoken, speak=speak, cache=Cache(speak.cache))
    return _ahead(convert, items, speak.translator.threads) if speak.translator else map(convert, items)


def _ahead(convert: Callable[[Item], Item], items: Iterable[Item], threads: int) -> Iterator[Item]:
    rest = iter(items)
    waiting: collections.deque[Future[Item]] = collections.deque()
    pool = ThreadPoolExecutor(threads)
    try:
        waiting.extend(pool.submit(convert, item) for item in itertools.islice(rest, threads * _WAITING))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(convert, item) for item in itertools.islice(rest, 1))
    finally:
        pool.shutdown(cancel_futures=True)


def _spoken(item: Item, speak: SpeakConfig, cache: Cache) -> Item:
    if not isinstance(item, Dialogue | WrittenDialogue):
        return item
    try:
        asked, told = _exchange(item)
        question = _texts(asked, speak.question, "question", speak, cache)
        answer = _texts(told, speak.answer, "answer", speak, cache)
    except TryAgain as error:
        return Postponed(item.id, "", error.stage, error.reason)
    except BadRecord as error:
        return Rejected(item.id, "", error.stage, error.reason)
    return SpokenDialogueItem(
        item.id,
        {language: _recording(item, "question", language, text, speak) for language, text in question.items()},
        {language: _recording(item, "answer", language, text, speak) for language, text in answer.items()},
        item.split,
    )


def _exchange(item: Dialogue | WrittenDialogue) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Question and answer by language; of several turns the first question that is answered at once, and its answer."""
    if isinstance(item, WrittenDialogue):
        return item.question, item.answer
    for (role, question), (next_role, answer) in itertools.pairwise(item.turns):
        if (role, next_role) == ("user", "assistant"):
            return {item.language: question}, {item.language: answer}
    raise BadRecord("record", "field `turns` has no turn of the user that the assistant answers")


def _texts(
    texts: Mapping[str, str], wanted: Mapping[str, TtsConfig], field: str, speak: SpeakConfig, cache: Cache
) -> dict[str, str]:
    """The text in every language that is wanted; without a translator in those of them that there are."""
    for language, text in texts.items():
        if not isinstance(text, str) or not text.strip():
            raise BadRecord("text", f"field `{field}[{language}]` is empty")
    made = {}
    for language in wanted:
        if language in texts:
            made[language] = texts[language]
        elif speak.translator and texts:
            source = next(iter(texts))
            place = f"{field}[{source}]"
            made[language] = translate(texts[source], source, language, place, speak.translator, cache, speak.failures_in_a_row)
    if not made:
        there, needed = ", ".join(texts) or "no language", ", ".join(wanted)
        raise BadRecord("record", f"field `{field}` is in {there}; speak.{field} has {needed}, and there is no translator")
    return made


def _recording(item: Item, side: str, language: str, text: str, speak: SpeakConfig) -> Recording:
    synthesiser = getattr(speak, side)[language]
    voice = tts.choose_voice(synthesiser, f"{item.id} {side} {language}")
    field = f"{side}[{language}]"
    audio = functools.partial(tts.say, text, language, voice, field, synthesiser, speak.cache, speak.failures_in_a_row)
    return Recording(f"{item.id} {field}", language, text, audio, voice, item.split)
