"""Stage 2 of the miniature: fine-tuning on spoken questions and answers in four directions (paper section 3).

    cslm train --config=configs/miniature_sft.py

ASR and TTS are replayed a little, which the paper does not need at 8B: without it the miniature, fine-tuned on
answers alone, forgot them entirely (ASR WER 0.16 before, 0.99 after; measured with AdamW and fewer steps).

Hardware: 2 CPU cores. About five minutes; the loss ends near 0.11 nats a weighted token.
"""

from cslm_jax.miniature.defaults import experiment

WEIGHTS = {
    "s2s_en_en": 0.18, "s2s_en_zh": 0.17, "s2s_zh_en": 0.19, "s2s_zh_zh": 0.20,
    "asr_en": 0.02, "asr_zh": 0.05,
    "tts_en": 0.05, "tts_zh": 0.03,
    "mt_en_zh": 0.01, "mt_zh_en": 0.01,
    "text_en": 0.04, "text_zh": 0.05,
}  # fmt: skip


def get_config():
    return experiment("sft", steps=1750, learning_rate=1.2e-3, weights=WEIGHTS)
