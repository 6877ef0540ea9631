"""AdamW with linear warm-up and cosine decay (paper section 2)."""

import dataclasses
from typing import Literal

import optax

from cslm_jax.model.parameters import Params, map_declared


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """AdamW and its learning-rate schedule."""

    learning_rate: float = 6e-5
    """Peak learning rate."""
    warmup: float = 0.03
    """Share of the steps that rise linearly from 0 to the peak."""
    end: float = 0.0
    """Final learning rate as a share of the peak."""
    b1: float = 0.9
    """Decay of the first moment."""
    b2: float = 0.95
    """Decay of the second moment."""
    epsilon: float = 1e-8
    """Added to the root of the second moment."""
    weight_decay: float = 0.0
    """Decoupled weight decay of matrices; norm scales are never decayed."""
    clip: float = 1.0
    """Largest global norm of the gradient."""
    moment_dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the first moment."""

    def __post_init__(self):
        if not 0 <= self.warmup < 1:
            raise ValueError(f"optimizer.warmup={self.warmup} is a share of the steps: at least 0, under 1")
        if not 0 <= self.end <= 1:
            raise ValueError(f"optimizer.end={self.end} is a share of the peak: from 0 to 1")
        if self.learning_rate <= 0 or self.clip <= 0:
            raise ValueError("optimizer.learning_rate and optimizer.clip must be positive")


def schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Learning rate at every step of a run of `steps`."""
    warmup = round(config.warmup * steps)
    rise = optax.linear_schedule(config.learning_rate / max(warmup, 1), config.learning_rate, max(warmup - 1, 1))
    fall = optax.cosine_decay_schedule(config.learning_rate, max(steps - warmup, 1), config.end)
    return optax.join_schedules([rise, fall], [warmup])


def make_optimizer(config: OptimizerConfig, steps: int, declared: Params) -> optax.GradientTransformation:
    """Clipping, then AdamW; `declared` says which parameters are decayed."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip),
        optax.adamw(
            schedule(config, steps),
            b1=config.b1,
            b2=config.b2,
            eps=config.epsilon,
            weight_decay=config.weight_decay,
            mask=map_declared(lambda declaration: declaration.decayed, declared),
            mu_dtype=config.moment_dtype,
        ),
    )
