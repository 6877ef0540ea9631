"""Error rates: jiwer's own numbers on normalised text, nothing lost on empty answers, honest intervals."""

import jiwer
import numpy as np
import pytest

from cslm_jax.evaluate.metrics import error_rate, interval, normalise, rate_name


@pytest.mark.parametrize(
    "text, language, expected",
    [
        ("Yes, it IS.", "en", "yes it is"),
        ("don't – DON’T", "en", "dont dont"),
        ("它，是 红色的。", "zh", "它是红色的"),
        ("ＡＢＣ１２，红 色！", "zh", "abc12红色"),
        ("  ", "en", ""),
    ],
)
def test_normalised_text(text, language, expected):
    assert normalise(text, language) == expected


def test_languages_without_spaces_are_measured_by_character():
    assert [rate_name(language) for language in ("en", "fr", "zh", "ja")] == ["wer", "wer", "cer", "cer"]


@pytest.mark.parametrize("language, jiwers", [("en", jiwer.wer), ("zh", jiwer.cer)])
def test_rates_are_those_of_jiwer(language, jiwers):
    random = np.random.default_rng(0)
    gap = " " if language == "en" else ""
    texts = [gap.join(random.choice(list("abcdefg"), random.integers(1, 12))) for _ in range(100)]
    references, hypotheses = texts[:50], texts[50:]
    found = error_rate(references, hypotheses, language)
    assert found.rate == pytest.approx(jiwers(references, hypotheses))
    assert found.n == len(found.edits) == 50 and sum(found.lengths) == sum(len(r.replace(" ", "")) for r in references)


def test_chinese_punctuation_and_spaces_are_no_errors():
    assert error_rate(["它是，红色的。"], ["它 是红 色 的"], "zh").rate == 0
    assert error_rate(["它是红色的。"], ["它是绿色"], "zh").rate == pytest.approx(2 / 5)


def test_empty_texts_count():
    assert error_rate(["a b"], [""], "en").rate == 1
    assert error_rate(["", "a"], ["b c", "a"], "en").rate == 2
    assert error_rate(["", ""], ["", ""], "en").rate == 1, "who says nothing has said nothing right"


def test_unequal_lists_are_an_error():
    with pytest.raises(ValueError):
        error_rate(["a"], [], "en")


def test_the_interval_holds_the_mean_and_narrows_with_more_items():
    random = np.random.default_rng(0)
    few, many = (interval((random.random(n) < 0.3).astype(float)) for n in (20, 2000))
    assert few[0] < 0.3 < few[1] and many[0] < 0.3 < many[1]
    assert many[1] - many[0] == pytest.approx(2 * 1.96 * np.sqrt(0.3 * 0.7 / 2000), rel=0.15)
    assert interval([0.0] * 9) == (0.0, 0.0)
