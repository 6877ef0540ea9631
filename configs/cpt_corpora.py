"""The corpora of stage 1 as the paper has them (section 2): from the downloaded folders to the mixture cslm_cpt_paper.

    CSLM_CORPORA=/data cslm prepare --config=configs/cpt_corpora.py
    CSLM_CORPORA=/data WORKERS=64 launch/prepare_slurm.sh --config=configs/cpt_corpora.py

Below $CSLM_CORPORA lie the corpora as they are published; take out of CORPORA what you do not have. 77.5 thousand hours of speech
become about 10 billion tokens. English is heard in one half and read in the other; WenetSpeech is heard, WenetSpeech4TTS read.
Pairs of WMT17 are kept if source and target together have 128 to 2,048 tokens. Hardware: any number of GPUs, TPU hosts or CPU
machines that see the same folders; `cslm bench tokenizer` says how many hours one does in an hour.
"""

import os

from cslm_jax.config import Experiment
from cslm_jax.data.config import DataConfig
from cslm_jax.data.corpora import CorpusConfig

ROOT = os.environ.get("CSLM_CORPORA", "corpora")

CORPORA = (
    CorpusConfig("mls", "mls", f"{ROOT}/mls_english", "en", use=("asr", "tts"), share="one"),
    CorpusConfig(
        "gigaspeech", "gigaspeech", f"{ROOT}/gigaspeech", "en", use=("asr", "tts"), share="one", options={"case": "sentence"}
    ),
    CorpusConfig("wenetspeech", "wenetspeech", f"{ROOT}/wenetspeech", "zh", use=("asr",)),
    CorpusConfig("wenetspeech4tts", "wenetspeech4tts", f"{ROOT}/wenetspeech4tts", "zh", use=("tts",)),
    CorpusConfig("wmt17", "wmt", f"{ROOT}/wmt17", use=("mt",), options={"languages": ["zh", "en"]}),
    CorpusConfig("infinity_instruct", "sharegpt", f"{ROOT}/infinity_instruct", use=("text",)),
)


def get_config():
    return Experiment(
        name="cpt_corpora",
        workdir="runs/cpt_corpora",
        corpora=CORPORA,
        data=DataConfig(
            records="{workdir}/records",
            cache="{workdir}/cache",
            tokenizer="CosyVoice-300M-25Hz/speech_tokenizer_v1.onnx",
            vocabulary="runs/llama31/vocabulary",
            mixture="cslm_cpt_paper",
            mt_tokens=(128, 2048),
            row_length=2048,
        ),
    )
