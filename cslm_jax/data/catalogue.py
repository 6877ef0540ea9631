"""Which tasks and mixtures there are: a table over languages, free of TensorFlow.

seqio registers from this table (tasks.py, mixtures.py); the loader reads the same table without seqio.
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from cslm_jax.errors import CslmError

Family = Literal["asr", "tts", "mt", "text", "s2s", "plain"]
RecordKind = Literal["utterance", "translation", "dialogue", "spoken_dialogue"]

# The kinds of records that each family of tasks reads.
READS: Mapping[Family, tuple[RecordKind, ...]] = {
    "asr": ("utterance",),
    "tts": ("utterance",),
    "mt": ("translation",),
    "text": ("dialogue",),
    "s2s": ("spoken_dialogue",),
    "plain": ("utterance", "translation", "spoken_dialogue"),
}

# The paper's table of stage 1 (section 2): billions of tokens, speech and text together.
_MLS, _GIGASPEECH, _WENETSPEECH, _WENETSPEECH4TTS, _WMT17, _INFINITY = 4.3, 0.9, 1.6, 0.8, 0.6, 1.9

MIXTURES: Mapping[str, Mapping[str, float]] = {
    "cslm_text": {"plain": 0.4, "text": 0.6},
    "cslm_cpt": {"asr": 0.40, "tts": 0.35, "mt": 0.06, "text": 0.19},
    "cslm_sft": {"s2s": 0.80, "text": 0.12, "mt": 0.08},
    # English is half ASR, half TTS. How much of the text is Chinese is not said: half.
    "cslm_cpt_paper": {
        "asr_en": (_MLS + _GIGASPEECH) / 2,
        "tts_en": (_MLS + _GIGASPEECH) / 2,
        "asr_zh": _WENETSPEECH,
        "tts_zh": _WENETSPEECH4TTS,
        "mt_en_zh": _WMT17 / 2,
        "mt_zh_en": _WMT17 / 2,
        "text_en": _INFINITY / 2,
        "text_zh": _INFINITY / 2,
    },
    # Thousands of examples (section 3).
    "cslm_sft_paper": {
        "s2s_en_en": 200, "s2s_zh_zh": 200, "s2s_en_zh": 52, "s2s_zh_en": 52,
        "text_en": 200, "text_zh": 200, "mt_en_zh": 100, "mt_zh_en": 100,
    },
}  # fmt: skip
"""Weights by task, or by family, whose tasks then share it evenly. The miniature's three, for any languages, are near the
paper's tokens; the paper's own two are for English and Chinese. Any weight is one override."""

PER_EXAMPLE = ("cslm_sft_paper",)
"""Mixtures whose weights count examples; those of the others count tokens."""


@dataclasses.dataclass(frozen=True)
class TaskSpec:
    """One task: what it teaches, from which language into which."""

    family: Family
    source: str
    """Language of the input; empty for plain text in all languages."""
    target: str
    """Language of the output."""

    @property
    def name(self) -> str:
        if self.family == "plain":
            return "text_stage0"
        if self.family in ("mt", "s2s"):
            return f"{self.family}_{self.source}_{self.target}"
        return f"{self.family}_{self.source}"


def tasks(languages: Sequence[str]) -> dict[str, TaskSpec]:
    """All tasks over these languages, by name; another language needs nothing but its name here."""
    specs = [TaskSpec(family, language, language) for family in ("asr", "tts", "text") for language in languages]
    specs += [TaskSpec("mt", *pair) for pair in itertools.permutations(languages, 2)]
    specs += [TaskSpec("s2s", *pair) for pair in itertools.product(languages, repeat=2)]
    specs.append(TaskSpec("plain", "", ""))
    return {spec.name: spec for spec in specs}


def all_weights(mixture: str, languages: Sequence[str], overrides: Mapping[str, float] = {}) -> dict[str, float]:
    """Weight of every task there is, 0 for those that do not take part; they need not add up to 1.

    Args:
        overrides: weights that replace the mixture's own; 0 removes a task, and a task that is not in the
            mixture joins it.

    Raises:
        CslmError: no such mixture or task; the nearest one is named.
    """
    known = tasks(languages)
    if mixture not in MIXTURES:
        raise CslmError(f"data.mixture {mixture!r} does not exist.{nearest(mixture, MIXTURES)}")
    for task in overrides:
        if task not in known:
            raise CslmError(f"data.weights.{task}: no such task.{nearest(task, known)}")
    size = Counter(spec.family for spec in known.values())
    shares = MIXTURES[mixture]
    own = {name: shares.get(name, shares.get(spec.family, 0.0) / size[spec.family]) for name, spec in known.items()}
    return own | dict(overrides)


def mixture_weights(mixture: str, languages: Sequence[str], overrides: Mapping[str, float] = {}) -> dict[str, float]:
    """Like `all_weights`, but only the tasks that take part; CslmError if none is left."""
    weights = all_weights(mixture, languages, overrides)
    chosen = {name: weight for name, weight in weights.items() if weight > 0}
    if not chosen:
        raise CslmError(f"data.weights leave no task in {mixture}; give at least one a weight above 0")
    return chosen


def weights_per(mixture: str) -> Literal["tokens", "examples"]:
    """What the mixture's own weights count."""
    return "examples" if mixture in PER_EXAMPLE else "tokens"


def nearest(name: str, known: Iterable[str]) -> str:
    """The tail of an error message: what may have been meant, and what there is."""
    known = list(known)
    close = difflib.get_close_matches(name, known, 1, cutoff=0.5)
    meant = f" Did you mean {close[0]!r}?" if close else ""
    return f"{meant} Known: {', '.join(known)}"
