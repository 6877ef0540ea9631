"""The helper module beside these tests, and the PyTorch reference of the speech tokenizers."""

import importlib.util
import sys
import types
from pathlib import Path

import pytest

# Tests are imported by file, without this folder on the path; its helper module is found through it.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def s3tokenizer():
    """The reference package. It imports torchaudio, which nothing here needs, to read sound files."""
    pytest.importorskip("torch")
    if importlib.util.find_spec("torchaudio") is None:
        sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    return pytest.importorskip("s3tokenizer")
