"""The model of a benchmark as a Hugging Face folder, for the side that is not ours."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np

from cslm_jax.model import hf, llama
from cslm_jax.model.hf_config import write_config
from cslm_jax.model.llama import LlamaConfig
from cslm_jax.model.parameters import Params, is_declaration

MODEL = "model"
"""Name of the folder, below that of the comparison."""
SHARD = 2**31


def write_model(params: Params, config: LlamaConfig, folder: Path) -> None:
    """Writes FOLDER/model: safetensors and config.json, without a tokenizer."""
    directory = folder / MODEL
    directory.mkdir()
    declared = jax.tree.leaves(llama.declared(config), is_leaf=is_declaration)
    pairs = list(zip(declared, jax.tree.leaves(params), strict=True))

    def tensors():
        for declaration, array in pairs:
            for part in hf.parts(declaration):
                layer = array if part.layer is None else array[part.layer]
                yield part.name, hf.to_published(np.asarray(layer), declaration)

    hf.write(tensors(), directory, SHARD)
    write_config(config, directory, {"dtype": config.param_dtype})
