"""AdamW, or Muon with AdamW beside it, with linear warm-up and cosine decay (paper section 2)."""

import dataclasses
from collections.abc import Container
from typing import Any, Literal

import jax
import optax
from optax.contrib import MuonDimensionNumbers, muon

from cslm_jax.model.parameters import Declaration, Params, is_declaration, map_declared, split

Path = tuple[Any, ...]
"""Of a leaf in a tree, as JAX's tree functions give it."""
ALGORITHMS = ("adamw", "muon")
MUON_RMS = 0.2
"""Root mean square of Muon's updates at a learning rate of 1: about AdamW's, so one learning rate serves both."""


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer and its learning-rate schedule."""

    algorithm: Literal["adamw", "muon"] = "adamw"
    """adamw as in the paper; muon (Jordan 2024, scaled as by Liu et al. 2025, arXiv 2502.16982) for the matrices of the
    layers, with AdamW (Nesterov momentum) for token tables and norms."""
    learning_rate: float = 6e-5
    """Peak learning rate."""
    table_rate: float = 1.0
    """Under muon: learning rate of what AdamW trains (token tables, norms), in multiples of learning_rate."""
    warmup: float = 0.03
    """Share of the steps that rise linearly from 0 to the peak."""
    end: float = 0.0
    """Final learning rate as a share of the peak."""
    b1: float = 0.9
    """Decay of AdamW's first moment."""
    b2: float = 0.95
    """Decay of the second moment."""
    epsilon: float = 1e-8
    """Added to the root of the second moment."""
    weight_decay: float = 0.0
    """Decoupled weight decay of matrices; norm scales are never decayed, under muon token tables neither."""
    clip: float = 1.0
    """Largest global norm of the gradient."""
    moment_dtype: Literal["float32", "bfloat16"] = "float32"
    """Type in which both moments are kept between steps; they are computed in float32."""

    def __post_init__(self):
        if self.algorithm not in ALGORITHMS:
            raise ValueError(f"optimizer.algorithm={self.algorithm!r}: choose {' or '.join(ALGORITHMS)}")
        if self.moment_dtype not in ("float32", "bfloat16"):
            raise ValueError(f"optimizer.moment_dtype={self.moment_dtype!r}: choose float32 or bfloat16")
        for name in ("b1", "b2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"optimizer.{name}={getattr(self, name)} is a decay: at least 0, under 1")
        if min(self.epsilon, self.weight_decay) < 0:
            raise ValueError("optimizer.epsilon and optimizer.weight_decay must be at least 0")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"optimizer.warmup={self.warmup} is a share of the steps: at least 0, under 1")
        if not 0 <= self.end <= 1:
            raise ValueError(f"optimizer.end={self.end} is a share of the peak: from 0 to 1")
        if min(self.learning_rate, self.table_rate, self.clip) <= 0:
            raise ValueError("optimizer.learning_rate, optimizer.table_rate and optimizer.clip must be positive")


def schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Learning rate at every step of a run of `steps`."""
    warmup = round(config.warmup * steps)
    rise = optax.linear_schedule(config.learning_rate / max(warmup, 1), config.learning_rate, max(warmup - 1, 1))
    fall = optax.cosine_decay_schedule(config.learning_rate, max(steps - warmup, 1), config.end)
    return optax.join_schedules([rise, fall], [warmup])


def make_optimizer(config: OptimizerConfig, steps: int, declared: Params) -> optax.GradientTransformation:
    """Clipping, then the algorithm, for the parameters that are trained.

    `declared` says which these are, which of them are decayed, and which are matrices of layers.
    """
    declared, _ = split(declared, declared)
    algorithm = {"adamw": _adamw, "muon": _muon}[config.algorithm](config, steps, declared)
    return optax.chain(optax.clip_by_global_norm(config.clip), _kept_as(config.moment_dtype, algorithm, declared))


def parameter_of(path: Path, parameters: Container[Path]) -> Path | None:
    """The parameter that a leaf of the optimizer's state belongs to; None for counters.

    The path of a moment ends with the path of its parameter, whatever the optimizer wraps around it.
    """
    return next((path[i:] for i in range(len(path)) if path[i:] in parameters), None)


def _kept_as(dtype: str, optimizer: optax.GradientTransformation, declared: Params) -> optax.GradientTransformation:
    """The optimizer with its moments in this type between steps; optax itself has this for the first moment only."""
    paths = {path for path, _ in jax.tree_util.tree_leaves_with_path(declared, is_leaf=is_declaration)}

    def cast(state, dtype):
        moved = lambda path, leaf: leaf.astype(dtype) if parameter_of(path, paths) else leaf
        return jax.tree_util.tree_map_with_path(moved, state)

    def update(gradients, state, params):
        updates, state = optimizer.update(gradients, cast(state, "float32"), params)
        return updates, cast(state, dtype)

    return optax.GradientTransformation(lambda params: cast(optimizer.init(params), dtype), update)


def _adamw(config: OptimizerConfig, steps: int, declared: Params) -> optax.GradientTransformation:
    return optax.adamw(
        schedule(config, steps),
        b1=config.b1,
        b2=config.b2,
        eps=config.epsilon,
        weight_decay=config.weight_decay,
        mask=map_declared(lambda declaration: declaration.decayed, declared),
    )


def _muon(config: OptimizerConfig, steps: int, declared: Params) -> optax.GradientTransformation:
    matrices = map_declared(_matrix, declared)
    tables = dataclasses.replace(config, learning_rate=config.learning_rate * config.table_rate)
    return muon(
        schedule(config, steps),
        adam_learning_rate=schedule(tables, steps),
        eps=config.epsilon,
        weight_decay=config.weight_decay,
        adam_b1=config.b1,
        adam_b2=config.b2,
        muon_weight_dimension_numbers=lambda _: matrices,
        consistent_rms=MUON_RMS,
    )


def _matrix(declaration: Declaration) -> MuonDimensionNumbers | None:
    """A layer's matrix between the model width, or an adapter's rank, and its other axes; None where there is none."""
    axes = declaration.axes
    if not declaration.decayed or "vocabulary" in axes:
        return None
    one = "rank" if "rank" in axes else "width"
    others = tuple(i for i, axis in enumerate(axes) if axis not in ("layers", one))
    return MuonDimensionNumbers(reduction_axis=(axes.index(one),), output_axis=others)
