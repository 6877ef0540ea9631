"""What is measured, on how much, and how it is shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from cslm_jax.evaluate.judge import JUDGES


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """Held-out items a measure, and what the report shows of them."""

    asr: int = 100
    """Most utterances a language that the model transcribes; 0 leaves the measure out."""
    tts: int = 60
    """Most texts a language that the model speaks; 0 leaves the measure out."""
    recogniser: int = 100
    """Most natural recordings a language on which the recogniser itself is measured; 0 needs no recordings at all."""
    s2s: int = 60
    """Most spoken questions a direction; 0 leaves the measure out."""
    similarity: int = 100
    """Most utterances a language for the similarity of speech and text; 0 leaves it out."""
    batch: int = 32
    """Prompts that are generated at once."""
    greedy_transcripts: bool = True
    """Transcribe with the likeliest tokens; otherwise sampled like everything else."""
    judge: str = "same_content_words"
    """Who says that an answer is correct: same_content_words (the miniature's rule) or same_text."""
    samples: int = 3
    """Answers a direction, and spoken texts a language, that the report plays."""
    bars: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Values to reach, by their place in report.json; shares and similarities from below, errors from above."""
    report: str | None = None
    """Directory of the report; None for `report` in the run's workdir."""
    seed: int = 0
    """Decides which held-out items are taken, and the random pairs of the similarity."""

    def __post_init__(self):
        for field in ("asr", "tts", "recogniser", "s2s", "similarity", "samples"):
            if getattr(self, field) < 0:
                raise ValueError(f"evaluate.{field} must be 0 (leave out) or more, got {getattr(self, field)}")
        if self.batch < 1:
            raise ValueError(f"evaluate.batch must be at least 1, got {self.batch}")
        if self.judge not in JUDGES:
            raise ValueError(f"evaluate.judge is {self.judge!r}; choose one of {', '.join(JUDGES)}")
        if self.similarity == 1:
            raise ValueError("evaluate.similarity must be at least 2: a random pair needs two utterances")
