"""Any recordings with a table: units and tokens from a manifest.tsv (columns file and text; see data/corpora/manifest.py).

    cslm prepare --config=configs/corpus_manifest.py --config.workdir=runs/mine --config.corpus.path=/data/mine

A later --summary prints the table again.

Hardware: any. The speech tokenizer and the vocabulary are those of `make quickstart`; for the published ones
--config.data.tokenizer=CosyVoice-300M-25Hz/speech_tokenizer_v1.onnx --config.data.vocabulary=runs/llama31/vocabulary
"""

from cslm_jax.config import Experiment
from cslm_jax.data.config import DataConfig
from cslm_jax.data.corpora import CorpusConfig
from cslm_jax.miniature.defaults import PREPARED


def get_config():
    return Experiment(
        name="corpus_manifest",
        workdir="runs/corpus",
        corpus=CorpusConfig("manifest", "manifest", "manifest.tsv", use=("asr", "tts")),
        data=DataConfig(
            records="{workdir}/records",
            cache="{workdir}/cache",
            tokenizer=f"{PREPARED}/tokenizer",
            vocabulary=f"{PREPARED}/vocabulary",
        ),
    )
