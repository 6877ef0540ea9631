"""The miniature's text is honest and learnable: held-out means unseen, answers are right, sounds are distinct."""

import collections
import ctypes
import hashlib
import re

import espeakng_loader
import pytest

from cslm_jax.miniature import grammar
from cslm_jax.miniature.grammar import LANGUAGES, split
from cslm_jax.miniature.lexicon import PEOPLE
from cslm_jax.miniature.world import ATTRIBUTES, fact, facts, friend


@pytest.fixture(scope="module")
def statements():
    return grammar.statements()


@pytest.fixture(scope="module")
def questions():
    return grammar.questions()


@pytest.fixture(scope="module")
def dialogues():
    return grammar.dialogues()


@pytest.fixture(scope="module")
def sentences(statements, questions):
    """(meaning, Pair) of everything that is spoken."""
    said = [(item.meaning, item.text) for item in statements]
    asked = [(item.meaning, pair) for item in questions for pair in (item.question, item.answer)]
    return said + asked


def _on(side, sentences):
    return {pair[language] for meaning, pair in sentences if split(meaning) == side for language in LANGUAGES}


def _words(pair, language):
    return re.findall(r"[a-z]+", pair.en) if language == "en" else re.findall(r"[\u4e00-\u9fff]", pair.zh)


# Held out ------------------------------------------------------------------------------------------


def test_no_held_out_sentence_is_in_any_training_text(sentences, dialogues):
    in_dialogues = {text for d in dialogues if split(d.meanings[0]) == "train" for turn in d.turns for text in turn}
    held_out = _on("validation", sentences)
    assert len(held_out) > 2000
    assert not held_out & (_on("train", sentences) | in_dialogues)


def test_a_held_out_sentence_is_not_held_out_by_its_punctuation_only(sentences):
    """The same words with other marks would be the same sentence to the ear."""
    bare = [{re.sub(r"[,.?，。？]", "", text) for text in _on(side, sentences)} for side in ("train", "validation")]
    assert not bare[0] & bare[1]


def test_a_tenth_is_held_out_of_statements_and_of_every_large_kind_of_question(statements, questions):
    kinds = collections.defaultdict(list, statement=[s.meaning for s in statements])
    for item in questions:
        kinds[item.kind].append(item.meaning)
    for kind, meanings in kinds.items():
        if len(set(meanings)) >= 300:
            share = sum(split(m) == "validation" for m in meanings) / len(meanings)
            assert 0.06 < share < 0.14, kind


def test_every_fact_is_stated_in_training_in_both_languages(statements):
    """Otherwise a held-out question about it could not be answered."""
    told = _on("train", [(s.meaning, s.text) for s in statements])
    for known in facts().values():
        for clause in (known.short(), known.full()):
            assert f"{clause.en}." in told
            assert f"{clause.zh}。" in told


def test_every_held_out_question_uses_only_words_of_training(sentences):
    for language in LANGUAGES:
        vocabularies = [
            {word for meaning, pair in sentences if split(meaning) == side for word in _words(pair, language)}
            for side in ("train", "validation")
        ]
        assert vocabularies[1] <= vocabularies[0]


def test_the_turns_of_a_dialogue_lie_on_one_side(dialogues):
    assert all(len({split(meaning) for meaning in d.meanings}) == 1 for d in dialogues)
    assert {split(d.meanings[0]) for d in dialogues if len(d.turns) > 1} == {"train", "validation"}


def test_both_orders_of_two_facts_are_on_one_side(questions):
    """ "A, and B" gives "B, and A" away."""
    sides = collections.defaultdict(set)
    for item in questions:
        if item.kind in ("two", "same"):
            sides[tuple(sorted(item.answer.en.removesuffix(".").split(", and ")))].add(split(item.meaning))
    assert max(map(len, sides.values())) == 1


# Answers -------------------------------------------------------------------------------------------


def test_one_question_has_one_answer(questions):
    for language in LANGUAGES:
        answers = collections.defaultdict(set)
        for item in questions:
            answers[item.question[language]].add(item.answer[language])
        assert max(map(len, answers.values())) == 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_right_answer_is_correct_and_that_of_another_question_is_not(questions, language):
    assert all(grammar.correct(item, language, item.answer[language]) for item in questions)
    assert sum(
        grammar.correct(item, language, other.answer[language])
        for item, other in zip(questions, questions[1:], strict=False)
    ) < 0.01 * len(questions)  # fmt: skip


def test_an_answer_with_a_wrong_an_extra_or_a_missing_key_is_wrong(questions):
    item = next(i for i in questions if i.kind == "two" and "river" in i.answer.en)
    assert grammar.correct(item, "en", item.answer.en.replace("now", "always").upper())
    assert not grammar.correct(item, "en", item.answer.en.replace("river", "lake"))
    assert not grammar.correct(item, "en", item.answer.en.replace("river", "river by the lake"))
    assert not grammar.correct(item, "en", item.answer.en.replace("by the river", ""))
    assert not grammar.correct(item, "en", "")
    swapped = ", and ".join(reversed(item.answer.en.removesuffix(".").split(", and ")))
    assert not grammar.correct(item, "en", swapped)


def test_both_languages_have_as_many_keys(questions):
    """A key that one language lacks would make its answers easier."""
    for item in questions:
        assert len(item.keys["en"]) == len(item.keys["zh"]) >= 2, item


