"""A Hugging Face folder of wav2vec 2.0 with a CTC head, read into our module.

A published matrix is (out, in), a convolution (out, in, kernel), a layer a set of tensors; ours are (in, out) and
(kernel, in, out), all layers one above the other. The names are alike, but for kernel and scale, which are weights there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float

from cslm_jax.errors import CslmError
from cslm_jax.speech import ctc, published
from cslm_jax.speech.wav2vec2 import Wav2Vec2, Wav2Vec2Config

_SIZES = {
    "labels": "vocab_size", "width": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads",
    "mlp_width": "intermediate_size", "conv_widths": "conv_dim", "conv_kernels": "conv_kernel", "conv_strides": "conv_stride",
    "conv_bias": "conv_bias", "conv_norm": "feat_extract_norm", "norm_first": "do_stable_layer_norm",
    "position_kernel": "num_conv_pos_embeddings", "position_groups": "num_conv_pos_embedding_groups",
    "norm_epsilon": "layer_norm_eps",
}  # fmt: skip
_DEMANDED = {
    "model_type": "wav2vec2", "hidden_act": "gelu", "feat_extract_activation": "gelu", "add_adapter": False,
    "adapter_attn_dim": None,
}  # fmt: skip
"""What this network is; a field that is missing has this value."""
_POSITIONS = "wav2vec2.encoder.pos_conv_embed.conv."
_NORMED = {"g": ("weight_g", "parametrizations.weight.original0"), "v": ("weight_v", "parametrizations.weight.original1")}
"""Weight norm, as PyTorch wrote it before and after its version 2."""
_LAYERS = "wav2vec2.encoder.layers."


class Published(NamedTuple):
    """What a folder holds."""

    model: Wav2Vec2
    labels: ctc.Labels
    normalise: bool
    """Whether a waveform is brought to mean 0 and variance 1."""


def load(directory: Path, compute_dtype: str = "float32") -> Published:
    """Reads config.json, vocab.json, the weights, and where they are there preprocessor_config.json and tokenizer_config.json.

    Raises:
        CslmError: a file is missing or damaged, describes something else, or the tensors are not those of the config.
    """
    described = _read_json(directory / "config.json")
    config = _config(described, directory / "config.json", compute_dtype)
    sound = _read_json(directory / "preprocessor_config.json", {})
    if sound.get("sampling_rate", 16000) != 16000:
        raise CslmError(f"{directory / 'preprocessor_config.json'}: sampling_rate is {sound['sampling_rate']}, not 16000")
    return Published(_model(config, directory), _labels(directory, described, config), bool(sound.get("do_normalize", True)))


def _read_json(path: Path, absent: dict[str, Any] | None = None) -> dict[str, Any]:
    if absent is not None and not path.is_file():
        return absent
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CslmError(f"{path} cannot be read ({error}); download the whole folder of the model") from error
    if not isinstance(found, dict):
        raise CslmError(f"{path} holds no object; download it again")
    return found


def _config(found: Mapping[str, Any], path: Path, compute_dtype: str) -> Wav2Vec2Config:
    wrong = [f"{name} is {found[name]!r}, not {value!r}" for name, value in _DEMANDED.items() if found.get(name, value) != value]
    missing = [name for name in _SIZES.values() if name not in found]
    if wrong or missing:
        raise CslmError(f"{path} describes no wav2vec 2.0 that is known here: {'; '.join(wrong + [f'no {m}' for m in missing])}")
    sizes = {ours: found[theirs] for ours, theirs in _SIZES.items()}
    return Wav2Vec2Config(
        **{name: tuple(size) if isinstance(size, list) else size for name, size in sizes.items()}, compute_dtype=compute_dtype
    )


def _labels(directory: Path, described: Mapping[str, Any], config: Wav2Vec2Config) -> ctc.Labels:
    """The single characters of vocab.json; the blank is the token that pads."""
    path = directory / "vocab.json"
    vocabulary = {token: i for token, i in _read_json(path).items() if len(token) == 1}
    blank = described.get("pad_token_id", 0)
    separator = _read_json(directory / "tokenizer_config.json", {}).get("word_delimiter_token", "|")
    try:
        labels = ctc.Labels(tuple(vocabulary), tuple(vocabulary.values()), blank, separator)
    except (ValueError, TypeError) as error:
        raise CslmError(f"{path} is no alphabet: {error}") from error
    if labels.size > config.labels:
        raise CslmError(
            f"{path} has a label {labels.size - 1}, and the network {config.labels} labels; take both from one folder"
        )
    return labels


def published_shapes(config: Wav2Vec2Config) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the published tensors, the weight norm folded."""
    shapes = {}
    for name, leaf in _leaves(_abstract(config)).items():
        shape = leaf.shape[1:] if name.startswith(_LAYERS) else leaf.shape
        shapes |= dict.fromkeys(_names(name, config), shape[::-1])
    return shapes


def _model(config: Wav2Vec2Config, directory: Path) -> Wav2Vec2:
    path, tensors = published.read(directory, "pytorch_model.bin")
    tensors.pop("wav2vec2.masked_spec_embed", None)  # for training only
    tensors = _fold_weight_norm(tensors, path)
    published.check(path, tensors, published_shapes(config), "the wav2vec 2.0 that its config.json describes")
    model = _abstract(config)
    leaves = [_stacked([tensors[part].T for part in _names(name, config)], name) for name in _leaves(model)]
    nnx.update(model, jax.tree.unflatten(jax.tree.structure(nnx.state(model)), [*map(jax.device_put, leaves)]))
    return model


def _fold_weight_norm(tensors: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """weight = g v / |v|, one g for each place of the kernel."""
    for names in zip(*_NORMED.values(), strict=True):
        g, v = (tensors.get(_POSITIONS + name) for name in names)
        if g is None or v is None:
            continue
        if v.ndim != 3 or g.shape != (1, 1, v.shape[2]):
            raise CslmError(f"{path}: {_POSITIONS}{names[0]} has shape {g.shape}, which does not go with {v.shape} of {names[1]}")
        rest = {name: tensor for name, tensor in tensors.items() if name not in {_POSITIONS + part for part in names}}
        return rest | {f"{_POSITIONS}weight": g * v / np.linalg.norm(v, axis=(0, 1), keepdims=True)}
    return tensors


def _stacked(parts: list[Float[np.ndarray, "..."]], name: str) -> Float[np.ndarray, "..."]:
    return np.stack(parts) if name.startswith(_LAYERS) else np.ascontiguousarray(parts[0])


def _names(name: str, config: Wav2Vec2Config) -> list[str]:
    """The published tensors that make up one of our arrays."""
    if not name.startswith(_LAYERS):
        return [name]
    return [f"{_LAYERS}{i}.{name.removeprefix(_LAYERS)}" for i in range(config.layers)]


def _leaves(model: Wav2Vec2) -> dict[str, Any]:
    """Our arrays by their published name, without the number of the layer; in the order of the module's state."""
    leaves = {}
    for path, leaf in nnx.to_flat_state(nnx.state(model)):
        *modules, last = map(str, path)
        name = ".".join([*modules, "bias" if last == "bias" else "weight"])
        leaves[name if modules[0] == "lm_head" else f"wav2vec2.{name}"] = leaf.get_value()
    return leaves


def _abstract(config: Wav2Vec2Config) -> Wav2Vec2:
    return nnx.eval_shape(lambda: Wav2Vec2(config, rngs=nnx.Rngs(0)))
