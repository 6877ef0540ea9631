"""Shared fixtures. The forced host devices let every sharding test run on any machine.

XLA optimises little here: the tests compile far more than they compute.
"""

import os
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + (
    " --xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
)

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real vocabulary and recordings that live beside the checkout; they are not part of the project."""
    path = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip("../shared/data (real recordings) is not beside this checkout")
    return path
