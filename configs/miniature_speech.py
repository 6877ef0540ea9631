"""Spoken dialogues from text in small: the text dialogues of the miniature, spoken by espeak-ng as sft_corpora.py has them
spoken by a server; each in the one language that it is written in.

    cslm prepare --config=configs/miniature_speech.py

Hardware: 2 CPU cores. The speech tokenizer and the vocabulary are those of `make quickstart`.
"""

from cslm_jax.config import Experiment
from cslm_jax.data.config import DataConfig
from cslm_jax.data.corpora import CorpusConfig
from cslm_jax.data.speak.config import EspeakConfig, SpeakConfig
from cslm_jax.miniature.defaults import PREPARED

SPEAK = SpeakConfig(
    question={"en": EspeakConfig(), "zh": EspeakConfig()},
    answer={"en": EspeakConfig(voices=("f1-165-50",)), "zh": EspeakConfig(voices=("f1-165-50",))},
    cache="runs/miniature_speech/spoken",
)


def get_config():
    return Experiment(
        name="miniature_speech",
        workdir="runs/miniature_speech",
        corpora=(CorpusConfig("spoken_dialogues", "miniature", "dialogues", use=("s2s",), limit=400, speak=SPEAK),),
        data=DataConfig(
            records="{workdir}/records",
            cache="{workdir}/cache",
            tokenizer=f"{PREPARED}/tokenizer",
            vocabulary=f"{PREPARED}/vocabulary",
            mixture="cslm_sft",
        ),
    )
