"""What `cslm prepare` has made: hours, speech and text tokens, kept and rejected, corpus by corpus and task by task.

Text tokens are those of the texts alone, without instructions and template, as in the table of the paper (section 2). They
are counted when a shard is written, and again here if the joint vocabulary is another one now.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cslm_jax.data import caches, ensure, files, records, shards
from cslm_jax.data.catalogue import tasks
from cslm_jax.data.config import DataConfig
from cslm_jax.data.packing import pack_lengths
from cslm_jax.data.records import Record
from cslm_jax.data.shards import Shard
from cslm_jax.data.tables import print_table
from cslm_jax.errors import BadRecord
from cslm_jax.vocabulary import JointVocabulary

Row = dict[str, Any]


def write_summary(config: DataConfig, workdir: Path) -> None:
    """Writes WORKDIR/summary.json, lengths.png and rejected.jsonl (id, file, stage, reason), and prints the tables.

    Whatever is there is summed up, also when records or caches are still missing.
    """
    for name in ("summary.json", "lengths.png", "rejected.jsonl"):
        files.clear_leftovers(workdir, name)
    vocabulary, names = JointVocabulary.load(config.vocabulary), ensure.with_records(config)
    found = dict(_caches(config, names, vocabulary))
    histograms = {name: np.bincount(caches.CacheIndex(directory).lengths) for name, directory in found.items()}
    reasons: dict[str, Counter[str]] = {}
    files.write_lines(workdir / "rejected.jsonl", _rejected(Path(config.records), found, config.row_length, reasons))
    corpora = dict(_corpora(Path(config.records), vocabulary, reasons))
    rows = {name: _task(histogram, config.row_length, found[name]) for name, histogram in histograms.items()}
    missing = [name for name in names if name not in found]
    total = {"corpora": _total(corpora), "tasks": _total_of_tasks(rows, config.row_length)}
    summary = {"corpora": corpora, "tasks": rows, "total": total, "row_length": config.row_length, "not_made_yet": missing}
    files.write_json(workdir / "summary.json", summary)
    print_table("corpora", corpora, total["corpora"])
    print_table(f"tasks, rows of {config.row_length} tokens", rows, total["tasks"])
    if missing:
        print(f"token caches that are not made yet: {', '.join(missing)}")
    print(f"{workdir / 'rejected.jsonl'} says what was set aside, and why")
    if any(histogram.any() for histogram in histograms.values()):
        # Here and not above: a worker that makes records need not wait for matplotlib.
        from cslm_jax.data.lengths import draw_lengths

        draw_lengths(histograms, config.row_length, workdir / "lengths.png")
        print(f"{workdir / 'lengths.png'} shows how long the examples are")


def _caches(config: DataConfig, names: Iterable[str], vocabulary: JointVocabulary) -> Iterator[tuple[str, Path]]:
    """Where the tasks' caches are, if they are there."""
    known = tasks(config.languages)
    for name in names:
        with contextlib.suppress(caches.NoCache):
            yield name, caches.find(config, caches.recipe(config, known[name], vocabulary.sha256))


# Corpora -------------------------------------------------------------------------------------------


def text_tokens(chosen: Iterable[Record], vocabulary: JointVocabulary) -> int:
    return sum(len(vocabulary.encode_text(text)) for record in chosen for text in record.texts_said())


def _corpora(folder: Path, vocabulary: JointVocabulary, reasons: Mapping[str, Counter[str]]) -> Iterator[tuple[str, Row]]:
    for corpus, members in itertools.groupby(shards.finished(folder), key=lambda shard: shard.path.parent.name):
        rows = [_shard(shard, vocabulary) for shard in tqdm(members, f"text tokens of {corpus}", unit=" shards", leave=False)]
        yield corpus, {**_total(dict(enumerate(rows))), "rejected_by_stage": dict(reasons.get(corpus, {}))}


def _shard(shard: Shard, vocabulary: JointVocabulary) -> Row:
    content = shard.content
    return {
        "hours": content["seconds"] / 3600,
        "speech_tokens": content["units"],
        "text_tokens": _text_tokens(shard, vocabulary),
        "characters": content["characters"],
        "kept": sum(kind["count"] for kind in content["records"].values()),
        "rejected": content["rejected"],
    }


def _text_tokens(shard: Shard, vocabulary: JointVocabulary) -> int:
    counted = shard.content.get("text_tokens")
    if counted and counted["vocabulary"] == vocabulary.sha256:
        return counted["tokens"]
    return text_tokens(_records(shard), vocabulary)


def _records(shard: Shard) -> Iterator[Record]:
    """Those that can be read; the caches name the others."""
    for kind, described in shard.content["records"].items():
        for content in files.RecordFile(shard.file(kind), described["count"], shard.remedy):
            with contextlib.suppress(BadRecord):
                yield records.from_bytes(kind, content)


# Tasks ---------------------------------------------------------------------------------------------


def _task(histogram: np.ndarray, row_length: int, directory: Path) -> Row:
    lengths = np.arange(len(histogram))
    fitting = histogram[: row_length + 1]
    tokens, rows = int(fitting @ lengths[: row_length + 1]), sum(group.rows for group in pack_lengths(fitting, row_length))
    return {
        "examples": int(fitting.sum()),
        "tokens": tokens,
        "rows": rows,
        "density": tokens / max(1, rows * row_length),
        "longer_than_row": int(histogram[row_length + 1 :].sum()),
        "rejected": caches.read_manifest(directory / "manifest.json")["rejected"],
    }


def _total_of_tasks(rows: Mapping[str, Row], row_length: int) -> Row:
    total = _total(rows)
    return {**total, "density": total["tokens"] / max(1, total["rows"] * row_length)} if total else {}


def _total(rows: Mapping[Any, Row]) -> Row:
    numbers = [{name: value for name, value in row.items() if not isinstance(value, dict)} for row in rows.values()]
    return {name: sum(row[name] for row in numbers) for name in (numbers[0] if numbers else {})}


# What was set aside --------------------------------------------------------------------------------


def _rejected(
    folder: Path, found: Mapping[str, Path], row_length: int, reasons: dict[str, Counter[str]]
) -> Iterator[dict[str, str]]:
    """Every line of rejected.jsonl; `reasons` counts those of each corpus by stage on the way."""
    for shard in shards.finished(folder):
        counter = reasons.setdefault(shard.path.parent.name, Counter())
        for line in files.read_lines(shard.rejected, shard.remedy):
            counter[line["stage"]] += 1
            yield line
    for name, directory in found.items():
        cache = caches.CacheIndex(directory)
        yield from cache.rejected()
        yield from _too_long(name, cache, row_length)


def _too_long(name: str, cache: caches.CacheIndex, row_length: int) -> Iterator[dict[str, str]]:
    if not (cache.lengths > row_length).any():
        return
    for id, length in zip(cache.read_ids(), cache.lengths, strict=True):
        if length > row_length:
            reason = f"{length} tokens are longer than a row of {row_length}"
            yield {"id": id, "file": str(cache.directory), "stage": f"row of {name}", "reason": reason}
