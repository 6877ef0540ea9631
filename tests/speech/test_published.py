"""Published weights: nothing of a file is run, and what cannot be read says what to do."""

import os
import pickle
import sys

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from cslm_jax.errors import CslmError
from cslm_jax.speech import published


def test_a_pytorch_file_without_pytorch_says_how_to_convert_it(tmp_path, monkeypatch):
    (tmp_path / "weights.bin").write_bytes(b"weights")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(CslmError, match=r"weights.bin is read with PyTorch.*save_file\(torch.load\('weights.bin'"):
        published.read(tmp_path, "weights.bin")


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_what_a_pickle_asks_for_is_not_done(tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "weights.bin").write_bytes(pickle.dumps({"weight": Harmful(tmp_path / "harm")}, protocol=2))
    with pytest.raises(CslmError, match="weights.bin cannot be read"):
        published.read(tmp_path, "weights.bin")
    assert not (tmp_path / "harm").exists()


def test_a_damaged_file_and_an_empty_folder_are_named(tmp_path):
    with pytest.raises(CslmError, match="holds neither model.safetensors nor weights.bin"):
        published.read(tmp_path, "weights.bin")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    with pytest.raises(CslmError, match="model.safetensors cannot be read"):
        published.read(tmp_path, "weights.bin")


def test_half_precision_is_read_as_float32(tmp_path):
    numbers = np.array([1.5, -0.25, 3.0], np.float32)
    save_file({"b": numbers.astype(ml_dtypes.bfloat16), "f": numbers.astype(np.float16)}, tmp_path / "model.safetensors")
    _, tensors = published.read(tmp_path, "weights.bin")
    for tensor in tensors.values():
        assert tensor.dtype == np.float32
        np.testing.assert_array_equal(tensor, numbers)


def test_everything_that_does_not_fit_is_listed(tmp_path):
    tensors = {f"t{i}": np.zeros(2) for i in range(30)}
    with pytest.raises(CslmError, match=r"(?s)t0 has shape \(2,\), not \(3,\).*and 10 more"):
        published.check(tmp_path / "file", tensors, {name: (3,) for name in tensors}, "the model")
