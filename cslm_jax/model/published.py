"""Architectures of published Llama checkpoints, to start from; numerics are set where they are used."""

from cslm_jax.model.llama import LlamaConfig
from cslm_jax.model.rope import RopeScaling

LLAMA31_8B = LlamaConfig(
    width=4096, layers=32, heads=32, kv_heads=8, head_dim=128, mlp_width=14336,
    rope_scaling=RopeScaling(factor=8.0),
)  # fmt: skip
LLAMA32_1B = LlamaConfig(
    width=2048, layers=16, heads=32, kv_heads=8, head_dim=64, mlp_width=8192, tied=True,
    rope_scaling=RopeScaling(factor=32.0),
)  # fmt: skip
