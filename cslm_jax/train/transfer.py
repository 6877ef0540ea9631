"""What a run takes over from the model that it begins from (train.init_from)."""

from __future__ import annotations

import jax

from cslm_jax.model import llama, lora
from cslm_jax.model.llama import LlamaConfig
from cslm_jax.model.parameters import Params, is_declaration, join
from cslm_jax.model.vocabulary_extension import extend_vocabulary


def transferred(params: Params, old: LlamaConfig, new: LlamaConfig, key: jax.Array) -> Params:
    """Parameters of `new` that compute what those of `old` did; `compatibility.check_start` has found no objection.

    The token tables grow. Adapters go on if both have them, are merged into the weights if only `old` has them, and begin
    afresh, changing nothing, if only `new` has.

    Args:
        key: for fresh adapters.
    """
    if old.lora.rank and not new.lora.rank:
        params = lora.merged(old.lora, params)
    params = extend_vocabulary(lora.join_tables(params), new.vocabulary_size)
    params = lora.split_tables(new.lora, params)
    if new.lora.rank and not old.lora.rank:
        params = join(llama.initialise(new, key), params)
    return jax.tree.map(lambda d, p: p.astype(d.dtype), llama.declared(new), params, is_leaf=is_declaration)
