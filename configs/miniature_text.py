"""Stage 0 of the miniature: the text LM that the method begins with (in place of Llama-3.1-8B-Instruct).

    cslm train --config=configs/miniature_text.py

It learns to answer and to translate, as an instruct model can do both before it hears anything.

Hardware: 2 CPU cores. About two minutes; the loss ends near 0.35 nats a weighted token.
"""

from cslm_jax.miniature.defaults import experiment

WEIGHTS = {"text_stage0": 0.15, "text_en": 0.34, "text_zh": 0.26, "mt_en_zh": 0.125, "mt_zh_en": 0.125}


def get_config():
    return experiment("text", steps=750, learning_rate=1.4e-3, weights=WEIGHTS)
