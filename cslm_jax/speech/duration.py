"""Duration predictor: merged units -> how many frames each of them lasts (paper section 1)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from cslm_jax.buckets import map_bucketed
from cslm_jax.speech.units import Speech


@dataclasses.dataclass(frozen=True)
class DurationConfig:
    """The predictor of speech-resynthesis: two convolutions, a frame of context on either side of each."""

    codes: int = 4096
    """Units of the speech tokenizer."""
    width: int = 128
    """Channels of the embedding and of both convolutions."""
    kernel: int = 3
    """Units that a convolution sees."""
    dropout: float = 0.5
    """Dropped share of the hidden channels in training."""
    target: Literal["frames", "log"] = "frames"
    """What is regressed: the run length, or log(run length + 1) as in speech-resynthesis, which hurries the speech."""

    def __post_init__(self):
        if self.codes < 1 or self.width < 1:
            raise ValueError(f"duration: codes and width must be positive, got {self.codes} and {self.width}")
        if self.kernel % 2 == 0:
            raise ValueError(f"duration.kernel must be odd, so that it has a middle, got {self.kernel}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"duration.dropout must be in [0, 1), got {self.dropout}")
        if self.target not in ("log", "frames"):
            raise ValueError(f"duration.target must be log or frames, got {self.target!r}")


class DurationPredictor(nnx.Module):
    """Embedding, twice (conv, ReLU, LayerNorm, dropout), linear."""

    def __init__(self, config: DurationConfig, *, rngs: nnx.Rngs):
        self.config, width = config, config.width
        self.embedding = nnx.Embed(config.codes, width, rngs=rngs)
        self.convolutions = nnx.List([nnx.Conv(width, width, config.kernel, rngs=rngs) for _ in range(2)])
        self.norms = nnx.List([nnx.LayerNorm(width, rngs=rngs) for _ in range(2)])
        self.dropout = nnx.Dropout(config.dropout)
        self.output = nnx.Linear(width, 1, rngs=rngs)

    def __call__(
        self, units: Int[Array, "B N"], present: Bool[Array, "B N"], dropout_key: Array | None = None
    ) -> Float[Array, "B N"]:
        """The target of every unit; `dropout_key` switches dropout on.

        Padding is zeroed before each convolution, so a padded row equals the row by itself.
        """
        keys = [None, None] if dropout_key is None else jax.random.split(dropout_key)
        x = self.embedding(units)
        for convolution, norm, key in zip(self.convolutions, self.norms, keys):
            x = norm(nnx.relu(convolution(x * present[..., None])))
            x = self.dropout(x, deterministic=key is None, rngs=key)
        return self.output(x)[..., 0]

    def encode(self, run_lengths: Int[Array, "..."]) -> Float[Array, "..."]:
        """The target of run lengths in frames."""
        frames = run_lengths.astype(jnp.float32)
        return jnp.log1p(frames) if self.config.target == "log" else frames

    def decode(self, target: Float[Array, "..."]) -> Float[Array, "..."]:
        """Frames of a target; the inverse of `encode`."""
        return jnp.expm1(target) if self.config.target == "log" else target


def duration_loss(model: DurationPredictor, batch: dict[str, Array], key: Array) -> Float[Array, ""]:
    """Mean squared error of the target over the weighted units of `batch`."""
    predicted = model(batch["units"], batch["present"], key)
    error = jnp.square(predicted - model.encode(batch["run_lengths"]))
    return jnp.sum(error * batch["weights"]) / jnp.maximum(jnp.sum(batch["weights"]), 1)


def duration_batches(
    speeches: Sequence[Speech], rows: int, window: int = 64, seed: int = 0
) -> Callable[[int], dict[str, np.ndarray]]:
    """`batch(step)`: `rows` random windows of `window` units.

    The first and the last run of an utterance carry no weight: their length is how the recording was
    trimmed, not how the voice speaks.
    """
    usable = [speech for speech in speeches if len(speech.units) > 2]
    if not usable:
        raise ValueError("the duration predictor needs utterances of at least three runs; got none")

    def batch(step: int) -> dict[str, np.ndarray]:
        random = np.random.default_rng([seed, step])
        out = {name: np.zeros((rows, window), np.int32) for name in ("units", "run_lengths", "weights")}
        present = np.zeros((rows, window), bool)
        for row, pick in enumerate(random.integers(len(usable), size=rows)):
            speech = usable[pick]
            total = len(speech.units)
            start = random.integers(max(total - window, 0) + 1)
            taken = np.arange(start, min(start + window, total))
            out["units"][row, : len(taken)] = speech.units[taken]
            out["run_lengths"][row, : len(taken)] = speech.run_lengths[taken]
            out["weights"][row, : len(taken)] = (taken > 0) & (taken < total - 1)
            present[row, : len(taken)] = True
        return out | {"present": present}

    return batch


@nnx.jit
def _frames(model: DurationPredictor, units: Array, lengths: Array) -> Array:
    return model.decode(model(units, jnp.arange(units.shape[1]) < lengths[:, None]))


def predict_run_lengths(
    model: DurationPredictor, units: Sequence[Int[np.ndarray, "N"]], longest: int = 250
) -> list[Int[np.ndarray, "N"]]:
    """Frames of every unit, rounded, at least 1 and at most `longest` (10 s at 25 Hz)."""
    out = map_bucketed(functools.partial(_frames, model), units)
    return [np.clip(np.rint(frames[: len(row)]), 1, longest).astype(np.int32) for frames, row in zip(out, units)]
