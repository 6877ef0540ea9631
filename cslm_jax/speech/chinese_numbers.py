"""Chinese numerals: num2words has none, and the package that does also installs what it was built from."""

from __future__ import annotations

import re

_DIGITS = "零一二三四五六七八九"
_LIMIT = 10**12
"""From here on there is more than one way to say a number."""


def cardinal(number: str) -> str:
    """ "120.5" -> "一百二十点五".

    Raises:
        ValueError: no plain decimal number, or too large a one.
    """
    whole, point, fraction = number.partition(".")
    return _integer(int(whole)) + ("点" + digits(fraction) if point else "")


def digits(number: str) -> str:
    """ "1984" -> "一九八四", as years are said."""
    return "".join(_DIGITS[int(digit)] for digit in number)


def _integer(number: int) -> str:
    if not 0 <= number < _LIMIT:
        raise ValueError(f"{number} is not within 0 .. {_LIMIT - 1}")
    said, gap = "", False
    for power, unit in ((10**8, "亿"), (10**4, "万"), (1, "")):
        group = number // power % 10000
        if group:
            said += ("零" if said and (gap or group < 1000) else "") + _group(group) + unit
        gap = not group
    return re.sub("^一十", "十", said) or "零"


def _group(number: int) -> str:
    """1 to 9999; zeros between two digits are said once."""
    said = "".join(
        _DIGITS[digit] + unit if (digit := number // power % 10) else "零"
        for power, unit in ((1000, "千"), (100, "百"), (10, "十"), (1, ""))
    )
    return re.sub("零+", "零", said).strip("零")
