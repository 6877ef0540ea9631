"""report.json for scripts and report.html for readers, from the files that the stages left."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import soundfile
from jaxtyping import Float, Int

from cslm_jax.data.files import replacing, write_json
from cslm_jax.errors import CslmError
from cslm_jax.evaluate import pictures, table

_TITLES = {
    "tokenizer": "speech tokenizer", "decoder": "speech decoder",
    "text": "stage 0: text", "cpt": "stage 1: CPT", "sft": "stage 2: SFT",
}  # fmt: skip


def write(
    directory: Path,
    measures: Mapping[str, Mapping[str, Any]],
    *,
    title: str,
    codes: int,
    bars: Mapping[str, float],
    metrics: Mapping[str, Path],
    stages: Mapping[str, Mapping[str, Any]],
) -> list[table.Row]:
    """Writes DIRECTORY/report.json and report.html, and returns the table in them.

    Args:
        directory: also holds `samples/`, the sounds that the measures speak of.
        measures: by name, as the journal keeps them.
        codes: units of the speech tokenizer.
        bars: what has to be reached, by the place in report.json.
        metrics: the metrics.jsonl of each stage, by its name; what is not there is not drawn.
        stages: `seconds` and `peak_memory_gib` of each stage; empty when nobody measured them.
    """
    wall = sum(stage["seconds"] for stage in stages.values()) if stages else None
    peak = max(stage["peak_memory_gib"] for stage in stages.values()) if stages else None
    report = table.nested(measures, wall, peak)
    rows = table.rows(measures, report, bars)
    page = _template().render(
        title=title,
        rows=rows,
        groups=[(group, list(members)) for group, members in itertools.groupby(rows, lambda row: row.group)],
        judged=[row for row in rows if row.reached is not None],
        curves=_curves(metrics),
        stages={_TITLES.get(name, name): stage for name, stage in stages.items()},
        directions=[_direction(name, measure, directory, codes) for name, measure in measures.items()],
        languages=table.LANGUAGES,
    )
    write_json(directory / "report.json", report)
    with replacing(directory / "report.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    return rows


def _template() -> jinja2.Template:
    loader = jinja2.PackageLoader("cslm_jax.evaluate", "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    return environment.get_template("report.html")


def _curves(metrics: Mapping[str, Path]) -> dict[str, str]:
    histories = {_TITLES.get(name, name): read_history(path) for name, path in metrics.items() if path.is_file()}
    return {title: pictures.loss_curve(history) for title, history in histories.items() if history}


def read_history(path: Path) -> pictures.History:
    """The lines of a metrics.jsonl; a last line that is still being written is left out."""
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _direction(name: str, measure: Mapping[str, Any], directory: Path, codes: int) -> dict[str, Any]:
    """What the page shows of one measure's items."""
    kind, _, what = name.partition("_")
    languages = what.split("_")
    return {
        "kind": kind,
        "source": languages[0],
        "target": languages[-1],
        "samples": [
            {**item, **_sound(item["sound"], directory / "samples", codes)} for item in measure["items"] if "sound" in item
        ],
        "wrong": [item for item in measure["items"] if item.get("edits")],
        "n": measure["n"],
    }


def _sound(sound: Mapping[str, Any], samples: Path, codes: int) -> dict[str, Any]:
    """Player, spectrogram, units and cuts (in percent of the length) of one sample, and the question's player."""
    waveform, rate = _read(samples / sound["file"])
    question = sound.get("question")
    seconds = len(waveform) / rate
    bounds = [0.0, *sound["cuts"], seconds]
    spans = [(100 * start / seconds, 100 * (end - start) / seconds) for start, end in itertools.pairwise(bounds)]
    return {
        "question_player": pictures.player(*_read(samples / question)) if question else None,
        "player": pictures.player(waveform, rate),
        "spectrogram": pictures.spectrogram(waveform, rate),
        "strip": pictures.unit_strip(_frames(sound["units"], bounds), codes),
        "spans": spans,
        "seconds": seconds,
        "unit_counts": [len(units) for units in sound["units"]],
    }


def _read(path: Path) -> tuple[Float[np.ndarray, "S"], int]:
    try:
        return soundfile.read(path, dtype="float32")
    except (OSError, soundfile.LibsndfileError) as error:
        raise CslmError(f"{path} cannot be read; delete the .json of its measure and evaluate again") from error


def _frames(pieces: Sequence[Sequence[int]], bounds: Sequence[float], columns: int = 900) -> Int[np.ndarray, "columns"]:
    """The unit at each of `columns` moments, the units of a piece spread evenly over its time."""
    moments = (np.arange(columns) + 0.5) / columns * bounds[-1]
    piece = np.clip(np.searchsorted(bounds, moments, "right") - 1, 0, len(pieces) - 1)
    starts, ends = np.asarray(bounds)[piece], np.asarray(bounds)[piece + 1]
    counts = np.array([len(units) for units in pieces])[piece]
    place = ((moments - starts) / (ends - starts) * counts).astype(int)
    return np.array([pieces[i][j] for i, j in zip(piece, np.minimum(place, counts - 1), strict=True)])
