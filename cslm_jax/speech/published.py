"""Tensors of published PyTorch models, read one by one: from safetensors, or from a state dict without running what is in it."""

from __future__ import annotations

import functools
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import ml_dtypes  # noqa: F401  by which numpy knows bfloat16
import numpy as np
from jaxtyping import Float, Shaped
from safetensors import SafetensorError, safe_open

from cslm_jax.errors import CslmError

SAFE = "model.safetensors"

Tensors = Mapping[str, Callable[[], Shaped[np.ndarray, "..."]]]
"""Tensors by their name in PyTorch and in its layout, each read when it is called for: a large file is never whole in memory."""


def read(directory: Path, torch_name: str) -> tuple[Path, dict[str, Float[np.ndarray, "..."]]]:
    """The file that was found, `model.safetensors` or else `torch_name`, and all of its tensors in float32.

    Raises:
        CslmError: there is neither file, or it cannot be read.
    """
    path = directory / SAFE if (directory / SAFE).is_file() else directory / torch_name
    if not path.is_file():
        raise CslmError(f"{directory} holds neither {SAFE} nor {torch_name}; download the whole folder of the model")
    tensors = read_safetensors(path) if path.name == SAFE else read_state_dict(path)
    return path, {name: np.asarray(tensor(), np.float32) for name, tensor in tensors.items()}


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
    """A state dict that `torch.save` wrote, alone or inside a checkpoint. With `weights_only` PyTorch builds nothing but tensors,
    whatever the file asks for.

    Raises:
        CslmError: torch is not installed, or the file is something else.
    """
    try:
        import torch
    except ImportError as error:
        raise CslmError(
            f"{path} is read with PyTorch, which is not installed: install torch, or write {SAFE} beside it where torch is: "
            f"safetensors.torch.save_file(torch.load('{path.name}', weights_only=True), '{SAFE}')"
        ) from error
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        state = saved.get("state_dict", saved)
        return {name: functools.partial(_as_numpy, tensor) for name, tensor in state.items() if hasattr(tensor, "numpy")}
    except (OSError, RuntimeError, ValueError, AttributeError, pickle.UnpicklingError, EOFError) as error:
        raise CslmError(f"{path} cannot be read as a PyTorch state dict ({_line(error)}); download it again") from error


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _as_numpy(tensor) -> Shaped[np.ndarray, "..."]:
    return tensor.float().numpy()


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
