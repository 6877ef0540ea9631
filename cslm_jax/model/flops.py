"""Floating-point operations of the decoder, by formula."""

from __future__ import annotations

from cslm_jax.model.llama import LlamaConfig


def training_flops(config: LlamaConfig, length: int, causal: bool) -> float:
    """Operations a token of forward and backward pass, rematerialisation not counted (PaLM, appendix B).

    Args:
        length: tokens of a row; segments shorter than the row would need less, which no convention subtracts.
        causal: count the half of the scores that a causal mask leaves; otherwise all of them, as many published MFUs do.
    """
    attention = 12 * config.layers * config.heads * config.head_dim * length
    return 6 * matrix_parameters(config) + attention * (0.5 if causal else 1.0)


def matrix_parameters(config: LlamaConfig) -> int:
    """Parameters that multiply every token: those of the layers and the output table, not the embedding that is looked up."""
    heads = 2 * config.heads + 2 * config.kv_heads
    layer = config.width * (heads * config.head_dim + 3 * config.mlp_width)
    return config.layers * layer + config.vocabulary_size * config.width
