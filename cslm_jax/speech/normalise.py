"""How a written word is said: numbers, symbols and full-width forms, by language, for the aligner.

The text itself is never changed: `cslm_jax.speech.align` keeps the word as it is written, and asks here only for what to
listen for. What has no single reading ("10:05", "007", "3,5" in English) or is not known in the language stays as it
is written, and so becomes the aligner's star.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal

from cslm_jax.speech import chinese_numbers

_NUMBER = re.compile(r"(?P<currency>[$€£¥])?(?P<digits>\d+(?:[.,:]\d+)*)(?P<unit>\s?[%°](?![CF]))?(?P<ending>[^\W\d_]+)?")
_RAISED = ("<super>", "<sub>", "<fraction>")
_ENDINGS = {"en": ("st", "nd", "rd", "th"), "fr": ("er", "re", "e", "ère", "ème")}
"""Behind an ordinal."""
_POINT = ("en", "zh", "ja", "ko", "th", "he")
"""Languages that write 1,234.5; the others write 1.234,5."""
_DECIMALS = ("en", "de", "es", "fr", "id", "nl", "pl", "pt", "sv")
"""Languages of which num2words reads decimals digit by digit; in others it drops or completes them."""
_CENTURIES = ("en", "de", "nl", "da", "no")
"""Languages that say years otherwise than numbers. Elsewhere num2words adds the word for year, or in Japanese an era."""
_BETWEEN_HOURS_AND_MINUTES = {"en": "{} {}", "zh": "{}点{}", "fr": "{} heures {}"}
_MAGNITUDE = re.compile(r"\s?(?:(?:thousand|(?:m|b|tr)illion)|[十百千万亿萬億])", re.IGNORECASE)
"""Behind an amount it is said before the currency: "$5 million" is "five million dollars"."""
_SYMBOLS = {
    "&": {"en": "and", "zh": "和", "fr": "et", "de": "und", "es": "y"},
    "+": {"en": "plus", "zh": "加", "fr": "plus", "de": "plus", "es": "más"},
    "=": {"en": "equals", "zh": "等于", "fr": "égale", "de": "gleich", "es": "igual a"},
    "@": {"en": "at", "fr": "arobase", "de": "at", "es": "arroba"},
}
_UNITS = {
    "%": {"en": "{} percent", "zh": "百分之{}", "fr": "{} pour cent", "de": "{} Prozent", "es": "{} por ciento"},
    "°": {"en": "{} degrees", "zh": "{}度", "fr": "{} degrés", "de": "{} Grad", "es": "{} grados"},
    "$": {"en": "{} dollars", "zh": "{}美元", "fr": "{} dollars", "de": "{} Dollar", "es": "{} dólares"},
    "€": {"en": "{} euros", "zh": "{}欧元", "fr": "{} euros", "de": "{} Euro", "es": "{} euros"},
    "£": {"en": "{} pounds", "zh": "{}英镑", "fr": "{} livres", "de": "{} Pfund", "es": "{} libras"},
    "¥": {"zh": "{}元", "en": "{} yuan", "fr": "{} yuans"},
}


def said(word: str, language: str, after: str = "") -> str:
    """What is heard of a word, in letters, apostrophes and single spaces; what is not known stays as it is written.

    Args:
        word: one of `align.words`: it may hold letters and numbers, or be a symbol.
        after: the text behind it, which tells a year in Chinese, and whether "$5" is five dollars or five million.
    """
    plain = _ordinary(word).replace("’", "'")
    if plain in _SYMBOLS:
        return _SYMBOLS[plain].get(language, plain)
    return " ".join(_NUMBER.sub(lambda match: f" {_said(match, language, after)} ", plain).split())


def _ordinary(word: str) -> str:
    """Full-width forms as ordinary ones (NFKC); but "x²" is not said like "x2", nor "½" like "1 2"."""
    kept = (c if unicodedata.decomposition(c).startswith(_RAISED) else unicodedata.normalize("NFKC", c) for c in word)
    return unicodedata.normalize("NFC", "".join(kept))


def _said(match: re.Match[str], language: str, after: str) -> str:
    currency, digits, unit, ending = match.group("currency", "digits", "unit", "ending")
    if ending in _ENDINGS.get(language, ()) and digits.isdecimal():
        return _number(digits, language, "ordinal") or match[0]
    if ":" in digits:
        spoken = _time(digits, language)
    elif currency and _MAGNITUDE.match(after):
        spoken = None
    elif currency or unit:
        spoken = _measured(digits, (currency or unit).strip(), language)
    else:
        spoken = _number(digits, language, "year" if _is_year(digits, language, after) else "cardinal")
    return f"{spoken} {ending or ''}" if spoken else match[0]


def _time(digits: str, language: str) -> str | None:
    hours, minutes = digits.split(":", 1)
    form = _BETWEEN_HOURS_AND_MINUTES.get(language)
    spoken = [_number(part, language) for part in (hours, minutes)]
    return form.format(*spoken) if form and all(spoken) else None


def _measured(digits: str, unit: str, language: str) -> str | None:
    form, spoken = _UNITS[unit].get(language), _number(digits, language)
    if not form or not spoken or (unit in "$€£¥" and not digits.isdecimal()):
        return None  # of "$3.50" and "$1,500" there are many readings
    if digits == "1" and form.endswith("s"):
        return form.format(spoken).removesuffix("s") if language in ("en", "fr") else None
    return form.format(spoken)


def _is_year(digits: str, language: str, after: str) -> bool:
    if language == "zh":
        return len(digits) == 4 and after.lstrip().startswith("年")
    return language in _CENTURIES and len(digits) == 4 and digits.isdecimal() and 1100 <= int(digits) < 2100


def _number(digits: str, language: str, kind: str = "cardinal") -> str | None:
    """A number in words; None if it has no single reading, or nobody knows it in this language."""
    plain = _plain(digits, language)
    if plain is None:
        return None
    if language == "zh":
        return _chinese(plain, kind)
    from num2words import CONVERTER_CLASSES, num2words  # not imported where nothing is aligned

    # num2words itself would take "fil", Filipino, for "fi", Finnish.
    if language not in CONVERTER_CLASSES or ("." in plain and language not in _DECIMALS):
        return None
    try:
        said = num2words(Decimal(plain) if "." in plain else int(plain), lang=language, to=kind)
    except Exception:  # its languages are written by many hands, and fail in many ways
        return None
    return " ".join(re.sub(r"[-,]", " ", said).split())


def _chinese(plain: str, kind: str) -> str | None:
    try:
        return chinese_numbers.digits(plain) if kind == "year" else chinese_numbers.cardinal(plain)
    except ValueError:  # too large
        return None


def _plain(digits: str, language: str) -> str | None:
    """1,234.5 (or 1.234,5) as 1234.5; None where groups are no groups, or zeros lead."""
    point, group = (".", ",") if language in _POINT else (",", ".")
    if re.fullmatch(rf"\d{{1,3}}(?:\{group}\d{{3}})+(?:\{point}\d+)?", digits):
        digits = digits.replace(group, "")
    digits = digits.replace(point, ".")
    return digits if re.fullmatch(r"(?:0|[1-9]\d*)(?:\.\d+)?", digits) else None
