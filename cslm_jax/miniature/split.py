"""What is held out of the miniature's training."""

from __future__ import annotations

from typing import Literal

from cslm_jax.miniature.shuffle import number

HELD_OUT = 0.1
"""Share of the meanings that training never sees."""
STATED = "stated "
"""Begins the meanings that always belong to training: the bare facts, which held-out questions are about."""


def split(meaning: str) -> Literal["train", "validation"]:
    """The side of a meaning, and so of every sentence in either language that carries it."""
    held_out = not meaning.startswith(STATED) and number(f"split {meaning}") % 1000 < 1000 * HELD_OUT
    return "validation" if held_out else "train"
