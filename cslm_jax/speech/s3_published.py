"""The published S3 tokenizers: version 1 at 25 and 50 Hz (CosyVoice 1), version 2 (CosyVoice 2) and 3 (CosyVoice 3).

They come as ONNX files (speech_tokenizer_v1.onnx of CosyVoice-300M and of CosyVoice-300M-25Hz, speech_tokenizer_v2.onnx of
CosyVoice2-0.5B), or as state dicts with the names of the PyTorch reference, xingchensong/S3Tokenizer.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Shaped

from cslm_jax.errors import CslmError
from cslm_jax.speech import s3_onnx
from cslm_jax.speech.published import Tensors, read_safetensors, read_state_dict
from cslm_jax.speech.s3 import S3Tokenizer, positions
from cslm_jax.speech.s3_config import PUBLISHED, Dtype, S3Config
from cslm_jax.speech.weights import named

HEAD_DIM = 64
"""Channels of an attention head in all of them."""
_WINDOW = PUBLISHED["v1_25hz"].window_seconds
_POSITIONS = "encoder.positional_embedding"
_CODEBOOK, _DIGITS = "quantizer._codebook.embed", "quantizer._codebook.project_down.weight"
_NOT_PUBLISHED = {"quantizer.center", "quantizer.sums", "quantizer.counts"}
_RENAMED = {
    "mlp_in": "mlp.0", "mlp_out": "mlp.2", "memory": "fsmn_block", "project": "_codebook.project_down",
    "embed": "_codebook.embed", "kernel": "weight", "scale": "weight",
}  # fmt: skip


def load(path: Path, dtype: Dtype = "float32") -> S3Tokenizer:
    """The tokenizer of a file: ONNX, safetensors, or a state dict that `torch.save` wrote (.pt, .bin).

    Raises:
        CslmError: the file is damaged or another model, or does not say how many units a second it gives.
    """
    tensors, told = _read(path)
    config = dataclasses.replace(config_of(tensors, told, path), dtype=dtype)
    model = nnx.eval_shape(lambda: S3Tokenizer(config, rngs=nnx.Rngs(0)))
    _fill(model, tensors, path)
    return model


def _read(path: Path) -> tuple[Tensors, dict[str, Any]]:
    match path.suffix:
        case ".onnx":
            return s3_onnx.read(path)
        case ".safetensors":
            return read_safetensors(path), {}
        case ".pt" | ".pth" | ".bin":
            return read_state_dict(path), {}
    raise CslmError(f"{path} is no speech tokenizer: a published one is a .onnx, .safetensors, .pt, .pth or .bin file")


def config_of(tensors: Tensors, told: dict[str, Any], path: Path) -> S3Config:
    """Sizes and version, which follow from the names and shapes.

    Args:
        told: fields that the file says outright.

    Raises:
        CslmError: a tensor is missing that decides, or nothing says how many units a second there are.
    """
    shape = lambda name, axes: _shape(tensors, name, axes, path)
    width, mels, _ = shape("encoder.conv1.weight", 3)
    hidden, _ = shape("encoder.blocks.0.mlp.0.weight", 2)
    fsq = _DIGITS in tensors
    version = (
        {"quantiser": "fsq", "codes": 3 ** shape(_DIGITS, 2)[0], "unit_rate": 25, "positions": "rotary"}
        | {"memory": shape("encoder.blocks.0.attn.fsmn_block.weight", 3)[2]}
        if fsq
        else {"codes": shape(_CODEBOOK, 2)[0], "unit_rate": told.get("unit_rate") or _rate_in_name(path)}
    )
    sizes = {"mels": mels, "width": width, "heads": width // HEAD_DIM, "mlp_ratio": hidden // width, "layers": _layers(tensors)}
    try:
        return S3Config(**sizes | version | told, recogniser_layers=None, window_seconds=_WINDOW)
    except ValueError as error:
        raise CslmError(f"{path} is no published speech tokenizer that is known here ({error})") from error


def _layers(tensors: Tensors) -> int:
    return len({name.split(".")[2] for name in tensors if name.startswith("encoder.blocks.")})


def _rate_in_name(path: Path) -> int:
    """25 and 50 Hz differ in a stride, which is no weight: where the file does not tell, its name has to."""
    found = re.search(r"(25|50)_?hz", path.name.lower())
    if found is None:
        raise CslmError(
            f"{path} does not say whether it gives 25 or 50 units a second; rename it so that its name has 25hz or 50hz in it"
        )
    return int(found[1])


def published_shapes(model: S3Tokenizer) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors that make up a (perhaps abstract) model, as they are published."""
    return {published: _published_shape(name, leaf.shape) for published, (name, leaf) in _wanted(model).items()}


