"""The bundled bilingual world as a corpus: `path` names the part of it.

    recordings     statements in many voices (ASR; also what the tokenizer is trained on)
    readings       other statements, in the one answer voice (TTS, and the speech decoder)
    translations   all statements as text in both languages
    dialogues      text instructions, single- and multi-turn
    questions      questions in many voices, answers in the answer voice, both in both languages

Which sentences are held out is decided by their meaning (`miniature.split`), in all parts alike.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

from cslm_jax.data.catalogue import nearest
from cslm_jax.data.corpora import CorpusConfig, Item, Recording, SpokenDialogueItem
from cslm_jax.data.records import Dialogue, Translation
from cslm_jax.errors import CslmError
from cslm_jax.miniature import dialogues as dialogue_texts
from cslm_jax.miniature import questions as question_texts
from cslm_jax.miniature import statements as statement_texts
from cslm_jax.miniature.lexicon import LANGUAGES, Pair
from cslm_jax.miniature.split import split
from cslm_jax.miniature.statements import Statement
from cslm_jax.miniature.voices import ANSWER_VOICE, Voice, question_voice, speak

# Making up the world takes seconds, and a process reads its parts more than once.
dialogues = functools.cache(dialogue_texts.dialogues)
questions = functools.cache(question_texts.questions)
statements = functools.cache(statement_texts.statements)


def read(corpus: CorpusConfig) -> Iterator[Item]:
    """The items of one part.

    Raises:
        CslmError: no such part.
    """
    if corpus.path not in PARTS:
        raise CslmError(f"corpora.{corpus.name}.path: the miniature has no part {corpus.path!r}.{nearest(corpus.path, PARTS)}")
    return PARTS[corpus.path](corpus.seed)


def _recordings(seed: int) -> Iterator[Recording]:
    for i, statement in _halves(seed, 0):
        for language in LANGUAGES:
            id = f"recording-{i}-{language}"
            yield _recording(id, language, statement.text, question_voice(id), split(statement.meaning))


def _readings(seed: int) -> Iterator[Recording]:
    for i, statement in _halves(seed, 1):
        for language in LANGUAGES:
            id = f"reading-{i}-{language}"
            yield _recording(id, language, statement.text, ANSWER_VOICE[language], split(statement.meaning))


def _translations(seed: int) -> Iterator[Translation]:
    for i, statement in enumerate(statements(seed)):
        texts = {language: statement.text[language] for language in LANGUAGES}
        yield Translation(id=f"translation-{i}", split=split(statement.meaning), texts=texts)


def _dialogues(seed: int) -> Iterator[Dialogue]:
    for i, dialogue in enumerate(dialogues(seed)):
        turns = tuple(turn for user, assistant in dialogue.turns for turn in (("user", user), ("assistant", assistant)))
        yield Dialogue(id=f"dialogue-{i}", split=split(dialogue.meanings[0]), language=dialogue.language, turns=turns)


def _questions(seed: int) -> Iterator[SpokenDialogueItem]:
    for i, item in enumerate(questions(seed)):
        side, asked, told = split(item.meaning), {}, {}
        for language in LANGUAGES:
            id = f"question-{i}-{language}"
            asked[language] = _recording(id, language, item.question, question_voice(id), side)
            told[language] = _recording(f"answer-{i}-{language}", language, item.answer, ANSWER_VOICE[language], side)
        yield SpokenDialogueItem(f"question-{i}", asked, told, side)


def _halves(seed: int, half: int) -> Iterator[tuple[int, Statement]]:
    """Every other statement: no sentence is both heard and read (paper: half ASR, half TTS)."""
    return ((i, statement) for i, statement in enumerate(statements(seed)) if i % 2 == half)


def _recording(id: str, language: str, text: Pair, voice: Voice, side: str) -> Recording:
    spoken = functools.partial(speak, text[language], language, voice)
    return Recording(id, language, text[language], spoken, voice.speaker, side)


PARTS: dict[str, Callable[[int], Iterator[Item]]] = {
    "recordings": _recordings,
    "readings": _readings,
    "translations": _translations,
    "dialogues": _dialogues,
    "questions": _questions,
}
