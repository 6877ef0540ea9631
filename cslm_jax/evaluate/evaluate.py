"""`cslm evaluate` and `cslm report`: the paper's measures on held-out items (section 5), for scripts and readers."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cslm_jax.config import Experiment, load_run
from cslm_jax.data import prompts, shards
from cslm_jax.data.files import read_json, sha256_of
from cslm_jax.errors import CslmError
from cslm_jax.evaluate import report as reports
from cslm_jax.evaluate.held_out import HeldOut
from cslm_jax.evaluate.journal import Journal, fingerprint, read
from cslm_jax.evaluate.natural import NaturalRecordings
from cslm_jax.evaluate.plan import limit, names, plan
from cslm_jax.evaluate.system import System
from cslm_jax.speech.tokenizer import files_of
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
    mark = fingerprint(_what_decides(config, system.generator.step))
    todo = plan(config, held_out, system, NaturalRecordings(config.corpora))
    if missing := [name for name in names(config.data.languages) if name not in todo]:
        logger.info("not measured (limit 0, or nothing held out): %s", ", ".join(missing))
    _report(config, {name: journal.measure(name, mark, todo[name], limit(name, config.evaluate)) for name in todo})


def report(config: Experiment) -> None:
    """Writes report.json and report.html from what `cslm evaluate` has measured, and prints the table.

    Only measures of one model with the settings of this config are shown: those of the newest checkpoint that has any.

    Raises:
        CslmError: nothing has been measured.
    """
    asked = [name for name in names(config.data.languages) if limit(name, config.evaluate)]
    paths = {name: _directory(config) / "measures" / f"{name}.json" for name in asked}
    found = {name: measure for name, path in paths.items() if (measure := read(path)) is not None}
    steps = _steps(config)
    for step in steps:
        mark = fingerprint(_what_decides(config, step))
        measured = {name: measure for name, measure in found.items() if measure["fingerprint"] == mark}
        if measured:
            break
    else:
        raise CslmError(
            f"{_directory(config)} holds no measures of {config.workdir} as it is now, with these settings; "
            "run `cslm evaluate` with the same config first"
        )
    if step != steps[0]:
        logger.warning("the measures are of the checkpoint of step %d, not of that of step %d", step, steps[0])
    if others := [name for name in found if name not in measured]:
        logger.warning("left out, for another model or other settings gave them: %s", ", ".join(others))
    _report(config, measured)


def _report(config: Experiment, measured: Mapping[str, Mapping[str, Any]]) -> None:
    directory = _directory(config)
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


def _steps(config: Experiment) -> list[int]:
    """Of the run's checkpoints, the newest first."""
    return sorted((int(path.name) for path in Path(config.workdir).glob("checkpoints/*") if path.name.isdigit()), reverse=True)


def _what_decides(config: Experiment, step: int) -> dict[str, Any]:
    """Everything that the measures of the model after `step` steps depend on, but for their limits."""
    checkpoint = Path(config.workdir) / "checkpoints" / str(step)
    speech = [*files_of(config.data.tokenizer), *sorted(Path(config.data.decoder).glob("*.safetensors"))]
    settings = ("batch", "greedy_transcripts", "judge", "samples", "seed")
    return {
        "checkpoint": [str(checkpoint.resolve()), checkpoint.stat().st_mtime_ns],
        "languages": list(config.data.languages),
        "prompts": prompts.load(config.data.language_files).sha256,
        "vocabulary": JointVocabulary.load(config.data.vocabulary).sha256,
        "speech": [sha256_of(path) for path in speech],
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
