"""The published tensors of SenseVoice-Small, read into our module.

A published matrix is (out, in), the kernel of the memory (channel, 1, frame), a block a set of tensors; ours are (in, out)
and (frame, channel), all blocks of one shape one above the other.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.numpy import load_file

from cslm_jax.errors import CslmError
from cslm_jax.speech.sense_voice import SenseVoice, SenseVoiceConfig

SAFE, TORCH = "model.safetensors", "model.pt"
_PUBLISHED = {
    "encoders0": "encoders0.0", "encoders": "encoders.{}", "tp_encoders": "tp_encoders.{}", "ctc_lo": "ctc.ctc_lo",
    "kernel": "weight", "scale": "weight", "embedding": "weight",
}  # fmt: skip
"""What a part of our names is called there; the rest is alike. {} is the layer."""


class _Parameter(NamedTuple):
    """One of our arrays and the published tensors that make it up."""

    names: list[str]
    shape: tuple[int, ...]
    """Of each published tensor."""
    stacked: bool
    """Whether each of them is a layer of ours."""


def published_shapes(config: SenseVoiceConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the published tensors."""
    return {name: parameter.shape for parameter in _parameters(_abstract(config)) for name in parameter.names}


def load_published(directory: Path, config: SenseVoiceConfig = SenseVoiceConfig()) -> SenseVoice:
    """The network with the weights of `model.safetensors` or, where there is none, of `model.pt`.

    Raises:
        CslmError: there is neither file, it cannot be read, or its tensors are missing, surplus or of another shape.
    """
    path = directory / SAFE if (directory / SAFE).is_file() else directory / TORCH
    tensors = _read(path)
    _check(path, tensors, published_shapes(config))
    model = _abstract(config)
    leaves = []
    for parameter in _parameters(model):
        ours = [_from_published(parameter.names[0], tensors[name]) for name in parameter.names]
        leaves.append(jax.device_put(np.stack(ours) if parameter.stacked else ours[0]))
    nnx.update(model, jax.tree.unflatten(jax.tree.structure(nnx.state(model)), leaves))
    return model


def _abstract(config: SenseVoiceConfig) -> SenseVoice:
    return nnx.eval_shape(lambda: SenseVoice(config, rngs=nnx.Rngs(0)))


def _parameters(model: SenseVoice) -> Iterator[_Parameter]:
    """In the order of the leaves of the module's state."""
    for path, leaf in nnx.to_flat_state(nnx.state(model)):
        name, shape = ".".join(_PUBLISHED.get(part, part) for part in path), leaf.get_value().shape
        stacked = "{}" in name
        names = [name.format(layer) for layer in range(shape[0])] if stacked else [name]
        shape = shape[1:] if stacked else shape
        if path[-1] == "kernel":
            shape = (shape[1], 1, shape[0]) if "fsmn_block" in path else shape[::-1]
        yield _Parameter(names, shape, stacked)


def _from_published(name: str, tensor: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    if name == "embed.weight" or tensor.ndim == 1:
        return tensor
    return tensor.reshape(len(tensor), -1).T


def _read(path: Path) -> dict[str, Float[np.ndarray, "..."]]:
    if not path.is_file():
        raise CslmError(f"{path.parent} holds neither {SAFE} nor {TORCH}; download all of FunAudioLLM/SenseVoiceSmall into it")
    try:
        tensors = load_file(path) if path.name == SAFE else _read_torch(path)
    except (OSError, EOFError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
        raise CslmError(f"{path} cannot be read ({error}); download it again") from error
    return {name: np.asarray(tensor, np.float32) for name, tensor in tensors.items()}


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    """Tensors of a PyTorch file; `weights_only` builds nothing but tensors, whatever the file asks for."""
    try:
        import torch
    except ImportError as error:
        raise CslmError(
            f"{path} is read with PyTorch, which is not installed: install torch, or write {SAFE} beside it where torch is: "
            f"safetensors.torch.save_file(torch.load('{TORCH}', weights_only=True), '{SAFE}')"
        ) from error
    saved = torch.load(path, map_location="cpu", weights_only=True)
    return {name: tensor.float().numpy() for name, tensor in saved.get("state_dict", saved).items()}


def _check(path: Path, tensors: Mapping[str, np.ndarray], expected: Mapping[str, tuple[int, ...]]) -> None:
    wrong = [f"missing: {name} {expected[name]}" for name in expected if name not in tensors]
    wrong += [f"surplus: {name} {tensors[name].shape}" for name in tensors if name not in expected]
    for name, shape in expected.items():
        if name in tensors and tensors[name].shape != shape:
            wrong.append(f"{name} has shape {tensors[name].shape}, not {shape}")
    if wrong:
        more = f"\n  ... and {len(wrong) - 20} more" if len(wrong) > 20 else ""
        listed = "\n  ".join(wrong[:20])
        raise CslmError(
            f"{path} does not hold SenseVoice-Small:\n  {listed}{more}\n"
            "take FunAudioLLM/SenseVoiceSmall, the only published size, or one fine-tuned from it"
        )
