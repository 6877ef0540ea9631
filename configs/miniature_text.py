"""Stage 0 of the miniature: the text LM that the method begins with (in place of Llama-3.1-8B-Instruct).

    cslm train --config=configs/miniature_text.py

Hardware: 2 CPU cores. About one minute; the loss ends near 0.63 nats a token.
"""

from cslm_jax.miniature.defaults import experiment


def get_config():
    return experiment("text", steps=250, learning_rate=2e-3)
