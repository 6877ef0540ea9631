"""What `cslm prepare` has made: hours, units and tokens, kept and rejected, corpus by corpus and task by task."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cslm_jax.data import caches, ensure, files, shards
from cslm_jax.data.catalogue import tasks
from cslm_jax.data.config import DataConfig
from cslm_jax.data.packing import PackingPlan
from cslm_jax.vocabulary import JointVocabulary


def write_summary(config: DataConfig, workdir: Path) -> None:
    """Writes WORKDIR/summary.json and WORKDIR/rejected.jsonl (id, file, stage, reason), and prints the tables."""
    names = ensure.with_records(config)
    found = dict(_caches(config, names))
    tables = {"corpora": dict(_corpora(Path(config.records))), "tasks": dict(_tasks(found, config.row_length))}
    missing = [name for name in names if name not in found]
    files.write_json(workdir / "summary.json", {**tables, "not_made_yet": missing})
    files.write_lines(workdir / "rejected.jsonl", _rejected(Path(config.records), found, config.row_length))
    for title, table in tables.items():
        _print(title, table)
    if missing:
        print(f"token caches that are not made yet: {', '.join(missing)}")
    print(f"{workdir / 'rejected.jsonl'} says what was set aside, and why")


def _caches(config: DataConfig, names: Iterable[str]) -> Iterator[tuple[str, caches.Cache]]:
    """Those of the tasks' caches that are there."""
    vocabulary, known = JointVocabulary.load(config.vocabulary), tasks(config.languages)
    for name in names:
        with contextlib.suppress(caches.NoCache):
            yield name, caches.Cache(caches.find(config, caches.recipe(config, known[name], vocabulary.sha256)))


def _corpora(records: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for corpus, members in itertools.groupby(shards.finished(records), key=lambda shard: shard.path.parent.name):
        contents = [shard.content for shard in members]
        yield (
            corpus,
            {
                "hours": sum(content["seconds"] for content in contents) / 3600,
                "units": sum(content["units"] for content in contents),
                "characters": sum(content["characters"] for content in contents),
                "kept": sum(kind["count"] for content in contents for kind in content["records"].values()),
                "rejected": sum(content["rejected"] for content in contents),
            },
        )


def _tasks(found: Mapping[str, caches.Cache], row_length: int) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, cache in found.items():
        plan = PackingPlan(cache.lengths, row_length, seed=0)
        yield (
            name,
            {
                "examples": plan.examples,
                "tokens": plan.tokens,
                "rows": plan.rows,
                "density": plan.density,
                "longer_than_row": plan.left_out,
                "rejected": cache.manifest["rejected"],
            },
        )


def _rejected(records: Path, found: Mapping[str, caches.Cache], row_length: int) -> Iterator[dict[str, str]]:
    for shard in shards.finished(records):
        yield from files.read_lines(shard.rejected, shard.remedy)
    for name, cache in found.items():
        yield from cache.rejected()
        for id, length in zip(cache.ids, cache.lengths, strict=True):
            if length > row_length:
                reason = f"{length} tokens are longer than a row of {row_length}"
                yield {"id": id, "file": str(cache.directory), "stage": f"row of {name}", "reason": reason}


def _print(title: str, table: Mapping[str, Mapping[str, Any]]) -> None:
    if not table:
        return
    columns = list(next(iter(table.values())))
    rows = [[title, *columns], *([name, *map(_cell, row.values())] for name, row in table.items())]
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns) + 1)]
    for row in rows:
        print("  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]))
    print()


def _cell(value: float) -> str:
    return f"{value:,.3f}" if isinstance(value, float) else f"{value:,}"
