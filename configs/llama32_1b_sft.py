"""Stage 2 on one GPU: the model of llama32_1b_cpt.py, fine-tuned with the paper's hyper-parameters (section 3).

    cslm prepare --config=configs/sft_corpora.py --config.data.vocabulary=runs/llama32/vocabulary
    cslm train --config=configs/llama32_1b_sft.py

This trains everything, with float32 master weights, and is meant for 40 to 80 GB. With LoRA (24 GB) it goes on with the
adapters and new rows of stage 1, whose rank it must have:

    cslm train --config=configs/llama32_1b_sft.py --config.workdir=runs/llama32_1b_sft_lora \
        --config.train.init_from=runs/llama32_1b_cpt_lora --config.model.lora.rank=64 \
        --config.model.param_dtype=bfloat16 --config.optimizer.learning_rate=1e-4

The learning rate of LoRA is our choice, and not tuned. How TOKENS comes about: see llama31_8b_sft.py.

Planned for GPUs by XLA's own compiler, not run: at 4 rows at a time peak memory is 29.5 GiB on one H100, where it takes about
2.4 hours at 65% of its peak; with LoRA 7.1 of an RTX 4090's 24 GiB, and about 12 hours. A larger train.accumulate, a divisor of
48, takes fewer rows at a time and less memory; with less `model.remat` there is less to compute.
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
        data=DataConfig(
            records="runs/sft_corpora/records",
            cache="runs/sft_corpora/cache",
            vocabulary="runs/llama32/vocabulary",
            mixture="cslm_sft_paper",
            mt_tokens=(128, 2048),
            row_length=LENGTH,
            global_batch=ROWS,
        ),
        model=dataclasses.replace(LLAMA32_1B, vocabulary_size=132_480, compute_dtype="bfloat16", remat="full"),
        optimizer=OptimizerConfig(learning_rate=1e-5, warmup=0.03),
        train=TrainConfig(
            steps=round(TOKENS / (ROWS * LENGTH)),
            init_from="runs/llama32_1b_cpt",
            accumulate=12,
            checkpoint_every=500,
        ),
    )
