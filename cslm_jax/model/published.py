"""Architectures of published Llama checkpoints, to start from; numerics are set where they are used."""

from cslm_jax.model.llama import LlamaConfig
from cslm_jax.model.lora import LoraConfig
from cslm_jax.model.rope import RopeScaling

LORA = LoraConfig(frozen_rows=128_256)
"""No adapters yet: `--config.model.lora.rank=64` makes them."""

LLAMA31_8B = LlamaConfig(
    width=4096, layers=32, heads=32, kv_heads=8, head_dim=128, mlp_width=14336,
    rope_scaling=RopeScaling(factor=8.0), lora=LORA,
)  # fmt: skip
LLAMA32_1B = LlamaConfig(
    width=2048, layers=16, heads=32, kv_heads=8, head_dim=64, mlp_width=8192, tied=True,
    rope_scaling=RopeScaling(factor=32.0), lora=LORA,
)  # fmt: skip
