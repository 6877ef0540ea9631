"""Stage 2 of the miniature: fine-tuning on spoken questions and answers in four directions (paper section 3).

    cslm train --config=configs/miniature_sft.py

Hardware: 2 CPU cores. TIME
"""

from cslm_jax.miniature.defaults import experiment


def get_config():
    return experiment("sft", steps=600, learning_rate=1e-3)
