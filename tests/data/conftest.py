"""A small prepared world: a vocabulary, records and token caches."""

import dataclasses
import shutil
import sys
from pathlib import Path

import pytest

# Tests are imported by file, without this folder on the path; its helper module is found through it.
sys.path.insert(0, str(Path(__file__).parent))

from made_up_world import CODES, TEXTS, make_records

from cslm_jax.data.config import DataConfig
from cslm_jax.data.ensure import make_missing_caches
from cslm_jax.data.records import write_records
from cslm_jax.text.sentencepiece import SentencePieceText
from cslm_jax.vocabulary import JointVocabulary


@pytest.fixture(scope="session")
def vocabulary_directory(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("vocabulary")
    lines = [text.format(i) for text in TEXTS.values() for i in range(200)]
    JointVocabulary(SentencePieceText.train(lines, 400), CODES).save(directory)
    return directory


@pytest.fixture(scope="session")
def vocabulary(vocabulary_directory) -> JointVocabulary:
    return JointVocabulary.load(vocabulary_directory)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory, vocabulary_directory) -> DataConfig:
    """Records and token caches of every task; do not change what is in its folders."""
    root = tmp_path_factory.mktemp("prepared")
    write_records(root / "records" / "world", make_records(300))
    config = DataConfig(
        records=str(root / "records"), vocabulary=str(vocabulary_directory), cache=str(root / "cache"),
        row_length=512, global_batch=8,
    )  # fmt: skip
    make_missing_caches(config)
    return config


@pytest.fixture
def copied(prepared, tmp_path) -> DataConfig:
    """The prepared world in folders of its own, to be damaged."""
    for name in ("records", "cache"):
        shutil.copytree(getattr(prepared, name), tmp_path / name)
    return dataclasses.replace(prepared, records=str(tmp_path / "records"), cache=str(tmp_path / "cache"))