def test_guessing_the_commonest_answer_or_value_does_not_pay(questions):
    answers = collections.Counter(item.answer.en for item in questions)
    assert max(answers.values()) < 0.01 * len(questions)
    by_kind = collections.defaultdict(collections.Counter)
    for item in questions:
        values = [key for key in item.keys["en"] if key not in ("true", "false")]
        by_kind[item.kind][values[-1]] += 1
    for kind, counts in by_kind.items():
        assert max(counts.values()) / sum(counts.values()) < 0.17, (kind, counts)


def test_answers_agree_with_the_world():
    """Every value belongs to one person; friendship is mutual; an answer quotes the facts."""
    for attribute in ATTRIBUTES:
        assert len({fact(person, attribute).value for person in PEOPLE}) == len(PEOPLE)
    assert all(friend(friend(person)) == person != friend(person) for person in PEOPLE)
    truths = {known.full().en for known in facts().values()}
    for item in grammar.questions():
        if item.kind in ("two", "same", "friend"):
            assert set(item.answer.en.removesuffix(".").split(", and ")) <= truths


def test_sums_counts_checks_and_opposites_are_right(questions):
    number = {word: i for i, word in enumerate("one two three four five six seven eight nine ten".split(), 1)}
    for item in questions:
        keys = item.keys["en"]
        if item.kind == "sum":
            a, _, b, _, total, _ = keys
            assert number[a] + number[b] == number[total]
        if item.kind == "count":
            start, end, *counted = (number[key] for key in keys[1:])
            assert counted == list(range(start, end + 1))
        if item.kind == "check":
            assert (keys[-1] == "true") == (set(keys[:-1]) <= set(_words(item.question, "en")))
        if item.kind == "opposite":
            adjective, noun, opposite, same = keys
            assert adjective != opposite
            assert noun == same


# Sentences -----------------------------------------------------------------------------------------


def test_there_is_enough_and_nothing_twice(statements, questions, dialogues):
    for pairs in ([s.text for s in statements], [q.question for q in questions]):
        assert len(pairs) >= 6000
        assert all(len({pair[language] for pair in pairs}) == len(pairs) for language in LANGUAGES)
    assert len({d.turns for d in dialogues}) == len(dialogues) >= 4000
    assert collections.Counter(d.language for d in dialogues)["zh"] == len(dialogues) / 2


def test_a_sentence_has_one_translation(sentences):
    for source, target in (("en", "zh"), ("zh", "en")):
        translations = collections.defaultdict(set)
        for _, pair in sentences:
            translations[pair[source]].add(pair[target])
        assert [t for t in translations.items() if len(t[1]) > 1] == []


def test_spelling_and_lengths(sentences, questions):
    for _, pair in sentences:
        assert re.fullmatch(r"[a-z]+(,? [a-z]+)*[.?]", pair.en), pair.en
        assert re.fullmatch(r"[\u4e00-\u9fff]+(，[\u4e00-\u9fff]+)*[。？]", pair.zh), pair.zh
        assert len(pair.en.split()) <= 19
    assert all(6 <= len(item.answer.en.split()) <= 18 for item in questions)


def test_vocabulary_is_small(sentences):
    assert len({word for _, pair in sentences for word in _words(pair, "en")}) <= 190
    assert len({word for _, pair in sentences for word in _words(pair, "zh")}) <= 220


@pytest.fixture(scope="module")
def pronounce():
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    # Phonemes are asked for only, so no sound is made (AUDIO_OUTPUT_RETRIEVAL = 1).
    library.espeak_Initialize(1, 0, espeakng_loader.get_data_path().encode(), 0)

    def phonemes(word, voice):
        library.espeak_SetVoiceByName(voice.encode())
        text = ctypes.c_char_p(word.encode())
        return re.sub(r"[',_| ]", "", library.espeak_TextToPhonemes(ctypes.byref(text), 1, 0).decode())

    return phonemes


@pytest.mark.parametrize(("language", "voice"), [("en", "en-us"), ("zh", "cmn")])
def test_no_two_words_or_characters_sound_the_same(sentences, pronounce, language, voice):
    """A recogniser that knows nothing of the world has to tell them apart."""
    sounds = collections.defaultdict(set)
    for word in {word for _, pair in sentences for word in _words(pair, language)}:
        sounds[pronounce(word, voice)].add(word)
    assert [words for words in sounds.values() if len(words) > 1] == []
    assert "" not in sounds


# Repeatability -------------------------------------------------------------------------------------


def test_the_seed_decides_what_is_said_but_not_the_split(questions):
    assert grammar.questions(0) == questions
    other = {item.question.en: item for item in grammar.questions(1)}
    shared = [(item, other[item.question.en]) for item in questions if item.question.en in other]
    assert 2000 < len(shared) < len(questions)
    assert all(mine.meaning == theirs.meaning and mine.answer == theirs.answer for mine, theirs in shared)


def test_a_beginning_of_the_questions_is_a_fair_sample(questions):
    share = collections.Counter(item.kind for item in questions)
    first = collections.Counter(item.kind for item in questions[:2000])
    assert all(abs(first[kind] / 2000 - n / len(questions)) < 0.03 for kind, n in share.items())


def test_the_text_is_the_same_on_every_platform(statements, questions, dialogues):
    """Pinned: results can be compared only between runs on the same text."""
    text = "\n".join([*(s.text.en for s in statements), *(q.question.zh for q in questions), *(repr(d.turns) for d in dialogues)])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "d38b7045e415a902"
