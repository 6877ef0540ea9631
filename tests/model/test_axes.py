"""One table decides how arrays are split; a name outside it, or a collision, is an error."""

import pytest
from jax.sharding import PartitionSpec

from cslm_jax.model.axes import partition


def test_partition_follows_the_rules():
    assert partition(("layers", "width", "heads", "head_dim")) == PartitionSpec(None, ("fsdp", "context"), "tensor", None)
    assert partition(("batch", None)) == PartitionSpec(("data", "fsdp"), None)


def test_unknown_and_colliding_axes_are_errors():
    with pytest.raises(ValueError, match="colour"):
        partition(("colour",))
    with pytest.raises(ValueError, match="tensor"):
        partition(("heads", "mlp"))
