"""Stage 2 of the miniature: fine-tuning on spoken questions and answers in four directions (paper section 3).

    cslm train --config=configs/miniature_sft.py

ASR and TTS are replayed a little, which the paper does not need at 8B: without it the miniature, fine-tuned on
answers alone, forgot them entirely (ASR WER 0.16 before, 0.99 after; measured).

Hardware: 2 CPU cores. About five minutes; the loss ends near 0.20 nats a weighted token.
"""

from cslm_jax.miniature.defaults import experiment

WEIGHTS = {
    **dict.fromkeys(("s2s_en_en", "s2s_en_zh", "s2s_zh_en", "s2s_zh_zh"), 0.165),
    **dict.fromkeys(("asr_en", "asr_zh", "tts_en", "tts_zh"), 0.05),
    **dict.fromkeys(("mt_en_zh", "mt_zh_en"), 0.04),
    **dict.fromkeys(("text_en", "text_zh"), 0.03),
}


def get_config():
    return experiment("sft", steps=850, learning_rate=1.5e-3, weights=WEIGHTS)
