"""Our parameters under the names and shapes of Hugging Face checkpoints, made from the declarations alone."""

import jax
import numpy as np
import pytest

from cslm_jax.model import llama
from cslm_jax.model.parameters import Declaration


def _rope_parameters(config) -> dict:
    plain = {"rope_type": "default", "rope_theta": config.rope_theta}
    scaling = config.rope_scaling
    if scaling is None:
        return plain
    return plain | {
        "rope_type": "llama3",
        "factor": scaling.factor,
        "low_freq_factor": scaling.low_frequency_factor,
        "high_freq_factor": scaling.high_frequency_factor,
        "original_max_position_embeddings": scaling.original_length,
    }


@pytest.fixture
def transformers_model():
    """Function of our config and parameters: a LlamaForCausalLM in float32 that holds them."""
    pytest.importorskip("transformers")
    return _transformers_model


@pytest.fixture
def published_tensors():
    """Function of our config and parameters (or gradients): the published names and shapes of them."""
    return _tensors_of


def _transformers_model(config, params):
    import torch
    import transformers

    published = transformers.LlamaConfig(
        vocab_size=config.vocabulary_size,
        hidden_size=config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.kv_heads,
        head_dim=config.head_dim,
        intermediate_size=config.mlp_width,
        rms_norm_eps=config.norm_epsilon,
        rope_parameters=_rope_parameters(config),
        tie_word_embeddings=config.tied,
        max_position_embeddings=1 << 17,
        attn_implementation="eager",
    )
    model = transformers.LlamaForCausalLM(published).eval()
    tensors = {name: torch.from_numpy(array) for name, array in _tensors_of(config, params).items()}
    missing, surplus = model.load_state_dict(tensors, strict=False)
    assert not surplus and set(missing) <= {"lm_head.weight"}, (missing, surplus)
    return model


def _tensors_of(config, params) -> dict[str, np.ndarray]:
    is_declaration = lambda node: isinstance(node, Declaration)  # noqa: E731
    declared = jax.tree.leaves(llama.declared(config), is_leaf=is_declaration)
    arrays = jax.tree.leaves(params)
    return dict(pair for d, array in zip(declared, arrays, strict=True) for pair in _tensors(d, np.asarray(array)))


def _tensors(declaration: Declaration, array: np.ndarray):
    if declaration.axes[0] != "layers":
        yield declaration.published, array.copy()
        return
    for layer, part in enumerate(array):
        yield declaration.published.format(layer=layer), _matrix(declaration.axes[1:], part)


def _matrix(axes: tuple[str, ...], part: np.ndarray) -> np.ndarray:
    """Published matrices are [out, in]; ours are [in, out] with heads as axes of their own."""
    if part.ndim == 1:
        return part.copy()
    inputs = part.shape[0] if axes[0] == "width" else -1
    outputs = part.shape[-1] if axes[-1] == "width" else -1
    return part.reshape(inputs, outputs).T.copy()
