"""The experiments of the miniature: the classes of the 8B run with smaller numbers."""

from __future__ import annotations

from cslm_jax.config import Experiment, VocabularyConfig
from cslm_jax.data.config import DataConfig
from cslm_jax.data.corpora import CorpusConfig
from cslm_jax.evaluate.config import EvaluateConfig
from cslm_jax.generate.sampling import SamplingConfig
from cslm_jax.model.llama import LlamaConfig
from cslm_jax.train.config import TrainConfig
from cslm_jax.train.optimizer import OptimizerConfig

PREPARED = "runs/quickstart"
"""Where `make quickstart` prepares, and so where the configs look."""

PARTS = ("records", "vocabulary", "cache", "tokenizer", "decoder")
"""Folders of what is prepared, each named like its field of DataConfig."""

MODEL = LlamaConfig(width=192, layers=4, heads=4, kv_heads=2, head_dim=48, mlp_width=512, unroll=4)

CORPORA = (
    CorpusConfig("recordings", "miniature", "recordings", use=("asr",), limit=4000),
    CorpusConfig("readings", "miniature", "readings", use=("tts",), limit=4000),
    CorpusConfig("translations", "miniature", "translations", use=("mt",)),
    CorpusConfig("dialogues", "miniature", "dialogues", use=("text",)),
    CorpusConfig("questions", "miniature", "questions", use=("s2s",), limit=1800),
)

_STAGES = ("text", "cpt", "sft")


def experiment(stage: str, steps: int, learning_rate: float) -> Experiment:
    """One stage of training; CPT begins from the text LM and SFT from CPT."""
    before = _STAGES[_STAGES.index(stage) - 1] if stage != "text" else None
    return Experiment(
        name=f"miniature_{stage}",
        workdir=f"{PREPARED}/{stage}",
        corpora=CORPORA,
        vocabulary=VocabularyConfig(pieces=768),
        data=DataConfig(
            **{part: f"{PREPARED}/{part}" for part in PARTS}, mixture=f"cslm_{stage}", row_length=512, global_batch=16
        ),
        model=MODEL,
        optimizer=OptimizerConfig(learning_rate=learning_rate, warmup=0.05, end=0.05, b2=0.98),
        train=TrainConfig(
            steps=steps, init_from=before and f"{PREPARED}/{before}", checkpoint_every=200,
            vocabulary="text" if stage == "text" else "joint",
        ),  # fmt: skip
        sampling=SamplingConfig(greedy=True, max_new_tokens=320),
        evaluate=EvaluateConfig(report=f"{PREPARED}/report"),
    )
