"""`cslm evaluate` and `cslm report`: the paper's measures on held-out items (section 5), for scripts and readers."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cslm_jax.config import Experiment, load_run
from cslm_jax.data import shards
from cslm_jax.data.files import read_json, sha256_of
from cslm_jax.errors import CslmError
from cslm_jax.evaluate import report as reports
from cslm_jax.evaluate.held_out import HeldOut
from cslm_jax.evaluate.journal import Journal, fingerprint
from cslm_jax.evaluate.natural import NaturalRecordings
from cslm_jax.evaluate.plan import names, plan
from cslm_jax.evaluate.system import System
from cslm_jax.vocabulary import JointVocabulary

logger = logging.getLogger(__name__)

_REMEDY = "delete this file and run the same command again"


def evaluate(config: Experiment) -> None:
    """Measures the newest model of config.workdir on held-out records, and writes the report.

    A measure that is finished is not repeated as long as model, records and settings are the same.

    Raises:
        CslmError: there is no model, or nothing held out to measure it on.
    """
    system = System.load(config)
    held_out = HeldOut.read(config.data.records, config.evaluate.seed)
    journal = Journal(
        _directory(config) / "measures",
        _directory(config) / "samples",
        config.evaluate.samples,
        system.decoder.sample_rate,
    )
    same = _what_decides(config)
    todo = plan(config, held_out, system, NaturalRecordings(config.corpora))
    if missing := [name for name in names(config.data.languages) if name not in todo]:
        logger.info("not measured (limit 0, or nothing held out): %s", ", ".join(missing))
    for name, compute in todo.items():
        limit = getattr(config.evaluate, name.split("_")[0])
        journal.measure(name, fingerprint(same, limit), compute)
    report(config)


def report(config: Experiment) -> None:
    """Writes report.json and report.html from what `cslm evaluate` has measured, and prints the table.

    Raises:
        CslmError: nothing has been measured.
    """
    directory = _directory(config)
    paths = {name: directory / "measures" / f"{name}.json" for name in names(config.data.languages)}
    measured = {name: read_json(path, _REMEDY) for name, path in paths.items() if path.is_file()}
    if not measured:
        raise CslmError(f"{directory} holds no measures; run `cslm evaluate` with the same config first")
    stages = directory.parent / "stages.json"
    rows = reports.write(
        directory,
        measured,
        title=config.name,
        codes=JointVocabulary.load(config.data.vocabulary).codes,
        bars=config.evaluate.bars,
        metrics=_metrics(config),
        stages=read_json(stages, _REMEDY) if stages.is_file() else {},
    )
    for row in rows:
        mark = {True: "reached", False: "MISSED", None: ""}[row.reached]
        print(f"{row.group[:24]:<25}{row.label:<58}{row.value:>9}  {row.bar:>9} {mark}")
    print(f"{directory / 'report.html'}")


def _directory(config: Experiment) -> Path:
    return Path(config.evaluate.report or Path(config.workdir) / "report")


def _what_decides(config: Experiment) -> dict[str, Any]:
    """Everything that the measures depend on, but for their limits."""
    checkpoints = [path for path in (Path(config.workdir) / "checkpoints").iterdir() if path.name.isdigit()]
    newest = max(checkpoints, key=lambda path: int(path.name))
    models = [Path(config.data.tokenizer), Path(config.data.decoder)]
    settings = ("batch", "greedy_transcripts", "judge", "samples", "seed")
    return {
        "checkpoint": [str(newest.resolve()), newest.stat().st_mtime_ns],
        "vocabulary": JointVocabulary.load(config.data.vocabulary).sha256,
        "speech": [sha256_of(path) for model in models for path in sorted(model.glob("*.safetensors"))],
        "records": shards.fingerprint(Path(config.data.records), ("utterance", "spoken_dialogue")),
        "sampling": dataclasses.asdict(config.sampling),
        "settings": {name: getattr(config.evaluate, name) for name in settings},
    }


def _metrics(config: Experiment) -> Mapping[str, Path]:
    """metrics.jsonl of the speech models, of the run and of the runs that it began from, oldest first."""
    runs = {Path(config.workdir).name: Path(config.workdir)}
    before = config.train.init_from
    while before and Path(before).name not in runs and (Path(before) / "config.json").is_file():
        runs[Path(before).name] = Path(before)
        before = load_run(before).train.init_from
    speech = {Path(model).name: Path(model) for model in (config.data.tokenizer, config.data.decoder)}
    return {name: path / "metrics.jsonl" for name, path in {**speech, **dict(reversed(runs.items()))}.items()}
