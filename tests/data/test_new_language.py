"""A new language in an afternoon: French from a table of recordings, pairs of sentences, chats and one language file.

Everything here is what a user writes: files in folders and a config. No code of the package knows of it.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import seqio
import soundfile

from cslm_jax import cli
from cslm_jax.config import load, settle
from cslm_jax.data import mixtures
from cslm_jax.data.loader import Loader
from cslm_jax.speech.ctc import Labels
from cslm_jax.speech.espeak import Voice, speak
from cslm_jax.speech.s3 import S3Config
from cslm_jax.speech.tokenizer import SpeechTokenizer, new_model
from cslm_jax.vocabulary import JointVocabulary

LANGUAGE_FILE = Path(__file__).parents[2] / "configs" / "languages" / "fr.toml"

CONFIG = '''
"""cslm prepare --config=french.py"""
from cslm_jax.config import Experiment, VocabularyConfig
from cslm_jax.data.config import DataConfig, PrepareConfig
from cslm_jax.data.corpora import CorpusConfig
from cslm_jax.data.speak.config import EspeakConfig, SpeakConfig
from cslm_jax.speech.s3 import S3Config
from cslm_jax.speech.tokenizer import TokenizerConfig

VOICE = {"fr": EspeakConfig(voices=("f1-165-50",))}

def get_config():
    return Experiment(
        name="french",
        workdir="work",
        corpora=(
            CorpusConfig("recordings", "manifest", "corpus", "fr", use=("asr", "tts"), share="one"),
            CorpusConfig("pairs", "wmt", "pairs", use=("mt",)),
            CorpusConfig("chats", "sharegpt", "chats", "fr", use=("text",)),
            CorpusConfig("spoken", "sharegpt", "chats", "fr", use=("s2s",), speak=SpeakConfig(VOICE, VOICE, cache="spoken")),
        ),
        vocabulary=VocabularyConfig(pieces=420),
        tokenizer=TokenizerConfig(model=S3Config(mels=40, width=16, heads=2, layers=1, codes=50, recogniser_layers=0)),
        data=DataConfig(
            records="{workdir}/records", cache="{workdir}/cache", vocabulary="{workdir}/vocabulary", tokenizer="tokenizer",
            languages=("en", "zh", "fr"), language_files=("fr.toml",), aligners={"fr": "espeak"},
            row_length=512, global_batch=4, prepare=PrepareConfig(processes=0),
        ),
    )
'''

SENTENCES = [f"Le chien numéro {i} voit une maison rouge au bord de la rivière, et le vieil homme chante." for i in range(12)]


@pytest.fixture
def afternoon(tmp_path, monkeypatch) -> Path:
    """The folder of someone who adds French."""
    monkeypatch.chdir(tmp_path)
    for folder in ("corpus", "pairs", "chats"):
        (tmp_path / folder).mkdir()
    rows = ["file\ttext"]
    for i, sentence in enumerate(SENTENCES):
        soundfile.write(f"corpus/{i}.wav", speak(sentence, "fr", Voice("m3", 170 + i)), 16000)
        rows.append(f"{i}.wav\t{sentence}")
    Path("corpus/manifest.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    Path("pairs/news.en-fr.fr").write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
    Path("pairs/news.en-fr.en").write_text("\n".join(f"Dog number {i} sees a red house." for i in range(12)) + "\n")
    chats = [{"messages": [{"role": "user", "content": "Que vois-tu ?"}, {"role": "assistant", "content": s}]} for s in SENTENCES]
    Path("chats/chats.jsonl").write_text("".join(json.dumps(chat) + "\n" for chat in chats), encoding="utf-8")
    Path("fr.toml").write_text(LANGUAGE_FILE.read_text(encoding="utf-8"), encoding="utf-8")
    Path("french.py").write_text(CONFIG, encoding="utf-8")
    sizes, labels = S3Config(mels=40, width=16, heads=2, layers=1, codes=50, recogniser_layers=0), Labels(tuple("ab"))
    SpeechTokenizer(new_model(sizes, labels), labels, batch_seconds=16).save("tokenizer")
    return tmp_path


def test_french_from_files_to_mixture(afternoon):
    assert cli.main(["vocabulary", "--config=french.py"]) == 0
    assert cli.main(["prepare", "--config=french.py"]) == 0
    summary = json.loads(Path("work/summary.json").read_text())
    assert not Path("work/rejected.jsonl").read_text()
    counts = {name: task["examples"] for name, task in summary["tasks"].items()}
    assert counts["asr_fr"] + counts["tts_fr"] == counts["mt_en_fr"] == counts["mt_fr_en"] == counts["s2s_fr_fr"] == 12

    data = settle(load("french.py", mixture="cslm_cpt")).data
    names = ("asr_fr", "tts_fr", "mt_en_fr", "mt_fr_en", "text_fr")
    data = dataclasses.replace(data, weights={name: float(name in names) for name in data.weights})
    vocabulary = JointVocabulary.load(data.vocabulary)
    loader = Loader(data, vocabulary)
    assert set(loader.tasks) == set(names)
    rows = [vocabulary.decode(row) for step in range(8) for row in loader.batch(step)["tokens"]]
    assert any("Voici l'entrée :" in row for row in rows), "asked in French"
    assert any("French" in row and "This is input:" in row for row in rows), "asked in English for French"

    mixtures.register(data)
    mixture = seqio.get_mixture_or_task("cslm_cpt")
    assert {task.name for task in mixture.tasks} == set(names)
    example = next(iter(mixture.get_dataset(sequence_length=None, split="train", shuffle=False).as_numpy_iterator()))
    assert example["tokens"].dtype == np.int32 and example["loss_weights"].max() == 1.0
