"""x

cslm train --config=configs/llama32_1b_cpt.py
"""

import dataclasses

from cslm_jax.config import Experiment
from cslm_jax.data.config import DataConfig
from cslm_jax.model.published import LLAMA32_1B
from cslm_jax.train.config import TrainConfig
from cslm_jax.train.optimizer import OptimizerConfig

TOKENS = 10.0e9
ROWS, LENGTH = 288, 2048


def get_config():
    return Experiment(
        name="llama32_1b_cpt",
        workdir="runs/llama32_1b_cpt",
        data=DataConfig(vocabulary="runs/llama32/vocabulary", mixture="cslm_cpt", row_length=LENGTH, global_batch=ROWS),
        model=dataclasses.replace(LLAMA32_1B, vocabulary_size=132_480, compute_dtype="bfloat16", remat="full"),
        optimizer=OptimizerConfig(learning_rate=6e-5, warmup=0.03),
        train=TrainConfig(
            steps=round(TOKENS / (ROWS * LENGTH)), init_from="runs/llama32", accumulate=36, checkpoint_every=500, loss_chunk=64
        ),
    )
