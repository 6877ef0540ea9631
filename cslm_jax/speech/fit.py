"""The training loop of the small speech models: tokenizer, duration predictor, mel decoder.

The step number is the whole state of the data, as in the LM's loop, so an interrupted run resumes bit for bit.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array
from optax.contrib import MuonDimensionNumbers, muon
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from tqdm import tqdm

from cslm_jax.errors import CslmError

logger = logging.getLogger(__name__)

Batch = dict[str, np.ndarray]
ALGORITHMS = ("adamw", "muon")
MUON_RMS = 0.2
"""Root mean square of Muon's updates at a learning rate of 1: about AdamW's, so one learning rate serves both."""
FREE = ("log_every", "checkpoint_every")
"""Fields of FitConfig that do not touch what is learnt."""

Loss = Callable[[nnx.Module, dict[str, Array], Array], Array | tuple[Array, dict[str, Array]]]


@dataclasses.dataclass(frozen=True)
class FitConfig:
    """AdamW or Muon with warm-up and cosine.

    muon is as optax has it by default: Muon (Nesterov momentum 0.95) for every parameter with two axes, embeddings and
    output layers too, and weight decay for these alone; AdamW with Nesterov momentum for the rest (biases, norms,
    convolutions). The LM's own choice of matrices is in cslm_jax.train.optimizer.
    """

    algorithm: Literal["adamw", "muon"] = "adamw"
    """adamw; or muon for what has two axes, with adamw for the rest."""
    steps: int = 1000
    """Optimizer steps."""
    learning_rate: float = 1e-3
    """Peak learning rate."""
    warmup_fraction: float = 0.05
    """Share of the steps in which the learning rate rises."""
    end_fraction: float = 0.01
    """Learning rate of the last step, as a share of the peak."""
    weight_decay: float = 0.0
    """Decoupled weight decay, on matrices only."""
    clip: float = 1.0
    """Largest global norm of the gradients."""
    seed: int = 0
    """Fixes initial weights, batches and dropout."""
    log_every: int = 20
    """Steps between two lines of metrics.jsonl."""
    checkpoint_every: int = 250
    """Steps between two checkpoints."""

    def __post_init__(self):
        if self.algorithm not in ALGORITHMS:
            raise ValueError(f"fit: algorithm must be {' or '.join(ALGORITHMS)}, got {self.algorithm!r}")
        for field in ("steps", "log_every", "checkpoint_every"):
            if getattr(self, field) < 1:
                raise ValueError(f"fit: {field} must be at least 1, got {getattr(self, field)}")
        if not 0 <= self.warmup_fraction < 1 or not 0 <= self.end_fraction <= 1:
            raise ValueError("fit: warmup_fraction must be in [0, 1) and end_fraction in [0, 1]")
        if self.learning_rate <= 0 or self.clip <= 0:
            raise ValueError("fit: learning_rate and clip must be positive")
        if self.weight_decay < 0:
            raise ValueError(f"fit: weight_decay must not be negative, got {self.weight_decay}")

    def schedule(self) -> optax.Schedule:
        return optax.warmup_cosine_decay_schedule(
            0.0,
            self.learning_rate,
            warmup_steps=max(int(self.steps * self.warmup_fraction), 1),
            decay_steps=max(self.steps, 2),
            end_value=self.learning_rate * self.end_fraction,
        )

    def optimizer(self) -> optax.GradientTransformation:
        rates, decay = self.schedule(), self.weight_decay
        if self.algorithm == "muon":
            algorithm = _by_shape(muon(
                rates, adam_b2=0.98, weight_decay=decay, consistent_rms=MUON_RMS, muon_weight_dimension_numbers=_matrices
            ))  # fmt: skip
        else:
            matrices = lambda params: jax.tree.map(lambda x: x.ndim > 1, params)
            algorithm = optax.adamw(rates, b2=0.98, weight_decay=decay, mask=matrices)
        return optax.chain(optax.clip_by_global_norm(self.clip), algorithm)


def _matrices(stacks: Mapping[str, Array | optax.MaskedNode]) -> dict[str, MuonDimensionNumbers | None]:
    """Which stacks of `_by_shape` Muon trains: those of two axes more than the stack's own."""
    return {shape: MuonDimensionNumbers(1, 2) if getattr(stack, "ndim", 0) == 3 else None for shape, stack in stacks.items()}


