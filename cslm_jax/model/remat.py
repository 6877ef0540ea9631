"""Named policies: what the backward pass keeps of a layer, moves to the host, or computes again."""

from collections.abc import Callable

import jax

_policies = jax.checkpoint_policies

POLICIES = {
    "none": None,
    "minimal": _policies.dots_with_no_batch_dims_saveable,
    "attention": _policies.save_only_these_names("attention"),
    "offload": _policies.save_and_offload_only_these_names(
        names_which_can_be_saved=["attention"],
        names_which_can_be_offloaded=["layer_input"],
        offload_src="device",
        offload_dst="pinned_host",
    ),
    "full": _policies.nothing_saveable,
}
"""From the most memory to the least: none keeps everything; minimal all matrix products; attention the input and the attention
output of every layer, offload the same, but inputs wait in the memory of the host; full only the inputs."""


def checkpointed(layer: Callable, policy: str) -> Callable:
    """The layer under the named policy. It marks its values with `jax.ad_checkpoint.checkpoint_name`."""
    if policy == "none":
        return layer
    # Inside a scan XLA cannot merge the recomputation with the forward pass, so its barrier is not needed.
    return jax.checkpoint(layer, policy=POLICIES[policy], prevent_cse=False)
