"""In which language a text is: what its corpus says, else what its script says."""

from __future__ import annotations

import re

_NAMES = {"english": "en", "chinese": "zh", "mandarin": "zh", "french": "fr", "german": "de", "spanish": "es", "cn": "zh"}
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
# Scripts that one language uses; Japanese comes before Chinese, for it mixes its own with Han.
_OWN = {"ja": re.compile(r"[\u3041-\u30ff]"), "ko": re.compile(r"[\uac00-\ud7a3]")}
_LETTER = re.compile(r"[^\W\d_]")
# A Han character says as much as a word of five letters: above this share of the letters, a text that quotes English is Chinese.
_SHARE, _READ = 0.2, 2000


def language_of(told: str, text: str, otherwise: str) -> str:
    """A code such as zh: `told` (zh-cn, zh_Hans, Chinese) where it says something, else by the script of the text.

    Args:
        otherwise: for scripts that many languages share.
    """
    if code := re.split(r"[-_ ]", told.strip().lower())[0]:
        return _NAMES.get(code, code)
    text = text[:_READ]
    letters = len(_LETTER.findall(text))
    for language, script in (*_OWN.items(), ("zh", _HAN)):
        if letters and len(script.findall(text)) > _SHARE * letters:
            return language
    return otherwise
