"""Stage 1 of the miniature: continual pre-training on ASR, TTS, MT and text (paper section 2).

    cslm train --config=configs/miniature_cpt.py

Hardware: 2 CPU cores. About four minutes; the loss ends near 0.13 nats a weighted token.
"""

from cslm_jax.miniature.defaults import experiment

WEIGHTS = {
    "asr_en": 0.18, "asr_zh": 0.22,
    "tts_en": 0.18, "tts_zh": 0.14,
    "mt_en_zh": 0.05, "mt_zh_en": 0.05,
    "text_en": 0.10, "text_zh": 0.08,
}  # fmt: skip


def get_config():
    return experiment("cpt", steps=1350, learning_rate=1.4e-3, weights=WEIGHTS)
