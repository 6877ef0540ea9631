"""Off-target: short answers are given to the right language, empty ones to none."""

import pytest

from cslm_jax.evaluate.language_id import LanguageIdentifier


@pytest.fixture(scope="module")
def identifier() -> LanguageIdentifier:
    return LanguageIdentifier(("en", "zh", "fr"))


@pytest.mark.parametrize(
    "text, language",
    [
        ("no", "en"),
        ("yes, it is.", "en"),
        ("the farmer lives by the river, and the king lives in the city.", "en"),
        ("你好", "zh"),
        ("不是。", "zh"),
        ("农民住在河边，国王住在城里。", "zh"),
        ("oui, c'est vrai.", "fr"),
        ("où est le chien ?", "fr"),
    ],
)
def test_short_answers(identifier, text, language):
    assert identifier.identify(text) == language
    assert not identifier.is_off_target(text, language)
    assert all(identifier.is_off_target(text, other) for other in {"en", "zh", "fr"} - {language})


@pytest.mark.parametrize("text", ["", " ", "...", "42"])
def test_a_text_without_letters_is_in_no_language(identifier, text):
    assert identifier.is_off_target(text, "en") and identifier.is_off_target(text, "zh")


def test_two_identifiers_do_not_disturb_each_other(identifier):
    other = LanguageIdentifier(("de", "it"))
    assert other.identify("the cat is red") in ("de", "it")
    assert identifier.identify("the cat is red") == "en"


def test_a_single_language_is_told_apart_from_all():
    alone = LanguageIdentifier(("en",))
    assert not alone.is_off_target("the farmer lives by the river, and the king lives in the city.", "en")
    assert alone.is_off_target("农民住在河边，国王住在城里。", "en")


@pytest.mark.parametrize("languages", [("tlh",), ("en", "tlh")])
def test_languages_that_the_library_does_not_know_are_an_error(languages):
    with pytest.raises(ValueError):
        LanguageIdentifier(languages)
