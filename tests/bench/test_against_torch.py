"""Both sides of the comparisons compute the same thing; their speeds are for benchmarks."""

import importlib.util

import pytest

from cslm_jax.bench.against_torch import generation, training
from cslm_jax.errors import CslmError


def test_generation_gives_the_same_tokens_on_both_sides(bare, measure):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    ours, theirs = measure(generation, bare, batch=2, prompt=5, new_tokens=9, repetitions=2)
    assert (ours["side"], theirs["side"]) == ("cslm_jax", "transformers")
    assert ours["tokens"] == theirs["tokens"] == 18 and theirs["same_tokens_as_ours"] == 1.0
    assert ours["ratio_of_tokens_per_second"]["repetitions"] == 2 and theirs["tokens_per_second"]["median"] > 0


def test_training_sees_the_same_tokens_on_both_sides(bare, measure):
    for package in ("torch", "transformers", "accelerate"):
        pytest.importorskip(package)
    ours, theirs = measure(training, bare, steps=2, repetitions=2)
    assert ours["tokens"] == pytest.approx(theirs["tokens"], rel=0.2)
    assert ours["loss"] == pytest.approx(theirs["loss"], rel=0.05), "one model, one optimizer, one distribution of tokens"
    assert ours["ratio_of_tokens_per_second"]["median"] > 0 and ours["ratio_of_tokens_per_cpu_second"]["median"] > 0


def test_what_is_not_installed_is_named(bare, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(CslmError, match=r"needs torch: pip install 'cslm_jax\[parity\]'"):
        generation(bare)
