"""The experiments of the miniature: the classes of the 8B run with smaller numbers."""

from __future__ import annotations

from collections.abc import Mapping

from cslm_jax.config import Experiment, VocabularyConfig
from cslm_jax.data.config import DataConfig
from cslm_jax.data.corpora import CorpusConfig
from cslm_jax.evaluate.config import EvaluateConfig
from cslm_jax.generate.sampling import SamplingConfig
from cslm_jax.model.llama import LlamaConfig
from cslm_jax.speech.decoder import DecoderConfig
from cslm_jax.speech.duration import DurationConfig
from cslm_jax.speech.fit import FitConfig
from cslm_jax.speech.mel_decoder import MelConfig
from cslm_jax.speech.s3_config import S3Config
from cslm_jax.speech.tokenizer import TokenizerConfig
from cslm_jax.train.config import TrainConfig
from cslm_jax.train.optimizer import OptimizerConfig

PREPARED = "runs/quickstart"
"""Where `make quickstart` prepares, and so where the configs look."""
PARTS = ("records", "vocabulary", "cache", "tokenizer", "decoder")
"""Folders of what is prepared, each named like its field of DataConfig."""

MODEL = LlamaConfig(width=192, layers=4, heads=4, kv_heads=2, head_dim=48, mlp_width=512, unroll=4)

CODES = 256

TOKENIZER = TokenizerConfig(
    model=S3Config(mels=80, width=160, heads=4, layers=3, codes=CODES, recogniser_layers=2, memory=11, position_scale=0.1),
    fit=FitConfig(algorithm="muon", steps=1700, learning_rate=3e-3, weight_decay=0.01, warmup_fraction=0.1),
    utterances=4000,
    batch_seconds=32.0,
    buckets=3,
    steadiness=0.6,
)

DECODER = DecoderConfig(duration=DurationConfig(codes=CODES, dropout=0.1), mel=MelConfig(codes=CODES))

CORPORA = (
    CorpusConfig("recordings", "miniature", "recordings", use=("asr",), limit=5600),
    CorpusConfig("readings", "miniature", "readings", use=("tts",), limit=3800),
    CorpusConfig("translations", "miniature", "translations", use=("mt",)),
    CorpusConfig("dialogues", "miniature", "dialogues", use=("text",)),
    CorpusConfig("questions", "miniature", "questions", use=("s2s",), limit=2300),
)

BARS = {
    "asr.wer_en": 0.10, "asr.cer_zh": 0.10,
    "tts.wer_en": 0.20, "tts.cer_zh": 0.20,
    "s2s.en_en.answer_accuracy": 0.85, "s2s.zh_zh.answer_accuracy": 0.85,
    "s2s.en_zh.answer_accuracy": 0.70, "s2s.zh_en.answer_accuracy": 0.70,
    "s2s.en_en.off_target_text": 0.03, "s2s.zh_zh.off_target_text": 0.03,
    "s2s.en_zh.off_target_text": 0.03, "s2s.zh_en.off_target_text": 0.03,
    "similarity.difference": 0.10,
    "wall_seconds": 1200.0, "peak_memory_gib": 8.0,
}  # fmt: skip
"""What the miniature is to reach on two CPU cores, by place in report.json."""

_STAGES = ("text", "cpt", "sft")


def experiment(stage: str, steps: int, learning_rate: float, weights: Mapping[str, float] | None = None) -> Experiment:
    """One stage of training; CPT begins from the text LM and SFT from CPT.

    Args:
        weights: of tasks, in place of the mixture's own.
    """
    before = _STAGES[_STAGES.index(stage) - 1] if stage != "text" else None
    return Experiment(
        name=f"miniature_{stage}",
        workdir=f"{PREPARED}/{stage}",
        corpora=CORPORA,
        vocabulary=VocabularyConfig(pieces=1136),
        data=DataConfig(
            **{part: f"{PREPARED}/{part}" for part in PARTS},
            mixture=f"cslm_{stage}",
            weights=weights or {},
            row_length=512,
            global_batch=4,
        ),  # fmt: skip
        tokenizer=TOKENIZER,
        decoder=DECODER,
        model=MODEL,
        optimizer=OptimizerConfig(algorithm="muon", learning_rate=learning_rate, table_rate=3.0, warmup=0.05, end=0.05, b2=0.98),
        train=TrainConfig(
            steps=steps,
            init_from=before and f"{PREPARED}/{before}",
            checkpoint_every=400,
            vocabulary="text" if stage == "text" else "joint",
        ),  # fmt: skip
        sampling=SamplingConfig(greedy=True, max_new_tokens=320),
        evaluate=EvaluateConfig(report=f"{PREPARED}/report", s2s=100, bars=BARS),
    )
