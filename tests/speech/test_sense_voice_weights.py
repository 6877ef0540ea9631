"""Published weights: either file is read, nothing else is unpickled, and what does not fit is named."""

import os

import jax
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file

from cslm_jax.errors import CslmError
from cslm_jax.speech.sense_voice import SenseVoiceConfig
from cslm_jax.speech.sense_voice_weights import load_published, published_shapes

TINY = SenseVoiceConfig(mels=2, width=4, heads=2, mlp_width=6, blocks=3, tp_blocks=1, labels=5)


@pytest.fixture
def tensors():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in published_shapes(TINY).items()}


def test_every_published_number_lies_where_ours_is_read(tmp_path, tensors):
    save_file(tensors, tmp_path / "model.safetensors")
    model = load_published(tmp_path, TINY)
    last = nnx.state(model.encoder.encoders)["self_attn"]
    published = "encoder.encoders.1.self_attn."
    np.testing.assert_array_equal(last["linear_q_k_v"]["kernel"][...][1], tensors[published + "linear_q_k_v.weight"].T)
    np.testing.assert_array_equal(last["fsmn_block"]["kernel"][...][1], tensors[published + "fsmn_block.weight"][:, 0].T)
    np.testing.assert_array_equal(model.embed.embedding[...], tensors["embed.weight"])
    numbers = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(nnx.state(model))])
    np.testing.assert_array_equal(np.sort(numbers), np.sort(np.concatenate([np.ravel(x) for x in tensors.values()])))


def test_a_torch_file_holds_the_same(tmp_path, tensors):
    torch = pytest.importorskip("torch")
    torch.save({name: torch.tensor(tensor) for name, tensor in tensors.items()}, tmp_path / "model.pt")
    ours = jax.tree.leaves(nnx.state(load_published(tmp_path, TINY)))
    save_file(tensors, tmp_path / "model.safetensors")
    for a, b in zip(ours, jax.tree.leaves(nnx.state(load_published(tmp_path, TINY))), strict=True):
        np.testing.assert_array_equal(a, b)


class Trap:
    def __reduce__(self):
        return os.mkdir, ("sprung",)


def test_a_torch_file_cannot_run_code(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    torch.save({"embed.weight": Trap()}, tmp_path / "model.pt")
    with pytest.raises(CslmError, match="model.pt cannot be read"):
        load_published(tmp_path, TINY)
    assert not (tmp_path / "sprung").exists()


def test_without_torch_a_torch_file_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "model.pt").write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(CslmError, match="install torch, or write model.safetensors"):
        load_published(tmp_path, TINY)


CHANGES = {
    "missing": (lambda t: t.pop("encoder.tp_norm.bias"), r"missing: encoder.tp_norm.bias \(4,\)"),
    "surplus": (lambda t: t.update({"decoder.x": np.zeros((2, 3))}), r"surplus: decoder.x \(2, 3\)"),
    "misshapen": (lambda t: t.update({"embed.weight": np.zeros((16, 3))}), r"embed.weight has shape \(16, 3\), not \(16, 14\)"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_tensors_that_do_not_fit_are_named(tmp_path, tensors, change):
    edit, reason = CHANGES[change]
    edit(tensors)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(CslmError, match=rf"model.safetensors does not hold SenseVoice-Small .*:\n  {reason}$"):
        load_published(tmp_path, TINY)


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"\x08\0\0\0\0\0\0\0{}"])
def test_a_damaged_file_is_named(tmp_path, name, content):
    pytest.importorskip("torch")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CslmError, match=f"{name} (cannot be read|does not hold)"):
        load_published(tmp_path, TINY)


def test_an_empty_folder_says_what_to_download(tmp_path):
    with pytest.raises(CslmError, match="neither model.safetensors nor model.pt; download the whole folder"):
        load_published(tmp_path, TINY)
