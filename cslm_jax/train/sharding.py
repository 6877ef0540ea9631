"""Devices as a mesh `data, fsdp, context, tensor`, and where every array of a run lives on it.

data x fsdp is HSDP: rows are split over both, weights over fsdp only. context splits the rows themselves, for lengths that one
device cannot hold, and the weights further. The rules that map named axes onto the mesh are `cslm_jax.model.axes.RULES`.
"""

import dataclasses
import math
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from cslm_jax.errors import CslmError
from cslm_jax.model.axes import mesh_axes, partition
from cslm_jax.model.llama import LlamaConfig
from cslm_jax.model.parameters import Declaration, Params, map_declared

AXES = ("data", "fsdp", "context", "tensor")


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Devices along each axis of the mesh; one of them may be -1, which takes all that are left."""

    data: int = 1
    """Copies of the weights; rows are split over them."""
    fsdp: int = -1
    """Devices that split the weights and the rows between them."""
    context: int = 1
    """Devices that split the positions of a row, and the weights, between them."""
    tensor: int = 1
    """Devices that split heads, mlp width and vocabulary between them."""

    def __post_init__(self):
        sizes = dataclasses.astuple(self)
        if any(size == 0 or size < -1 for size in sizes) or sizes.count(-1) > 1:
            raise ValueError(f"mesh {_describe(sizes)}: sizes are at least 1, and only one of them may be -1")


def make_mesh(
    config: MeshConfig,
    model: LlamaConfig,
    global_batch: int,
    accumulate: int = 1,
    devices: Sequence[jax.Device] | None = None,
    row_length: int | None = None,
) -> Mesh:
    """A mesh over the given devices, or all of the job's.

    Raises:
        CslmError: the sizes do not multiply to the number of devices, do not divide the model or the batch, or cannot be
            laid out over the wires between the devices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = _resolve(dataclasses.astuple(config), len(devices))
    _check_rows(sizes, global_batch, accumulate)
    _check_length(sizes, row_length)
    _check_model(sizes, model)
    try:
        # NNX layers need Auto axes; jax.make_mesh would default to Explicit ones.
        return jax.make_mesh(sizes, AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices)
    # What jax.make_mesh raises for several slices, and for sizes that no assignment to the torus has.
    except (ValueError, NotImplementedError) as error:
        raise CslmError(
            f"mesh {_describe(sizes)} cannot be laid out over these {len(devices)} devices ({error}); use the devices of "
            "one slice, and sizes that fit its shape"
        ) from error


def param_shardings(mesh: Mesh, declared: Params) -> Params:
    """Sharding of every parameter, from its declared axes."""
    return map_declared(lambda d: NamedSharding(mesh, _fitting(mesh, d)), declared)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows of a global batch over data and fsdp."""
    return NamedSharding(mesh, partition(("batch",)))


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def global_batch(mesh: Mesh, local: dict[str, np.ndarray], rows: int) -> dict[str, jax.Array]:
    """This process's rows (`distributed.rows_of_process`, in their order) as its part of the global batch of `rows` rows."""
    sharding = batch_sharding(mesh)
    return {
        name: jax.make_array_from_process_local_data(sharding, array, (rows, *array.shape[1:])) for name, array in local.items()
    }


def _fitting(mesh: Mesh, declaration: Declaration) -> PartitionSpec:
    """The declared partition, without the mesh axes that do not divide the array's axis (an odd vocabulary, say)."""
    ways = [math.prod(mesh.shape[name] for name in names) for names in mesh_axes(declaration.axes)]
    fitting = (axis if size % n == 0 else None for axis, size, n in zip(declaration.axes, declaration.shape, ways, strict=True))
    return partition(tuple(fitting))


def _resolve(sizes: tuple[int, ...], devices: int) -> tuple[int, ...]:
    fixed = math.prod(size for size in sizes if size > 0)
    if -1 in sizes and devices % fixed == 0:
        return tuple(devices // fixed if size == -1 else size for size in sizes)
    if fixed != devices:
        raise CslmError(
            f"mesh {_describe(sizes)} does not match {devices} devices: the sizes must multiply to {devices}; "
            "set mesh.fsdp=-1 to let it take the devices that are left"
        )
    return sizes


def _check_rows(sizes: tuple[int, ...], global_batch: int, accumulate: int) -> None:
    ways = sizes[0] * sizes[1]
    if global_batch % (ways * accumulate):
        raise CslmError(
            f"data.global_batch={global_batch} rows cannot be split over {ways} devices (mesh.data x mesh.fsdp) "
            f"and {accumulate} micro-batches (train.accumulate): make it a multiple of {ways * accumulate}"
        )


def _check_length(sizes: tuple[int, ...], row_length: int | None) -> None:
    if row_length is not None and row_length % sizes[2]:
        raise CslmError(
            f"data.row_length={row_length} cannot be split {sizes[2]} ways: make mesh.context a divisor of it, "
            f"or data.row_length a multiple of {sizes[2]}"
        )


def _check_model(sizes: tuple[int, ...], model: LlamaConfig) -> None:
    fsdp, context, tensor = sizes[1:]
    split = [("width", "fsdp x mesh.context", fsdp * context)] + [
        (name, "tensor", tensor) for name in ("heads", "kv_heads", "mlp_width")
    ]
    for field, axis, ways in split:
        size = getattr(model, field)
        if size % ways:
            raise CslmError(
                f"model.{field}={size} cannot be split {ways} ways: make mesh.{axis} a divisor of {size}, "
                f"or model.{field} a multiple of {ways}"
            )


def _describe(sizes: tuple[int, ...]) -> str:
    return " x ".join(f"{axis}={size}" for axis, size in zip(AXES, sizes, strict=True))