def _fill(model: S3Tokenizer, tensors: Tensors, path: Path) -> None:
    """Reads tensors into an abstract model, one at a time."""
    wanted = _wanted(model)
    if surplus := set(tensors) - set(wanted) - {_POSITIONS}:
        raise CslmError(f"{path} has {min(surplus)}, which no published speech tokenizer has; it is another model")
    _check_positions(tensors, model.config, path)
    arrays: dict[str, Array] = {}
    for published, (name, leaf) in wanted.items():
        array, shape = _get(tensors, published, path), _published_shape(name, leaf.shape)
        if array.shape != shape:
            raise CslmError(
                f"{path}: {published} has shape {array.shape}, but the other tensors ask for {shape}; download it again"
            )
        arrays[name] = jnp.asarray(array if name == "quantizer.embed" else array.T.reshape(leaf.shape), leaf.dtype)
    if model.config.quantiser == "codebook":  # it learnt without centre; its statistics are those of a codebook in even use
        entries = arrays["quantizer.embed"]
        arrays |= {"quantizer.center": jnp.zeros(entries.shape[1]), "quantizer.sums": entries}
        arrays["quantizer.counts"] = jnp.ones(len(entries))
    state = nnx.state(model)
    nnx.update(model, jax.tree.unflatten(jax.tree.structure(state), [arrays[name] for name in named(state)]))


def _wanted(model: S3Tokenizer) -> dict[str, tuple[str, Array]]:
    """Our name and leaf of every published tensor."""
    leaves = {name: leaf for name, leaf in named(nnx.state(model)).items() if name not in _NOT_PUBLISHED}
    return {".".join(_RENAMED.get(part, part) for part in name.split(".")): (name, leaf) for name, leaf in leaves.items()}


def _published_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """PyTorch counts axes from the outputs; ours are (in, out), (taps, in, out), and (taps, channels) in the memory."""
    if name.endswith("memory.kernel"):
        return shape[1], 1, shape[0]
    return shape if name == "quantizer.embed" else shape[::-1]


def _check_positions(tensors: Tensors, config: S3Config, path: Path) -> None:
    """The table is in the file, but it is computed here: for any length, and where there is no file."""
    if _POSITIONS not in tensors:
        return
    table = tensors[_POSITIONS]()
    if table.ndim != 2 or not np.allclose(table, positions(len(table), config.width)[:, : table.shape[1]], atol=1e-3):
        raise CslmError(f"{path}: {_POSITIONS} is not the table of sinusoids that version 1 has; it is another model")


def _shape(tensors: Tensors, name: str, axes: int, path: Path) -> tuple[int, ...]:
    found = _get(tensors, name, path).shape
    if len(found) != axes:
        raise CslmError(f"{path}: {name} has shape {found}, but {axes} axes are needed; it is another model")
    return found


def _get(tensors: Tensors, name: str, path: Path) -> Shaped[np.ndarray, "..."]:
    if name not in tensors:
        raise CslmError(f"{path} has no tensor {name}; it is no published speech tokenizer, or damaged: download it again")
    return tensors[name]()
