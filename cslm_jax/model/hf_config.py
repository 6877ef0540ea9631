"""config.json of Hugging Face Llama checkpoints (Llama 2, 3, 3.1, 3.2), read and written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cslm_jax.errors import CslmError
from cslm_jax.model.llama import LlamaConfig
from cslm_jax.model.rope import RopeScaling

_SIZES = {
    "vocabulary_size": "vocab_size",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "mlp_width": "intermediate_size",
    "norm_epsilon": "rms_norm_eps",
}
_SCALING = {
    "factor": "factor",
    "low_frequency_factor": "low_freq_factor",
    "high_frequency_factor": "high_freq_factor",
    "original_length": "original_max_position_embeddings",
}
_DEMANDED = {"model_type": "llama", "hidden_act": "silu", "attention_bias": False, "mlp_bias": False}
"""What this decoder is; a field that is missing has this value."""


def read_config(directory: str | Path) -> LlamaConfig:
    """The architecture that DIRECTORY/config.json describes; numerics are the defaults.

    Raises:
        CslmError: there is no such file, it lacks a field, or describes something else than a Llama; the message lists all
            that differs.
    """
    path = Path(directory) / "config.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CslmError(f"{path} cannot be read ({error}); give the folder of a Hugging Face Llama checkpoint") from error
    _check(found, path)
    heads = found["num_attention_heads"]
    rope = found.get("rope_parameters") or found.get("rope_scaling") or {}
    try:
        return LlamaConfig(
            **{ours: found[theirs] for ours, theirs in _SIZES.items()},
            kv_heads=found.get("num_key_value_heads") or heads,
            head_dim=found.get("head_dim") or found["hidden_size"] // heads,
            rope_theta=float(rope.get("rope_theta") or found.get("rope_theta") or 10_000.0),
            rope_scaling=_scaling(rope),
            max_positions=found.get("max_position_embeddings") or LlamaConfig.max_positions,
            tied=bool(found.get("tie_word_embeddings", False)),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise CslmError(f"{path} describes no usable Llama: {error}") from error


def _check(found: Any, path: Path) -> None:
    if not isinstance(found, Mapping):
        raise CslmError(f"{path} holds no object")
    wrong = [f"{name} is {found[name]!r}, not {value!r}" for name, value in _DEMANDED.items() if found.get(name, value) != value]
    wrong += [f"{name} is missing" for name in _SIZES.values() if name not in found]
    if "model_type" not in found:
        wrong.append("model_type is missing")
    kind = _rope_type(found.get("rope_parameters") or found.get("rope_scaling") or {})
    if kind not in ("default", "llama3"):
        wrong.append(f"RoPE scaling {kind!r} is not one of default, llama3")
    if wrong:
        raise CslmError(f"{path} describes another architecture than this decoder: {'; '.join(wrong)}")


def _rope_type(rope: Mapping[str, Any]) -> str:
    return rope.get("rope_type") or rope.get("type") or "default"


def _scaling(rope: Mapping[str, Any]) -> RopeScaling | None:
    if _rope_type(rope) == "default":
        return None
    return RopeScaling(**{ours: rope[theirs] for ours, theirs in _SCALING.items()})


def write_config(config: LlamaConfig, directory: Path, more: Mapping[str, Any]) -> None:
    """Writes DIRECTORY/config.json as transformers reads it, older versions too; `more` are fields beside the architecture."""
    rope = {"rope_type": "default"}
    if config.rope_scaling is not None:
        rope = {"rope_type": "llama3", **{theirs: getattr(config.rope_scaling, ours) for ours, theirs in _SCALING.items()}}
    described = {
        "architectures": ["LlamaForCausalLM"],
        **_DEMANDED,
        **{theirs: getattr(config, ours) for ours, theirs in _SIZES.items()},
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.max_positions,
        "rope_theta": config.rope_theta,
        "rope_scaling": None if config.rope_scaling is None else rope,
        "rope_parameters": rope | {"rope_theta": config.rope_theta},
        "tie_word_embeddings": config.tied,
        **more,
    }
    (directory / "config.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
