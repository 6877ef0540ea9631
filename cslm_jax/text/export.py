"""A joint vocabulary around Llama 3's tokenizer as the folder that transformers' AutoTokenizer reads."""

from __future__ import annotations

import json
from pathlib import Path

from cslm_jax.text.llama3 import Llama3Text
from cslm_jax.text.llama3_json import added_token
from cslm_jax.vocabulary import JointVocabulary

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
"""The chat of `cslm_jax.chat`, which is Llama 3's own without a system message put in by itself."""


def write_tokenizer(vocabulary: JointVocabulary, directory: Path, units: bool) -> None:
    """Writes tokenizer.json and tokenizer_config.json; with `units`, each unit and speech marker is one token.

    Units are no special tokens: a decoder that skips special tokens keeps them, and none gets spaces around it.
    """
    text = vocabulary.text
    if not isinstance(text, Llama3Text):
        raise TypeError(f"only Llama 3's tokenizer can be written, not {type(text).__name__}")
    description = json.loads(text.model)
    if units:
        ids = range(vocabulary.unit_offset, vocabulary.unpadded_size)
        description["added_tokens"] += [added_token(i, vocabulary.decode([i]), special=False) for i in ids]
    description["post_processor"] = None  # a chat template writes its own BOS
    names = {"bos_token": vocabulary.decode([vocabulary.bos]), "eos_token": vocabulary.decode([vocabulary.eot])}
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 131072,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
        **names,
    }
    _write(directory / "tokenizer.json", description)
    _write(directory / "tokenizer_config.json", settings)
    _write(directory / "special_tokens_map.json", names)


def _write(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
