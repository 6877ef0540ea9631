"""How fast a text would have been spoken, if the sound is what it claims: catches lying sample rates and wrong texts."""

from __future__ import annotations

import unicodedata

from cslm_jax.errors import BadRecord

LETTERS_A_SECOND, SYLLABLES_A_SECOND = 40.0, 15.0
"""Beyond any speaker. Fast English has about 25 letters a second, fast Mandarin 9 Han characters (which are syllables)."""
SLOWEST, SILENCE = 0.3, 5.0
"""Characters a second below which a recording is something else than its text, beside so many seconds of silence."""


def check(text: str, seconds: float) -> None:
    """Raises BadRecord (stage "audio") if nobody can have said `text` in `seconds`; says nothing of a text without letters.

    A header that gives the sample rate wrongly by the usual factors of 2 to 3 is found where the sound becomes too
    short (16 kHz called 48 kHz). Speech that becomes three times too slow is still faster than some people talk.
    """
    spoken = [character for character in text if character.isalnum()]
    syllables = sum(unicodedata.east_asian_width(character) in "WF" for character in spoken)
    least = (len(spoken) - syllables) / LETTERS_A_SECOND + syllables / SYLLABLES_A_SECOND
    if spoken and not least <= seconds <= len(spoken) / SLOWEST + SILENCE:
        rate = len(spoken) / max(seconds, 1e-3)
        raise BadRecord(
            "audio",
            f"{len(spoken)} characters in {seconds:.2f} s are {rate:.3g} a second, which nobody speaks: the text is of "
            "another recording, or the sample rate in the header is wrong",
        )
