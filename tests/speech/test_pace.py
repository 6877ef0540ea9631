"""A text and a duration that cannot belong together."""

import pytest

from cslm_jax.errors import BadRecord
from cslm_jax.speech import pace


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("she had your dark suit in greasy wash water all year", 2.0),  # TIMIT's fast talkers
        ("甚至出现交易几乎停滞的情况", 1.4),  # 9 syllables a second
        ("打开 WiFi 和 GPS", 1.0),
        ("yes", 0.15),
        ("好", 8.0),  # a command with silence around it
        ("?!", 0.1),  # nothing that can be spoken: told elsewhere
        ("", 9.0),
    ],
)
def test_what_people_say_passes(text, seconds):
    pace.check(text, seconds)


@pytest.mark.parametrize(
    ("text", "seconds", "rate"),
    [("a dozen red dogs ran away from us", 0.4, "65"), ("一只红狗跑了", 0.3, "20"), ("no", 20.0, "0.1")],
)
def test_what_nobody_says_is_refused(text, seconds, rate):
    with pytest.raises(BadRecord, match=f"are {rate} a second.*sample rate in the header") as caught:
        pace.check(text, seconds)
    assert caught.value.stage == "audio"
