"""Devices are found by the names that drivers give them."""

import pytest

from cslm_jax.train.chips import CHIPS, peak_tflops


@pytest.mark.parametrize(
    ("kind", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H200", 989),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362),
        ("NVIDIA GeForce RTX 4090", 165),
        ("TPU v5 lite", CHIPS["v5e"].bf16_tflops),
        ("TPU v5", CHIPS["v5p"].bf16_tflops),
        ("TPU v6 lite", CHIPS["v6e"].bf16_tflops),
        ("NVIDIA GeForce GTX 1080", None),
        ("cpu", None),
    ],
)
def test_the_peak_of_a_device(kind, peak):
    assert peak_tflops(kind) == peak
