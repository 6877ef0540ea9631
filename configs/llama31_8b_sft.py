"""x

cslm train --config=configs/llama31_8b_sft.py
"""

import dataclasses

from cslm_jax.config import Experiment
from cslm_jax.data.config import DataConfig
from cslm_jax.model.published import LLAMA31_8B
from cslm_jax.train.config import TrainConfig
from cslm_jax.train.optimizer import OptimizerConfig

TOKENS = 0.5e9
ROWS, LENGTH = 48, 4096


def get_config():
    return Experiment(
        name="llama31_8b_sft",
        workdir="runs/llama31_8b_sft",
        data=DataConfig(vocabulary="runs/llama31/vocabulary", mixture="cslm_sft", row_length=LENGTH, global_batch=ROWS),
        model=dataclasses.replace(LLAMA31_8B, vocabulary_size=132_480, compute_dtype="bfloat16", remat="full"),
        optimizer=OptimizerConfig(learning_rate=1e-5, warmup=0.03),
        train=TrainConfig(
            steps=round(TOKENS / (ROWS * LENGTH)),
            init_from="runs/llama31_8b_cpt",
            checkpoint_every=500,
            loss_chunk=64,
        ),
    )
