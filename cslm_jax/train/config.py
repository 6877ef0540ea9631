"""What a training run needs to know beyond its data, model and optimizer."""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Length of a run, how a step is computed, and what is kept of it."""

    steps: int = 1000
    """Optimizer steps of the whole run; the learning-rate schedule ends with them."""
    init_from: str | None = None
    """Workdir of a finished run to start from; its token table grows to this run's vocabulary."""
    vocabulary: Literal["joint", "text"] = "joint"
    """Rows of the token table when model.vocabulary_size is unset: text and units, or only text (stage 0)."""
    accumulate: int = 1
    """Micro-batches a step; the gradients are those of the whole batch."""
    z_loss: float = 0.0
    """Coefficient of the squared log-normaliser in the loss."""
    loss_tile: int = 2048
    """Tokens of the vocabulary whose logits exist at a time: 8 KiB a position of a device, as float32."""
    compiler_options: Literal["tuned", "default"] = "tuned"
    """What XLA is told: the options for this machine (cslm_jax/train/compiler_options.py), or nothing beyond its defaults."""
    checkpoint_every: int = 500
    """Steps between checkpoints; one is always written at the end."""
    keep: int = 2
    """Checkpoints that are kept; two, so that a damaged one does not end the run."""
    log_every: int = 1
    """Steps between lines of metrics.jsonl; the first and the last step always have one."""
    tensorboard: bool = True
    """Also write TensorBoard event files."""
    stall_minutes: float = 20.0
    """A process that stays that long at one step, at compiling or at a checkpoint ends with a message; 0 for never."""
    heartbeat_seconds: int = 100
    """In a job of several processes, after so long without a sign of life from one JAX ends the others."""

    def __post_init__(self):
        for name in ("steps", "accumulate", "loss_tile", "checkpoint_every", "keep", "log_every", "heartbeat_seconds"):
            if getattr(self, name) < 1:
                raise ValueError(f"train.{name}={getattr(self, name)} must be at least 1")
        if self.z_loss < 0:
            raise ValueError(f"train.z_loss={self.z_loss} must be at least 0")
        if self.compiler_options not in ("tuned", "default"):
            raise ValueError(f"train.compiler_options={self.compiler_options!r}: choose tuned or default")
        if self.stall_minutes < 0:
            raise ValueError(f"train.stall_minutes={self.stall_minutes} must be at least 0")
        if self.vocabulary not in ("joint", "text"):
            raise ValueError(f"train.vocabulary={self.vocabulary!r}: choose joint or text")
