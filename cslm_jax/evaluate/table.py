"""The numbers of a report: nested for scripts, as rows for readers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

LANGUAGES = {"en": "English", "zh": "Chinese", "fr": "French", "de": "German", "es": "Spanish", "ja": "Japanese"}
_GROUPS = {
    "asr": "Speech to text (ASR)",
    "tts": "Text to speech (TTS), read back by the recogniser",
    "recogniser": "The recogniser itself, on natural recordings",
    "s2s": "Speech to speech",
    "similarity": "Speech and its text inside the model",
    "run": "The run",
}
_LABELS = {
    "wer": "word error rate",
    "cer": "character error rate",
    "answer_accuracy": "answer correct",
    "asr_er": "speech differs from its text (ASR-ER)",
    "off_target_text": "text in another language",
    "parallel": "cosine, parallel pairs",
    "random": "cosine, random pairs",
    "difference": "parallel minus random",
    "wall_seconds": "wall time",
    "peak_memory_gib": "peak memory",
}
_HIGHER_IS_BETTER = ("answer_accuracy", "parallel", "difference")


@dataclasses.dataclass(frozen=True)
class Row:
    """One number as a reader sees it."""

    group: str
    label: str
    value: str
    interval: str
    bar: str
    reached: bool | None
    """None where no bar is set."""
    n: str


def nested(measures: Mapping[str, Mapping[str, Any]], wall_seconds: float | None, peak_gib: float | None) -> dict[str, Any]:
    """report.json: every rate is a plain number, and the items behind it stand beside as `n`.

    `asr.wer_en` with `asr.n_en` (also tts, recogniser); `s2s.en_zh.answer_accuracy` with `s2s.en_zh.n`;
    `similarity.parallel` with `similarity.n`.

    Args:
        measures: by name: `asr_en`, `s2s_en_zh`, `similarity` ...
    """
    report: dict[str, Any] = {}
    for name, measure in measures.items():
        group, _, what = name.partition("_")
        into = report.setdefault(group, {})
        if group == "s2s":
            into = into.setdefault(what, {})
        into.update(measure["values"])
        into[f"n_{what}" if what and group != "s2s" else "n"] = measure["n"]
    return report | {"wall_seconds": wall_seconds, "peak_memory_gib": peak_gib}


def rows(measures: Mapping[str, Mapping[str, Any]], report: Mapping[str, Any], bars: Mapping[str, float]) -> list[Row]:
    """The table of a report, in the order of `_GROUPS`."""
    found = [row for name, measure in measures.items() for row in _measure_rows(name, measure, bars)]
    for name in ("wall_seconds", "peak_memory_gib"):
        if report[name] is not None:
            found.append(_row("run", _LABELS[name], name, report[name], None, bars, ""))
    order = list(_GROUPS.values())
    return sorted(found, key=lambda row: order.index(row.group))


def _measure_rows(name: str, measure: Mapping[str, Any], bars: Mapping[str, float]) -> Iterator[Row]:
    group, _, what = name.partition("_")
    values, n = dict(measure["values"]), f"{measure['n']:,}"
    if group == "similarity":
        values["difference"] = values["parallel"] - values["random"]
    for key, value in values.items():
        path = f"s2s.{what}.{key}" if group == "s2s" else f"{group}.{key}"
        label = _LABELS[key.split("_")[0] if key not in _LABELS else key]
        title = f"{_direction(what)}: {label}" if what else label
        yield _row(group, title, path, value, measure["intervals"].get(key), bars, n)


def _row(
    group: str,
    label: str,
    path: str,
    value: float,
    interval: tuple[float, float] | None,
    bars: Mapping[str, float],
    n: str,
) -> Row:
    name, bar = path.split(".")[-1], bars.get(path)
    higher = name in _HIGHER_IS_BETTER
    reached = None if bar is None else (value >= bar if higher else value <= bar)
    shown = "" if bar is None else f"{'≥' if higher else '≤'} {_number(name, bar)}"
    span = "" if interval is None else f"{_number(name, interval[0])} – {_number(name, interval[1])}"
    return Row(_GROUPS[group], label, _number(name, value), span, shown, reached, n)


def _number(name: str, value: float) -> str:
    if name == "wall_seconds":
        return f"{value / 60:.1f} min"
    if name == "peak_memory_gib":
        return f"{value:.1f} GiB"
    if name in ("parallel", "random", "difference"):
        return f"{value:.2f}"
    return f"{100 * value:.1f}%"


def _direction(what: str) -> str:
    return " → ".join(LANGUAGES.get(code, code) for code in what.split("_"))
