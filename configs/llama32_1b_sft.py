"""x

cslm train --config=configs/llama32_1b_sft.py
"""

import dataclasses

from cslm_jax.config import Experiment
from cslm_jax.data.config import DataConfig
from cslm_jax.model.published import LLAMA32_1B
from cslm_jax.train.config import TrainConfig
from cslm_jax.train.optimizer import OptimizerConfig

TOKENS = 0.5e9
ROWS, LENGTH = 48, 4096


def get_config():
    return Experiment(
        name="llama32_1b_sft",
        workdir="runs/llama32_1b_sft",
        data=DataConfig(vocabulary="runs/llama32/vocabulary", mixture="cslm_sft", row_length=LENGTH, global_batch=ROWS),
        model=dataclasses.replace(LLAMA32_1B, vocabulary_size=132_480, compute_dtype="bfloat16", remat="full"),
        optimizer=OptimizerConfig(learning_rate=1e-5, warmup=0.03),
        train=TrainConfig(
            steps=round(TOKENS / (ROWS * LENGTH)),
            init_from="runs/llama32_1b_cpt",
            accumulate=12,
            checkpoint_every=500,
            loss_chunk=64,
        ),
    )
