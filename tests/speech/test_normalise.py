"""How numbers and symbols are said: a wrong reading pulls the times of the words around it."""

import pytest

from cslm_jax.speech.normalise import said


@pytest.mark.parametrize(
    "word, spoken",
    [
        ("42", "forty two"),
        ("3.14", "three point one four"),
        ("1,234", "one thousand two hundred and thirty four"),
        ("1984", "nineteen eighty four"),
        ("2007", "two thousand and seven"),
        ("1,984", "one thousand nine hundred and eighty four"),
        ("21st", "twenty first"),
        ("10:30", "ten thirty"),
        ("50%", "fifty percent"),
        ("50 %", "fifty percent"),
        ("$5", "five dollars"),
        ("€1", "one euro"),
        ("20°", "twenty degrees"),
        ("&", "and"),
        ("don’t", "don't"),
        ("Hello", "Hello"),
        ("ＡＢＣ１２", "ABC twelve"),
        ("iPhone15", "iPhone fifteen"),
        ("B2B", "B two B"),
    ],
)
def test_english(word, spoken):
    assert said(word, "en") == spoken


@pytest.mark.parametrize(
    "word, after, spoken",
    [
        ("2", "是", "二"),
        ("105", "", "一百零五"),
        ("3.5", "", "三点五"),
        ("12,000", "人", "一万二千"),
        ("1984", "年", "一九八四"),
        ("1984", "人", "一千九百八十四"),
        ("10:30", "", "十点三十"),
        ("５０％", "", "百分之五十"),
        ("￥5", "", "五元"),
        ("＆", "", "和"),
        ("好", "", "好"),
    ],
)
def test_chinese(word, after, spoken):
    assert said(word, "zh", after) == spoken


@pytest.mark.parametrize(
    "word, spoken",
    [
        ("71", "soixante et onze"),
        ("3,5", "trois virgule cinq"),
        ("1.234,5", "mille deux cent trente quatre virgule cinq"),
        ("1er", "premier"),
        ("2e", "deuxième"),
        ("14:20", "quatorze heures vingt"),
        ("50 %", "cinquante pour cent"),
        ("l’homme", "l'homme"),
    ],
)
def test_french(word, spoken):
    assert said(word, "fr") == spoken


@pytest.mark.parametrize(
    "word, language",
    [("007", "en"), ("10:05", "en"), ("1:2:3", "en"), ("3,5", "en"), ("$3.50", "en"), ("12,34", "zh"), ("1" * 20, "zh"),
     ("9" * 400, "en"), ("42", "xx"), ("50%", "xx"), ("10:30", "de"), ("&", "ja"), ("20°C", "en"), ("$1", "es"),
     ("3,5", "it"), ("3,5", "tr"), ("x²", "en"), ("½", "en")],
)  # fmt: skip
def test_what_has_no_single_reading_or_is_not_known_keeps_its_digits(word, language):
    """The aligner then listens for a star."""
    left = said(word, language)
    assert any(not character.isalpha() and character != " " for character in left), left


@pytest.mark.parametrize(
    "word, language, spoken",
    [
        ("42", "de", "zweiundvierzig"),
        ("1984", "de", "neunzehnhundertvierundachtzig"),
        ("1984", "ja", "千九百八十四"),  # and not 昭和五十九年, the year of the era
        ("1984", "ko", "천구백팔십사"),
        ("12", "id", "dua belas"),
        ("12", "vi", "mười hai"),
        ("$5", "es", "cinco dólares"),
        ("$1", "fr", "un dollar"),
    ],
)
def test_numbers_of_other_languages_are_known_too(word, language, spoken):
    assert said(word, language) == spoken


@pytest.mark.parametrize("language", ["fil", "kok"])
def test_a_language_is_not_taken_for_the_one_that_its_code_begins_with(language):
    """Filipino is not Finnish, Konkani not Korean."""
    assert said("5", language) == "5"


@pytest.mark.parametrize("word", ["7", "1984", "3.5", "1,234", "3rd", "10:30", "$5", "50%", "20°", "&"])
def test_no_language_of_the_library_stops_the_aligner(word):
    from num2words import CONVERTER_CLASSES

    assert all(said(word, language) for language in CONVERTER_CLASSES)


def test_what_stands_behind_tells_what_is_said():
    assert said("2008", "zh", " 年") == "二零零八"
    assert said("$5", "en", " million in cash") == "$5" and said("￥100", "zh", "万") == "¥100"  # five million dollars
    assert said("$5", "en", " men") == "five dollars"
