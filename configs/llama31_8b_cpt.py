"""Stage 1 at the paper's size: Llama-3.1-8B-Instruct, continual pre-training with the paper's hyper-parameters (section 2).

    cslm convert from-hf --source=Llama-3.1-8B-Instruct --output=runs/llama31
    cslm prepare --config=configs/cpt_corpora.py
    cslm plan --config=configs/llama31_8b_cpt.py --topology=v5p:2x2x4
    cslm train --config=configs/llama31_8b_cpt.py

The paper trained one epoch of 10 billion tokens, 288 rows of 2,048 a step, on 24 x H800. Planned, not run: peak memory a chip
23.9 of 95.7 GiB on v5p:2x2x4, 24.2 of 31.2 on v6e:4x4, 8.9 of 15.8 on v5e:8x8 with --config.mesh.tensor=2; about 580, 290 and
1,350 chip-hours at 65% of a chip's peak. Rows of 32,768 (--config.data.row_length=32768 --config.data.global_batch=16) fit with
--config.mesh.fsdp=16 --config.mesh.context=4 on v5p:4x4x4 (6.3 GiB), and with context=16 on v5e:16x16 (5.1 GiB).
"""

import dataclasses

from cslm_jax.config import Experiment
from cslm_jax.data.config import DataConfig
from cslm_jax.model.published import LLAMA31_8B
from cslm_jax.train.config import TrainConfig
from cslm_jax.train.optimizer import OptimizerConfig

TOKENS = 10.0e9
ROWS, LENGTH = 288, 2048


def get_config():
    return Experiment(
        name="llama31_8b_cpt",
        workdir="runs/llama31_8b_cpt",
        data=DataConfig(
            records="runs/cpt_corpora/records",
            cache="runs/cpt_corpora/cache",
            vocabulary="runs/llama31/vocabulary",
            mixture="cslm_cpt_paper",
            mt_tokens=(128, 2048),
            row_length=LENGTH,
            global_batch=ROWS,
        ),
        model=dataclasses.replace(LLAMA31_8B, vocabulary_size=132_480, compute_dtype="bfloat16", remat="full"),
        optimizer=OptimizerConfig(learning_rate=6e-5, warmup=0.03),
        train=TrainConfig(steps=round(TOKENS / (ROWS * LENGTH)), init_from="runs/llama31", checkpoint_every=500),
    )
