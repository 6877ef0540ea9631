"""Records -> token caches, through the tasks in seqio's registry. The one program here that imports TensorFlow."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import cattrs
from tqdm import tqdm

from cslm_jax.data import caches, catalogue, mixtures, tasks
from cslm_jax.data.config import DataConfig
from cslm_jax.errors import BadRecord, CslmError
from cslm_jax.vocabulary import JointVocabulary


def make_caches(config: DataConfig, names: Sequence[str]) -> None:
    """Makes the caches of tasks that are not there yet.

    Args:
        names: tasks.

    Raises:
        CslmError: there are no records, or a shard is damaged.
    """
    vocabulary = JointVocabulary.load(config.vocabulary)
    known = catalogue.tasks(config.languages)
    report = _Rejections(config.records)
    mixtures.register(config, report)
    for name in names:
        recipe = caches.recipe(config, known[name], vocabulary.sha256)
        directory = caches.directory(config, recipe)
        if (directory / "manifest.json").is_file():
            continue
        if recipe["records"] is None:
            raise CslmError(f"no records in {config.records}; run `cslm prepare`")
        report.rejected.clear()
        examples = tqdm(tasks.read(name, config.split), desc=f"tokens of {name}", unit=" examples", unit_scale=True)
        try:
            caches.write(directory, recipe, examples, report.rejected)
        except Exception as error:
            raise report.failure or error from None


class _Rejections(tasks.Report):
    """Collects what is set aside, as lines of rejected.jsonl."""

    def __init__(self, records: str):
        self.rejected: list[dict] = []
        self._records = records

    def set_aside(self, id: str, error: BadRecord) -> None:
        self.rejected.append({"id": id, "file": self._records, "stage": error.stage, "reason": error.reason})


def main() -> None:
    """Takes [config, names] as JSON on standard input, and says on standard output what went wrong (ensure.py)."""
    config, names = json.load(sys.stdin)
    try:
        make_caches(cattrs.structure(config, DataConfig), names)
    except CslmError as error:
        print(error)
        sys.exit(1)


if __name__ == "__main__":
    main()
