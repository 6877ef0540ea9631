"""Placeholders: a text may hold anything, also what looks like one."""

from cslm_jax.data.speak.template import fill


def test_texts_anywhere_are_filled_once():
    template = {"input": "{text}", "more": ["{voice}", 3, None, {"deep": "<{text}>"}], "left": "{unknown} {"}
    values = {"text": 'say {voice} "quoted"', "voice": "anna"}
    filled = {
        "input": 'say {voice} "quoted"',
        "more": ["anna", 3, None, {"deep": '<say {voice} "quoted">'}],
        "left": "{unknown} {",
    }
    assert fill(template, values) == filled
