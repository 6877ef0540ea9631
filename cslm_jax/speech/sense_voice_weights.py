"""The published tensors of SenseVoice-Small, read into our module.

A published matrix is (out, in), the kernel of the memory (channel, 1, frame), a block a set of tensors; ours are (in, out)
and (frame, channel), all blocks of one shape one above the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float

from cslm_jax.speech import published
from cslm_jax.speech.sense_voice import SenseVoice, SenseVoiceConfig

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
    path, tensors = published.read(directory, "model.pt")
    published.check(path, tensors, published_shapes(config), "SenseVoice-Small (FunAudioLLM/SenseVoiceSmall)")
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
