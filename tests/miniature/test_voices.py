"""The voices of the miniature."""

from cslm_jax.miniature.voices import ANSWER_VOICE, question_voice


def test_the_answer_voice_asks_no_question():
    voices = [question_voice(f"question-{i}") for i in range(300)]
    assert all(voice not in voices for voice in ANSWER_VOICE.values())
