"""Stage 2 at the paper's size: the model of llama31_8b_cpt.py, fine-tuned with the paper's hyper-parameters (section 3).

    cslm prepare --config=configs/sft_corpora.py
    cslm plan --config=configs/llama31_8b_sft.py --topology=v5p:4x4x4 --config.mesh.fsdp=16 --config.mesh.context=4
    cslm train --config=configs/llama31_8b_sft.py --config.mesh.fsdp=16 --config.mesh.context=4

One epoch, but the paper gives its size in examples, not in tokens. TOKENS is an estimate: 504 thousand spoken examples (200
English, 200 Chinese, 104 across languages) of about 30 seconds, question and answer together (a guess), at the 22 units a second
of the paper's stage 1, with the text of both, are 0.8 thousand tokens each; 0.4 billion in all, and 80% of the mixture. `cslm
prepare` prints the tokens of what it made: take those. A row holds several examples here, so a step sees more of them than the
paper's 48; --config.data.global_batch=16 --config.train.steps=7629 comes closer.

48 rows on more than 48 chips need their rows or heads split. Planned, not run: peak memory a chip 7.1 of 95.7 GiB on v5p:4x4x4
with --config.mesh.fsdp=16 --config.mesh.context=4, 1.9 of 15.8 on v5e:16x16 with --config.mesh.tensor=4 besides; about 30 and
70 chip-hours at 65% of a chip's peak.
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
        data=DataConfig(
            records="runs/sft_corpora/records",
            cache="runs/sft_corpora/cache",
            vocabulary="runs/llama31/vocabulary",
            mixture="cslm_sft_paper",
            mt_tokens=(128, 2048),
            row_length=LENGTH,
            global_batch=ROWS,
        ),
        model=dataclasses.replace(LLAMA31_8B, vocabulary_size=132_480, compute_dtype="bfloat16", remat="full"),
        optimizer=OptimizerConfig(learning_rate=1e-5, warmup=0.03),
        train=TrainConfig(
            steps=round(TOKENS / (ROWS * LENGTH)),
            init_from="runs/llama31_8b_cpt",
            checkpoint_every=500,
        ),
    )
