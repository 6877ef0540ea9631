"""Files of published PyTorch models, read tensor by tensor: safetensors, and state dicts where torch is installed."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Shaped
from safetensors import SafetensorError, safe_open

from cslm_jax.errors import CslmError

Tensors = Mapping[str, Callable[[], Shaped[np.ndarray, "..."]]]
"""Tensors by their name in PyTorch and in its layout, each read when it is called for: a large file is never whole in memory."""


def read_safetensors(path: Path) -> Tensors:
    """
    Raises:
        CslmError: the file is no safetensors file, or a damaged one.
    """
    try:
        file = safe_open(path, framework="numpy")
    except (OSError, SafetensorError) as error:
        raise CslmError(f"{path} cannot be read as safetensors ({error}); download it again") from error
    return {name: functools.partial(file.get_tensor, name) for name in file.keys()}


def read_state_dict(path: Path) -> Tensors:
    """A state dict that `torch.save` wrote, read without running what may be pickled in it.

    Raises:
        CslmError: torch is not installed, or the file is something else.
    """
    try:
        import torch
    except ImportError as error:
        raise CslmError(
            f"{path} is read with torch, which is not installed: pip install torch, or convert the file to safetensors"
        ) from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return {name: functools.partial(_as_numpy, tensor) for name, tensor in state.items() if hasattr(tensor, "numpy")}
    except (OSError, RuntimeError, ValueError, AttributeError, pickle.UnpicklingError, EOFError) as error:
        raise CslmError(f"{path} is no PyTorch state dict ({str(error).splitlines()[0]}); download it again") from error


def _as_numpy(tensor) -> Shaped[np.ndarray, "..."]:
    return tensor.float().numpy()
