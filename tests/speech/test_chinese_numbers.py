"""Chinese numerals: what is listened for where a Chinese text has digits."""

import pytest

from cslm_jax.speech.chinese_numbers import cardinal, digits


@pytest.mark.parametrize(
    "number, said",
    [
        ("0", "零"), ("2", "二"), ("10", "十"), ("15", "十五"), ("20", "二十"), ("101", "一百零一"), ("110", "一百一十"),
        ("1005", "一千零五"), ("1050", "一千零五十"), ("12000", "一万二千"), ("10005", "一万零五"), ("100000", "十万"),
        ("110015", "十一万零一十五"), ("10100000", "一千零一十万"), ("12345678", "一千二百三十四万五千六百七十八"),
        ("100000000", "一亿"), ("100001100", "一亿零一千一百"), ("1000000000", "十亿"), ("3.14", "三点一四"),
        ("0.05", "零点零五"),
        ("999999999999", "九千九百九十九亿九千九百九十九万九千九百九十九"),
    ],
)  # fmt: skip
def test_cardinals(number, said):
    assert cardinal(number) == said


def test_years_are_said_by_their_digits():
    assert digits("2008") == "二零零八"


def test_what_has_no_single_reading_is_refused():
    with pytest.raises(ValueError, match="1000000000000"):
        cardinal("1" + "0" * 12)
