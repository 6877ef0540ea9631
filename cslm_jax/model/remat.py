"""Named policies: what the backward pass keeps and what it computes again."""

from collections.abc import Callable

import jax

POLICIES = {
    "none": None,
    "full": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "attention": jax.checkpoint_policies.save_only_these_names("attention"),
}
"""none keeps everything, full only each layer's input, dots also matrix products, attention also attention's output."""


def checkpointed(layer: Callable, policy: str) -> Callable:
    """The layer under the named policy."""
    if policy == "none":
        return layer
    # Inside a scan XLA cannot merge the recomputation with the forward pass, so its barrier is not needed.
    return jax.checkpoint(layer, policy=POLICIES[policy], prevent_cse=False)
