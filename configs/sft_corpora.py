"""The corpora of stage 2 as the paper has them (section 3): InstructS2S and its Chinese translation within each language, Alpaca
in English and Chinese across them, translated by a language model and spoken by CosyVoice; and text and translations that were
learnt in stage 1, to be kept.

    cd CosyVoice/runtime/python/fastapi && python3 server.py --port 50000 --model_dir iic/CosyVoice-300M-SFT
    vllm serve Qwen/Qwen2.5-7B-Instruct --port 8000
    CSLM_CORPORA=/data cslm prepare --config=configs/sft_corpora.py --config.data.prepare.processes=8

Each process of `cslm prepare` waits for one sound at a time, so `processes` is how many the server is asked for at once. The
folder `spoken` holds all that was translated and spoken; nothing in it is made again, whoever runs this next. Synthesis with
CosyVoice is random: the folder is what makes the records repeatable. Another machine's server: CSLM_TTS=http://gpu7:50000

More voices for the questions than the model's own: serve iic/CosyVoice-300M, put recordings of some seconds into voices/, and
    HttpConfig(EndpointConfig(f"{TTS}/inference_cross_lingual", name="cosyvoice-300m"), voices=("anna", "bob"),
               form={"tts_text": "<|{language}|>{text}"}, files={"prompt_wav": "voices/{voice}.wav"}, pcm_rate=22050)
"""

import os

from cslm_jax.config import Experiment
from cslm_jax.data.config import DataConfig
from cslm_jax.data.corpora import CorpusConfig
from cslm_jax.data.speak.config import EndpointConfig, HttpConfig, SpeakConfig, TranslatorConfig

ROOT = os.environ.get("CSLM_CORPORA", "corpora")
TTS = os.environ.get("CSLM_TTS", "http://localhost:50000")
LLM = os.environ.get("CSLM_LLM", "http://localhost:8000/v1")

ASKING = ("英文女", "英文男", "中文女", "中文男", "日语男", "粤语女", "韩语女")
ANSWERING = {"en": ("英文女",), "zh": ("中文女",)}


def cosyvoice(voices: tuple[str, ...]) -> HttpConfig:
    endpoint = EndpointConfig(f"{TTS}/inference_sft", name="cosyvoice-300m-sft")
    return HttpConfig(endpoint, voices, form={"tts_text": "{text}", "spk_id": "{voice}"}, pcm_rate=22050)


SPEAK = SpeakConfig(
    question={language: cosyvoice(ASKING) for language in ANSWERING},
    answer={language: cosyvoice(voices) for language, voices in ANSWERING.items()},
    # A key is named, not written here: EndpointConfig("https://.../v1", api_key_env="TRANSLATOR_KEY").
    translator=TranslatorConfig(EndpointConfig(LLM, name="qwen2.5-7b-instruct"), "Qwen/Qwen2.5-7B-Instruct"),
)

CORPORA = (
    CorpusConfig(
        "instructs2s", "instructs2s", f"{ROOT}/InstructS2S-200K/instruct_en_200k_data_cosy2.json",
        use=("s2s_mono",), options={"form": "written"}, speak=SPEAK,
    ),
    CorpusConfig(
        "alpaca", "alpaca", f"{ROOT}/alpaca",
        use=("s2s_cross",), options={"files": {"en": "alpaca_data.json", "zh": "alpaca_data_zh.json"}}, speak=SPEAK,
    ),
    CorpusConfig("infinity_instruct", "sharegpt", f"{ROOT}/infinity_instruct", use=("text",), limit=400_000),
    # How many of them are 128 to 2,048 tokens long is not known before; the mixture decides how often they are seen.
    CorpusConfig("wmt17", "wmt", f"{ROOT}/wmt17", use=("mt",), limit=4_000_000, options={"languages": ["zh", "en"]}),
)  # fmt: skip


def get_config():
    return Experiment(
        name="sft_corpora",
        workdir="runs/sft_corpora",
        corpora=CORPORA,
        data=DataConfig(
            records="{workdir}/records",
            cache="{workdir}/cache",
            tokenizer="CosyVoice-300M-25Hz/speech_tokenizer_v1.onnx",
            vocabulary="runs/llama31/vocabulary",
            aligners={"en": "wav2vec2-base-960h", "zh": "SenseVoiceSmall"},
            mixture="cslm_sft_paper",
            mt_tokens=(128, 2048),
            row_length=4096,
        ),
    )
