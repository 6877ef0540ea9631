"""Rotary position embedding with the frequency scaling of Llama 3.1 (Su et al. 2021; Llama 3 herd of models)."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


@dataclasses.dataclass(frozen=True)
class RopeScaling:
    """Llama-3.1 stretching of slow frequencies, so that a model reads beyond the length it was trained on."""

    factor: float = 8.0
    """Slow frequencies are divided by this."""
    low_frequency_factor: float = 1.0
    """Wavelengths over original_length / this are fully stretched."""
    high_frequency_factor: float = 4.0
    """Wavelengths under original_length / this stay as they are."""
    original_length: int = 8192
    """Positions seen in pre-training, in tokens."""

    def __post_init__(self):
        if not 0 < self.low_frequency_factor < self.high_frequency_factor:
            raise ValueError("rope_scaling: low_frequency_factor must lie between 0 and high_frequency_factor")


@dataclasses.dataclass(frozen=True)
class Rotation:
    """Angles of every position, computed once and shared by all layers."""

    cos: Float[Array, "B T 1 K"]
    sin: Float[Array, "B T 1 K"]

    def __call__(self, x: Float[Array, "B T H K"]) -> Float[Array, "B T H K"]:
        # Pairs are (i, i + K/2), the layout of Hugging Face checkpoints, not (2i, 2i + 1) of Meta's own files.
        first, second = jnp.split(x, 2, axis=-1)
        return x * self.cos + jnp.concatenate([-second, first], axis=-1) * self.sin


jax.tree_util.register_dataclass(Rotation)


def rotation(
    positions: Int[Array, "B T"], head_dim: int, theta: float, scaling: RopeScaling | None, dtype: jnp.dtype
) -> Rotation:
    """Rotation for these positions; angles in float32 whatever the compute dtype."""
    angles = positions[..., None].astype(jnp.float32) * frequencies(head_dim, theta, scaling)
    angles = jnp.concatenate([angles, angles], axis=-1)[:, :, None, :]
    return Rotation(jnp.cos(angles).astype(dtype), jnp.sin(angles).astype(dtype))


def frequencies(head_dim: int, theta: float, scaling: RopeScaling | None) -> Float[Array, "K/2"]:
    """Radians a position, fastest first."""
    plain = theta ** (-jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim)
    if scaling is None:
        return plain
    turns = scaling.original_length * plain / (2 * math.pi)
    kept = (turns - scaling.low_frequency_factor) / (scaling.high_frequency_factor - scaling.low_frequency_factor)
    kept = jnp.clip(kept, 0.0, 1.0)
    return plain * (kept + (1 - kept) / scaling.factor)