def _by_shape(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """`inner` over stacks {shape: arrays of that shape}: one product of twenty small matrices is much faster than twenty."""

    def stacked(tree) -> dict[str, Array]:
        groups: dict[str, list[Array]] = {}
        for leaf in jax.tree.leaves(tree):
            groups.setdefault(str(leaf.shape), []).append(leaf)
        return {shape: jnp.stack(leaves) for shape, leaves in groups.items()}

    def update(updates, state, params):
        leaves, structure = jax.tree.flatten(updates)
        stacks, state = inner.update(stacked(updates), state, stacked(params))
        rows = {shape: iter(stack) for shape, stack in stacks.items()}
        return jax.tree.unflatten(structure, [next(rows[str(leaf.shape)]) for leaf in leaves]), state

    return optax.GradientTransformation(lambda params: inner.init(stacked(params)), update)


def fit(
    model: nnx.Module,
    loss: Loss,
    batch: Callable[[int], Batch],
    config: FitConfig,
    directory: str | Path | None = None,
    title: str = "fit",
    identity: Mapping[str, Any] | None = None,
) -> None:
    """Trains `model` in place for `config.steps` steps.

    Args:
        loss: (model, batch, key) -> loss, or (loss, metrics). It may change the model's variables other than
            parameters (running statistics); gradients are taken for `nnx.Param` only.
        batch: step -> arrays; must depend on nothing but the step.
        directory: where `metrics.jsonl` and the checkpoint `fit.safetensors` live, the one before it beside it; a rerun
            resumes there.
        title: name of the progress bar.
        identity: everything else that decides what is learnt, settings of `loss` and `batch` for instance, as JSON
            values by name; what was begun with another identity is not gone on with.

    Raises:
        CslmError: the loss or its gradient is not finite, or the checkpoint is of another model, config or identity.
    """
    optimizer = config.optimizer()
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    # Donated buffers must be owned once each, and the caller's model must survive an interrupt.
    state = jax.tree.map(jnp.copy, (params, rest, optimizer.init(params)))
    step_function = _step_function(graph, loss, optimizer)
    checkpoint = None if directory is None else Path(directory) / "fit.safetensors"
    made_with = _made_with(config, identity or {})
    first, state = _resume(checkpoint, state, made_with)
    metrics = _Metrics(None if directory is None else Path(directory) / "metrics.jsonl", first)
    key = jax.random.key(config.seed)
    with tqdm(total=config.steps, initial=first, desc=title, unit="step", mininterval=1) as bar:
        for step in range(first, config.steps):
            state, values = step_function(state, batch(step), jax.random.fold_in(key, step))
            done = step + 1
            to_log, to_save = (done % every == 0 or done == config.steps for every in (config.log_every, config.checkpoint_every))
            if to_log or to_save:
                line = _line(done, values, config)
                _check_finite(line, title if directory is None else f"{title} ({directory})")
            if to_log:
                metrics.write(line)
                bar.set_postfix(loss=f"{line['loss']:.3f}", refresh=False)
            if checkpoint and to_save:
                _save(checkpoint, done, state, made_with)
            bar.update()
    nnx.update(model, state[0], state[1])


def _step_function(graph, loss: Loss, optimizer: optax.GradientTransformation):
    def objective(params, rest, batch, key):
        model = nnx.merge(graph, params, rest, copy=True)
        result = loss(model, batch, key)
        value, metrics = result if isinstance(result, tuple) else (result, {})
        return value, (metrics, nnx.split(model, nnx.Param, ...)[2])

    def step(state, batch, key):
        params, rest, optimizer_state = state
        (value, (metrics, rest)), grads = jax.value_and_grad(objective, has_aux=True)(params, rest, batch, key)
        updates, optimizer_state = optimizer.update(grads, optimizer_state, params)
        metrics = {"loss": value, "grad_norm": optax.global_norm(grads), **metrics}
        return (optax.apply_updates(params, updates), rest, optimizer_state), metrics

    return jax.jit(step, donate_argnums=0)


class _Metrics:
    """Appends lines to metrics.jsonl, after cutting off those of steps that are about to be repeated."""

    def __init__(self, path: Path | None, step: int):
        self.path, self.started = path, time.time()
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join(line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step))
        os.replace(temporary, path)

    def write(self, line: dict[str, float]) -> None:
        if self.path is not None:
            with open(self.path, "a") as file:
                file.write(json.dumps(line | {"seconds": round(time.time() - self.started, 3)}) + "\n")


