"""What XLA is told beyond its defaults, by machine, each with its reason. `train.compiler_options=default` leaves it all out.

The options go with the compiled step, so nothing has to be exported, and `cslm plan` compiles with the same ones. They follow
public tuning of Llama training (MaxText, AXLearn, JAX-Toolbox); this project has not yet measured them on hardware. Left out:
xla_tpu_scoped_vmem_limit_kib=98304 for v6e, with which the 8B step takes 301 instead of 88 seconds to compile.
"""

from __future__ import annotations

from typing import NamedTuple

import jax

Value = bool | int | str


class Option(NamedTuple):
    value: Value
    reason: str


TPU = {
    "xla_jf_spmd_threshold_for_windowed_einsum_mib": Option(
        "1000000", "products are not cut into pieces around a gather: layers are already gathered ahead"
    ),
}
V5E = TPU | {
    # Elsewhere the compiler refuses them together, as they may make a program wrong there.
    "xla_enable_async_all_gather": Option("true", "the next layer's weights arrive while this layer computes"),
    "xla_tpu_enable_async_collective_fusion": Option("true", "transfers run beside the matrix products they are fused with"),
    "xla_tpu_enable_async_collective_fusion_fuse_all_gather": Option("true", "the same for fsdp's gathering of weights"),
    "xla_tpu_enable_async_collective_fusion_multiple_steps": Option("true", "one transfer may span several products"),
    "xla_tpu_overlap_compute_collective_tc": Option("true", "the matrix unit keeps working during a transfer"),
}
GPU = {
    "xla_gpu_enable_latency_hiding_scheduler": Option(True, "transfers are started early and waited for late"),
    "xla_gpu_enable_while_loop_double_buffering": Option(True, "the next layer's weights arrive during this layer of the scan"),
    "xla_gpu_all_gather_combine_threshold_bytes": Option(2**30, "a layer's weights are gathered in one transfer"),
    "xla_gpu_reduce_scatter_combine_threshold_bytes": Option(2**30, "a layer's gradients are scattered in one transfer"),
}
OPTIONS = {"tpu": TPU, "TPU v5 lite": V5E, "gpu": GPU, "cpu": {}}
"""By the kind of a device where it is listed, else by its platform."""


def compiler_options(device: jax.Device) -> dict[str, Value]:
    """The options for programs of this device."""
    chosen = OPTIONS.get(device.device_kind) or OPTIONS.get(device.platform, {})
    return {name: option.value for name, option in chosen.items()}
