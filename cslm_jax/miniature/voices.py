"""The voices of the miniature: many for questions, one for answers (paper section 3)."""

from __future__ import annotations

from cslm_jax.speech.espeak import Voice, any_voice, speak

__all__ = ["ANSWER_VOICE", "Voice", "question_voice", "speak"]

ANSWER_VOICE = {"en": Voice("f1", 165, 50), "zh": Voice("f1", 165, 50)}
"""The one fixed voice of the answers in each language."""

question_voice = any_voice
