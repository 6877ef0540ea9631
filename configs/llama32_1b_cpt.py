"""Stage 1 on one GPU: Llama-3.2-1B-Instruct, continual pre-training with the paper's hyper-parameters (section 2).

    cslm convert from-hf --source=Llama-3.2-1B-Instruct --output=runs/llama32
    cslm prepare --config=configs/cpt_corpora.py --config.data.vocabulary=runs/llama32/vocabulary
    cslm train --config=configs/llama32_1b_cpt.py

This trains everything, with float32 master weights, and is meant for 40 to 80 GB. For 24 GB there is LoRA: the published
weights stay as they are, in bfloat16; trained are adapters on all matrices of attention and MLP, and the rows of units and
markers.

    cslm train --config=configs/llama32_1b_cpt.py --config.workdir=runs/llama32_1b_cpt_lora \
        --config.model.lora.rank=64 --config.model.param_dtype=bfloat16 --config.optimizer.learning_rate=2e-4

The learning rate of LoRA is our choice, and not tuned. The paper's epoch is 10 billion tokens: --config.train.steps=1695 takes a
tenth of them.

Planned for GPUs by XLA's own compiler, not run: at 8 rows at a time peak memory is 26.2 GiB on one H100, where the epoch takes
about 45 hours at 65% of its peak; with LoRA 7.1 of an RTX 4090's 24 GiB, and about 217 hours. A larger train.accumulate, a
divisor of 288, takes fewer rows at a time and less memory; with less `model.remat` there is less to compute.
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
        data=DataConfig(
            records="runs/cpt_corpora/records",
            cache="runs/cpt_corpora/cache",
            vocabulary="runs/llama32/vocabulary",
            mixture="cslm_cpt_paper",
            mt_tokens=(128, 2048),
            row_length=LENGTH,
            global_batch=ROWS,
        ),
        model=dataclasses.replace(LLAMA32_1B, vocabulary_size=132_480, compute_dtype="bfloat16", remat="full"),
        optimizer=OptimizerConfig(learning_rate=6e-5, warmup=0.03),
        train=TrainConfig(steps=round(TOKENS / (ROWS * LENGTH)), init_from="runs/llama32", accumulate=36, checkpoint_every=500),
    )
