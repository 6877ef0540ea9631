"""Floating-point operations of the decoder, by formula."""

from __future__ import annotations

from cslm_jax.model.llama import LlamaConfig


def training_flops(config: LlamaConfig, length: int, causal: bool) -> float:
    """Operations a token of forward and backward pass, rematerialisation not counted (PaLM, appendix B).

    A frozen matrix passes gradients on, but has none itself: 4 operations a weight and token instead of 6.

    Args:
        length: tokens of a row; segments shorter than the row would need less, which no convention subtracts.
        causal: count the half of the scores that a causal mask leaves; otherwise all of them, as many published MFUs do.
    """
    every, trained = matrix_parameters(config), trained_matrix_parameters(config)
    return 4 * (every - trained) + 6 * trained + 3 * _attention(config, length, causal)


def forward_flops(config: LlamaConfig, length: int, causal: bool) -> float:
    """Operations a token of the forward pass alone."""
    return 2 * matrix_parameters(config) + _attention(config, length, causal)


def matrix_parameters(config: LlamaConfig) -> int:
    """Parameters that multiply every token: those of the layers, adapters included, and the output table, not the
    embedding that is looked up."""
    heads = 2 * config.heads + 2 * config.kv_heads
    layer = config.width * (heads * config.head_dim + 3 * config.mlp_width)
    return config.layers * layer + _adapters(config) + config.vocabulary_size * config.width


def trained_matrix_parameters(config: LlamaConfig) -> int:
    """Those of them that have a gradient: under LoRA the adapters and the new rows."""
    if not config.lora.rank:
        return matrix_parameters(config)
    return _adapters(config) + (config.vocabulary_size - config.lora.frozen_rows) * config.width


def _attention(config: LlamaConfig, length: int, causal: bool) -> float:
    return 4 * config.layers * config.heads * config.head_dim * length * (0.5 if causal else 1.0)


def _adapters(config: LlamaConfig) -> int:
    """Each of a layer's seven matrices has one, as long as its two sides together and as wide as the rank."""
    inner, kv_inner = config.heads * config.head_dim, config.kv_heads * config.head_dim
    sides = 2 * (config.width + inner) + 2 * (config.width + kv_inner) + 3 * (config.width + config.mlp_width)
    return config.layers * config.lora.rank * sides
