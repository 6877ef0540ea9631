"""The text of the miniature: a small closed bilingual world in statements, questions and dialogues.

Everything follows from the seed, identically on every platform. What training must not see is decided by
meaning: `split(item.meaning)` puts a meaning on one side in both languages and in all its wordings.
"""

from cslm_jax.miniature.dialogues import TextDialogue, dialogues
from cslm_jax.miniature.lexicon import LANGUAGES, Pair
from cslm_jax.miniature.questions import QuestionAnswer, correct, questions
from cslm_jax.miniature.split import split
from cslm_jax.miniature.statements import Statement, statements

__all__ = ["LANGUAGES", "Pair", "QuestionAnswer", "Statement", "TextDialogue", "correct"]
__all__ += ["dialogues", "questions", "split", "statements"]
