"""Any recordings with a table: units and tokens from a manifest.tsv (columns file and text; see data/corpora/manifest.py).

    cslm prepare --config=configs/corpus_manifest.py --config.corpus.path=/data/mine --config.workdir=runs/mine
    cslm align /data/mine/a.wav --config=configs/corpus_manifest.py --text="..." --plot=a.png

With --summary the first prints the table again. Recordings that do not say their language are --config.corpus.language (en). The
speech tokenizer and the vocabulary are those of `make quickstart`; for the published ones
--config.data.tokenizer=CosyVoice-300M-25Hz/speech_tokenizer_v1.onnx --config.data.vocabulary=runs/llama31/vocabulary
Hardware: any.
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
            # The miniature's recogniser knows its own world only.
            aligners={"en": "espeak", "zh": "espeak"},
        ),
    )
