"""How long a step takes at best, by formula: what must be computed against what must be sent."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp

from cslm_jax.config import Experiment
from cslm_jax.model.flops import forward_flops, matrix_parameters, trained_matrix_parameters, training_flops
from cslm_jax.train.chips import Chip

EFFICIENCY = 0.65
"""Share of a chip's peak that matrix products reach in well-tuned public runs (40% to 70%); the estimate assumes it."""
RECOMPUTED = {"none": 0.0, "minimal": 0.0, "attention": 1.0, "offload": 1.0, "full": 1.0}
"""Forward passes that a remat policy repeats; for attention and offload a little less than one, as attention is kept."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """One step at EFFICIENCY, where computing and sending hide each other as far as they can."""

    seconds: float
    tokens_per_second_per_chip: float
    mfu_causal: float
    mfu_full: float
    """Model FLOPs utilisation, counting attention by half, or in full as many published figures do."""


def estimate(config: Experiment, mesh: Mapping[str, int], chips: int, chip: Chip, on_one_host: bool) -> Estimate:
    """Seconds of a step and what follows from them.

    Args:
        on_one_host: the devices are all on one host.
    """
    tokens = config.data.global_batch * config.data.row_length
    causal, full = (tokens * training_flops(config.model, config.data.row_length, causal) for causal in (True, False))
    again = tokens * RECOMPUTED[config.model.remat] * forward_flops(config.model, config.data.row_length, causal=True)
    peak = chips * chip.bf16_tflops * 1e12
    computing = (causal + again) / peak / EFFICIENCY
    bandwidth = chip.link_gb_s if on_one_host or chip.network_gb_s is None else chip.network_gb_s
    seconds = max(computing, received(config, mesh) / (bandwidth * 1e9))
    return Estimate(seconds, tokens / seconds / chips, causal / seconds / peak, full / seconds / peak)


def one_host(devices: Iterable[jax.Device]) -> bool:
    """Whether the links between these devices do without the network."""
    return len({device.process_index for device in devices}) == 1


def received(config: Experiment, mesh: Mapping[str, int]) -> float:
    """Bytes that each chip takes in a step, where every transfer is as small as it can be.

    fsdp and context gather the weights for the forward and for the backward pass of each micro-batch and scatter the
    gradients of those that are trained; data sums these gradients as often; tensor sums the activations twice a
    layer in each pass; context gathers the keys and values of a row in each pass and scatters their gradients.
    """
    data, fsdp, context, tensor = (mesh[axis] for axis in ("data", "fsdp", "context", "tensor"))
    model, others = config.model, lambda ways: (ways - 1) / ways
    compute = jnp.dtype(model.compute_dtype).itemsize
    gradient = 4 if model.lora.rank else jnp.dtype(model.param_dtype).itemsize
    held, trained = matrix_parameters(model) / tensor, trained_matrix_parameters(model) / tensor
    passes = 2 + RECOMPUTED[model.remat]  # of the layers, forward and backward
    gathered = config.train.accumulate * others(fsdp * context) * (2 * held * compute + trained * gradient)
    summed = config.train.accumulate * 2 * others(data) * trained / (fsdp * context) * gradient
    positions = config.data.global_batch * config.data.row_length / (data * fsdp * context)
    activations = positions * model.width * compute
    keys = 2 * positions * context * model.kv_heads / tensor * model.head_dim * compute
    return gathered + summed + model.layers * (4 * passes * others(tensor) * activations + (passes + 1) * others(context) * keys)
