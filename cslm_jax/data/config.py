"""What the data path needs to know, from records to rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal, get_args

from cslm_jax.chat import ChatConfig, ResponseForm

WeightsPer = Literal["tokens", "examples"]
Split = Literal["train", "validation"]


@dataclasses.dataclass(frozen=True)
class PrepareConfig:
    """How sound becomes records; nothing here changes what a record holds, and only max_seconds which there are."""

    shard_items: int = 2000
    """Items of a corpus in one shard, the unit of work that is done or not done."""
    processes: int = 2
    """Processes that decode or synthesise sound while this one tokenises; 0 does it here."""
    together: int = 256
    """Recordings that are tokenised at once. It bounds the memory, which holds the sound of three times as many."""
    max_seconds: float = 30.0
    """Longer recordings are set aside. Published tokenizers hear 30 s at once and go through longer sound in windows."""

    def __post_init__(self):
        if self.shard_items < 1 or self.together < 1 or self.processes < 0:
            raise ValueError("data.prepare: shard_items and together must be at least 1, processes at least 0")
        if not self.max_seconds > 0:
            raise ValueError(f"data.prepare.max_seconds is {self.max_seconds}; it must be above 0")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Rows of a training batch: where they come from, how they are mixed and packed."""

    records: str = "records"
    """Directory of the records that `cslm prepare` writes, one folder a corpus."""
    vocabulary: str = "vocabulary"
    """Directory of the joint vocabulary."""
    cache: str = "cache"
    """Directory of the token caches, one folder a task."""
    tokenizer: str = "tokenizer"
    """Directory of the speech tokenizer that `cslm tokenizer` trained, which is a CTC recogniser too; or the file of a
    published S3 tokenizer (ONNX, or safetensors with the names of the PyTorch one)."""
    tokenizer_dtype: Literal["float32", "bfloat16"] | None = None
    """Numbers that the speech tokenizer computes with; None for its own (float32 if it is a published one)."""
    aligners: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What aligns answers by language, in place of the tokenizer's own recogniser: the folder of a published CTC model, an
    ONNX file, a folder of log-probabilities (speech/aligners.py), or `espeak`, which needs no model."""
    decoder: str = "decoder"
    """Directory of the speech decoder."""
    languages: tuple[str, ...] = ("en", "zh")
    """Languages that tasks are made for; every pair gets translation and speech-to-speech tasks."""
    language_files: tuple[str, ...] = ()
    """Files of languages that the package does not bring along (name, instructions), see configs/languages."""
    mixture: str = "cslm_cpt"
    """cslm_text (stage 0), cslm_cpt (stage 1), cslm_sft (stage 2); cslm_cpt_paper and cslm_sft_paper have the paper's weights."""
    weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Weights of tasks in place of the mixture's own; 0 removes a task."""
    weights_per: WeightsPer | None = None
    """What weights, relative to each other, are shares of: tokens, or examples as in seqio; None for what the mixture's own
    weights count. They need not add up to 1."""
    mt_tokens: tuple[int, int] = (0, 0)
    """Least and most tokens of source and target together in a translation; others are set aside (paper: 128 and 2,048; a
    most of 0: any)."""
    split: Split = "train"
    """Which side of the held-out split is read."""
    row_length: int = 1024
    """Tokens of a row; longer examples are left out and counted."""
    global_batch: int = 32
    """Rows of one optimizer step, over all processes."""
    response_form: ResponseForm = "interleaved"
    """Layout of a spoken answer: interleaved, full, without_tq or fixed_ratio (paper section 3)."""
    chunk_size: int = 7
    """Fewest words in a text piece of an interleaved answer."""
    chat: ChatConfig = ChatConfig()
    """Chat template options."""
    prepare: PrepareConfig = PrepareConfig()
    """How `cslm prepare` works."""
    seed: int = 0
    """Decides the order of the data."""
    read_threads: int = 2
    """Threads that read and pack batches ahead of training."""
    read_ahead: int = 8
    """Batches that are kept ready."""
    synthetic: bool = False
    """Random tokens in place of data: measures a machine without preparing anything."""

    def __post_init__(self):
        for name in ("row_length", "global_batch", "chunk_size", "read_threads", "read_ahead"):
            if getattr(self, name) < 1:
                raise ValueError(f"data.{name} is {getattr(self, name)}; it must be at least 1")
        for name, kind in (("response_form", ResponseForm), ("weights_per", WeightsPer), ("split", Split)):
            if getattr(self, name) not in get_args(kind) and (name, getattr(self, name)) != ("weights_per", None):
                raise ValueError(f"data.{name} is {getattr(self, name)!r}; choose one of {', '.join(get_args(kind))}")
        if self.tokenizer_dtype not in (None, "float32", "bfloat16"):
            raise ValueError(f"data.tokenizer_dtype is {self.tokenizer_dtype!r}; choose float32 or bfloat16")
        least, most = self.mt_tokens
        if least < 0 or (most and most < least):
            raise ValueError(f"data.mt_tokens is {self.mt_tokens}; write the least and the most, e.g. 128 2048 (0 0: any)")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"data.seed is {self.seed}; it must be within 0 .. 2**32-1")
        if not self.languages or len(set(self.languages)) != len(self.languages):
            raise ValueError(f"data.languages is {self.languages}; name each language once, e.g. en zh")
        for task, weight in self.weights.items():
            if not 0 <= weight < float("inf"):
                raise ValueError(f"data.weights.{task} is {weight}; a weight is 0 (leave the task out) or more")