def _line(step: int, values: dict[str, Array], config: FitConfig) -> dict[str, float]:
    line = {"step": step, **{name: float(value) for name, value in values.items()}}
    return line | {"learning_rate": float(config.schedule()(step - 1))}


def _check_finite(line: dict[str, float], where: str) -> None:
    if not np.isfinite([line["loss"], line["grad_norm"]]).all():
        raise CslmError(
            f"{where}: loss {line['loss']}, gradient norm {line['grad_norm']} at step {line['step']}, which is not saved; "
            "lower learning_rate"
        )


def digest(parts: Iterable[str | np.ndarray]) -> str:
    """Short fingerprint of texts or arrays, for the `identity` of what is learnt from them."""
    found = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else np.ascontiguousarray(part).tobytes()
        found.update(len(content).to_bytes(8, "big") + content)
    return found.hexdigest()[:16]


def _made_with(config: FitConfig, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Names and values of all that decides what is learnt, as they come back from JSON."""
    chosen = {name: value for name, value in dataclasses.asdict(config).items() if name not in FREE}
    return json.loads(json.dumps(dict(_flat(identity)) | chosen))


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _flatten(state) -> dict[str, Array]:
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state)}


def _save(path: Path, step: int, state, made_with: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    metadata = {"step": str(step), "made_with": json.dumps(made_with)}
    save_file({name: np.asarray(leaf) for name, leaf in _flatten(state).items()}, temporary, metadata)
    if path.exists():
        os.replace(path, _previous(path))
    os.replace(temporary, path)


def _previous(path: Path) -> Path:
    return path.with_suffix(".previous.safetensors")


def _resume(path: Path | None, state, made_with: dict[str, Any]) -> tuple[int, object]:
    """The step and state of the newest checkpoint that can be read, or step 0 and `state` where there is none."""
    found = [] if path is None else [kept for kept in (path, _previous(path)) if kept.exists()]
    for kept in found:
        try:
            metadata, saved = _read(kept)
        except SafetensorError as error:
            logger.warning("%s is damaged (%s)", kept, error)
            continue
        return _accept(kept, metadata, saved, state, made_with)
    if found:
        raise CslmError(f"{' and '.join(map(str, found))} cannot be read; remove {_them(path)} to train anew")
    return 0, state


def _read(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    with safe_open(path, "np") as file:
        return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}


def _accept(
    path: Path, metadata: dict[str, str], saved: dict[str, np.ndarray], state, made_with: dict[str, Any]
) -> tuple[int, object]:
    names = _flatten(state)
    _check_same(path, json.loads(metadata.get("made_with", "{}")), made_with)
    _check_same(path, {n: leaf.shape for n, leaf in saved.items()}, {n: leaf.shape for n, leaf in names.items()})
    logger.info("%s: resuming at step %s", path, metadata["step"])
    leaves = [jnp.asarray(saved[name]) for name in names]
    return int(metadata["step"]), jax.tree.unflatten(jax.tree.structure(state), leaves)


def _check_same(path: Path, saved: dict[str, object], asked: dict[str, object]) -> None:
    for name in sorted(saved.keys() | asked.keys()):
        if saved.get(name) != asked.get(name):
            raise CslmError(
                f"{path} was made with {name} = {saved.get(name)}, not {asked.get(name)} as asked for now; "
                f"go back to that, or remove {_them(path)} to train anew"
            )


def _them(path: Path) -> str:
    return str(path.parent / "fit*.safetensors")
