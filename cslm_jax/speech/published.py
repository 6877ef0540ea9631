"""Tensors of published speech models: read from safetensors, or from a PyTorch file without running what is in it."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.numpy import load_file

from cslm_jax.errors import CslmError

SAFE = "model.safetensors"


def read(directory: Path, torch_name: str) -> tuple[Path, dict[str, Float[np.ndarray, "..."]]]:
    """The file that was found, `model.safetensors` or else `torch_name`, and its tensors in float32.

    Raises:
        CslmError: there is neither file, or it cannot be read.
    """
    path = directory / SAFE if (directory / SAFE).is_file() else directory / torch_name
    if not path.is_file():
        raise CslmError(f"{directory} holds neither {SAFE} nor {torch_name}; download the whole folder of the model")
    try:
        tensors = load_file(path) if path.name == SAFE else _read_torch(path)
    except (OSError, EOFError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
        raise CslmError(f"{path} cannot be read ({error}); download it again") from error
    return path, {name: np.asarray(tensor, np.float32) for name, tensor in tensors.items()}


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    """With `weights_only` PyTorch builds nothing but tensors, whatever the file asks for."""
    try:
        import torch
    except ImportError as error:
        raise CslmError(
            f"{path} is read with PyTorch, which is not installed: install torch, or write {SAFE} beside it where torch is: "
            f"safetensors.torch.save_file(torch.load('{path.name}', weights_only=True), '{SAFE}')"
        ) from error
    saved = torch.load(path, map_location="cpu", weights_only=True)
    return {name: tensor.float().numpy() for name, tensor in saved.items()}


def check(path: Path, tensors: Mapping[str, np.ndarray], expected: Mapping[str, tuple[int, ...]], model: str) -> None:
    """Raises CslmError if the tensors are not exactly those expected; lists what is missing, surplus, or of another shape."""
    wrong = [f"missing: {name} {expected[name]}" for name in expected if name not in tensors]
    wrong += [f"surplus: {name} {tensors[name].shape}" for name in tensors if name not in expected]
    for name, shape in expected.items():
        if name in tensors and tensors[name].shape != shape:
            wrong.append(f"{name} has shape {tensors[name].shape}, not {shape}")
    if wrong:
        more = f"\n  ... and {len(wrong) - 20} more" if len(wrong) > 20 else ""
        raise CslmError(f"{path} does not hold {model}:\n  " + "\n  ".join(wrong[:20]) + more)
