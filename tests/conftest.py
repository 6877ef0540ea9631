"""Shared fixtures. The forced host devices let every sharding test run on any machine.

XLA optimises little here: the tests compile far more than they compute. The reference models of `transformers` get their tensors
from the declarations alone, not from the package's own conversion.
"""

import os
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", "")  # tests leave the user's own alone
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + (
    " --xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
)

import jax
import numpy as np
import pytest

from cslm_jax.model import llama
from cslm_jax.model.parameters import Declaration

jax.devices()  # started here, so that no test starts JAX with other devices


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real vocabulary and recordings that live beside the checkout; they are not part of the project."""
    path = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip("../shared/data (real recordings) is not beside this checkout")
    return path


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
