"""One step gives the same figures however it is split: over micro-batches, or over any mesh."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cslm_jax.errors import CslmError
from cslm_jax.model import llama
from cslm_jax.model.llama import LlamaConfig
from cslm_jax.model.lora import LoraConfig
from cslm_jax.model.parameters import map_declared, split
from cslm_jax.train import sharding
from cslm_jax.train.config import TrainConfig
from cslm_jax.train.optimizer import OptimizerConfig, make_optimizer, schedule
from cslm_jax.train.sharding import MeshConfig, make_mesh
from cslm_jax.train.start import state_shardings
from cslm_jax.train.step import init_state, make_train_step

MODEL = LlamaConfig(vocabulary_size=40, width=16, layers=2, heads=4, kv_heads=2, head_dim=4, mlp_width=24, attention="reference")
ADAPTED = dataclasses.replace(MODEL, lora=LoraConfig(rank=2, alpha=2.0, frozen_rows=32))
OPTIMIZER = OptimizerConfig(learning_rate=1e-2)


def a_batch(rows=8, length=16):
    rng = np.random.default_rng(0)
    lengths = [length // 2, length // 4, length // 4]
    return {
        "tokens": rng.integers(0, 40, (rows, length)).astype(np.int32),
        "loss_weights": rng.random((rows, length)).astype(np.float32),
        "segment_ids": np.tile(np.repeat([1, 2, 0], lengths), (rows, 1)).astype(np.int32),
        "positions": np.tile(np.concatenate([np.arange(n) for n in lengths]), (rows, 1)).astype(np.int32),
        "task": (np.arange(rows) % 3).astype(np.int32),
    }


def _params(model):
    rng = np.random.default_rng(0)
    scales = {None: 1.0, 0.0: 0.1}  # norms, and the half of an adapter that begins at zero
    return map_declared(
        lambda d: jnp.asarray(scales.get(d.stddev, d.stddev) * rng.normal(size=d.shape), jnp.float32), llama.declared(model)
    )


def run(mesh_config=MeshConfig(), devices=1, model=MODEL, steps=3, **options):
    """Losses, gradient norms and per-task losses of a few steps on the first devices."""
    config = TrainConfig(**options)
    mesh = make_mesh(mesh_config, model, 8, config.accumulate, jax.devices()[:devices])
    optimizer = make_optimizer(OPTIMIZER, 10, llama.declared(model))
    shardings = state_shardings(model, mesh, optimizer)
    with jax.set_mesh(mesh):
        state = jax.device_put(init_state(model, _params(model), optimizer), shardings)
        step = jax.jit(
            make_train_step(model, config, optimizer, schedule(OPTIMIZER, 10), 4),
            out_shardings=(shardings, sharding.replicated(mesh)),
        )
        batch = sharding.global_batch(mesh, a_batch(), 8)
        figures = []
        for _ in range(steps):
            state, metrics = step(state, batch)
            figures.append([metrics.loss, metrics.grad_norm, *metrics.task_loss[:3]])
    return np.asarray(figures), metrics, state


@pytest.fixture(scope="module")
def alone():
    """Figures, last metrics and last state of one device."""
    return run()


@pytest.mark.parametrize(
    "mesh, devices",
    [
        (MeshConfig(fsdp=2), 2),
        (MeshConfig(fsdp=2, tensor=2), 4),
        (MeshConfig(data=2, fsdp=2, tensor=2), 8),
        (MeshConfig(data=-1, fsdp=1), 8),
        (MeshConfig(fsdp=2, context=2, tensor=2), 8),
        (MeshConfig(fsdp=1, context=4), 4),
    ],
)
def test_every_mesh_gives_the_losses_of_one_device(mesh, devices, alone):
    figures, _, state = run(mesh, devices)
    np.testing.assert_allclose(figures, alone[0], rtol=1e-4)
    split = state.params["blocks"]["mlp"]["up"].sharding.shard_shape((2, 16, 24))
    sizes = make_mesh(mesh, MODEL, 8, devices=jax.devices()[:devices]).shape
    assert split == (2, 16 // (sizes["fsdp"] * sizes["context"]), 24 // sizes["tensor"])


def test_accumulation_and_tiles_change_nothing(alone):
    np.testing.assert_allclose(run(accumulate=4, loss_tile=4)[0], alone[0], rtol=1e-4)


def test_a_step_of_adamw_is_torchs(transformers_model, published_tensors):
    """Loss, gradient norm, clipping and update on the same batch, twice, so that the moments of the first step count."""
    import torch

    batch = a_batch() | {"segment_ids": np.ones((8, 16), np.int32), "positions": np.tile(np.arange(16, dtype=np.int32), (8, 1))}
    adamw = OptimizerConfig(learning_rate=1e-2, warmup=0.0, end=1.0, epsilon=1e-4, weight_decay=0.0, clip=0.5)
    optimizer = make_optimizer(adamw, 10, llama.declared(MODEL))
    state = init_state(MODEL, _params(MODEL), optimizer)
    step = jax.jit(make_train_step(MODEL, TrainConfig(), optimizer, schedule(adamw, 10), 4))
    theirs = transformers_model(MODEL, state.params)
    reference = torch.optim.AdamW(theirs.parameters(), lr=1e-2, betas=(adamw.b1, adamw.b2), eps=1e-4, weight_decay=0.0)
    tokens, weights = torch.from_numpy(batch["tokens"]).long(), torch.from_numpy(batch["loss_weights"])[:, 1:]
    for _ in range(2):
        state, metrics = step(state, batch)
        logits = theirs(tokens).logits[:, :-1]
        losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none")
        loss = (losses * weights).sum() / weights.sum()
        reference.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        reference.step()
        np.testing.assert_allclose([metrics.loss, metrics.grad_norm], [loss.item(), norm.item()], rtol=1e-4)
    ours = published_tensors(MODEL, state.params)
    for name, parameter in theirs.named_parameters():
        np.testing.assert_allclose(ours[name], parameter.detach().numpy(), atol=1e-4, err_msg=name)


@pytest.fixture(scope="module")
def adapted_alone():
    return run(model=ADAPTED)


def test_lora_gives_the_losses_of_one_device_on_a_mesh_and_over_micro_batches(adapted_alone):
    figures, _, state = run(MeshConfig(data=2, fsdp=2, tensor=2), 8, ADAPTED, accumulate=2, loss_tile=4)
    np.testing.assert_allclose(figures, adapted_alone[0], rtol=1e-4)
    adapter = state.params["blocks"]["mlp"]["up_lora"]
    assert adapter["a"].sharding.shard_shape((2, 16, 2)) == (2, 8, 2)
    assert adapter["b"].sharding.shard_shape((2, 2, 24)) == (2, 2, 12)


def test_under_lora_only_what_is_trained_moves_and_has_moments(adapted_alone):
    figures, _, state = adapted_alone
    assert figures[-1, 0] < figures[0, 0]
    declared = llama.declared(ADAPTED)
    (moved, kept), (before, frozen) = (split(params, declared) for params in (state.params, _params(ADAPTED)))
    jax.tree.map(np.testing.assert_array_equal, kept, frozen)
    assert all((new != old).any() for new, old in zip(jax.tree.leaves(moved), jax.tree.leaves(before), strict=True))
    moments = sorted(leaf.shape for leaf in jax.tree.leaves(state.optimizer) if leaf.ndim)
    assert moments == sorted([leaf.shape for leaf in jax.tree.leaves(moved)] * 2)


def test_loss_falls_and_figures_are_of_this_batch(alone):
    figures, metrics, state = alone
    assert figures[-1, 0] < figures[0, 0]
    assert metrics.tokens == 8 * 12 and int(state.step) == 3
    np.testing.assert_allclose(metrics.learning_rate, schedule(OPTIMIZER, 10)(2), rtol=1e-6)
    assert np.isnan(metrics.task_loss[3])


def test_a_vocabulary_that_no_axis_divides_stays_whole():
    model = dataclasses.replace(MODEL, vocabulary_size=41)
    figures, _, state = run(MeshConfig(tensor=2, fsdp=1), 2, model, steps=1)
    assert np.isfinite(figures[:, 0]).all()
    assert state.params["embedding"].sharding.shard_shape((41, 16)) == (41, 16)


@pytest.mark.parametrize(
    "mesh, devices, said",
    [
        (MeshConfig(data=3, fsdp=1), 8, "8 devices"),
        (MeshConfig(data=3), 8, "8 devices"),
        (MeshConfig(tensor=8, fsdp=1), 8, "model.heads=4"),
        (MeshConfig(tensor=4, fsdp=1), 4, "model.kv_heads=2"),
        (MeshConfig(fsdp=3), 3, "data.global_batch=8"),
        (MeshConfig(fsdp=1, context=8), 8, "data.row_length=20"),
    ],
)
def test_an_impossible_mesh_says_which_number_to_change(mesh, devices, said):
    with pytest.raises(CslmError, match=said):
        make_mesh(mesh, MODEL, 8, devices=jax.devices()[:devices], row_length=20)


def test_rows_must_divide_into_micro_batches():
    with pytest.raises(CslmError, match="train.accumulate"):
        make_mesh(MeshConfig(fsdp=2), MODEL, 8, 8, jax.devices()[:2])


@pytest.mark.parametrize("sizes", [{"data": 0}, {"data": -1, "fsdp": -1}, {"tensor": -2}])
def test_impossible_mesh_sizes_are_refused(sizes):
    with pytest.raises(ValueError, match="only one of them may be -1"):
        MeshConfig(**sizes)
