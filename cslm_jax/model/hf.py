"""Tensors of Hugging Face Llama checkpoints: where each of our parameters lies in them, read and written in slices.

A published matrix is (out, in), a layer a tensor; ours is (in, out) with its heads apart, all layers one above the other.
RoPE pairs are alike (`cslm_jax.model.rope`), so nothing is permuted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import ml_dtypes
import numpy as np
from jaxtyping import Shaped
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from cslm_jax.errors import CslmError
from cslm_jax.model import llama
from cslm_jax.model.llama import LlamaConfig
from cslm_jax.model.parameters import Declaration, is_declaration

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
_IGNORED = ("rotary_emb.inv_freq",)
"""Ends of the names of tensors that some checkpoints carry although they follow from the config."""
_DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}


class Part(NamedTuple):
    """One published tensor."""

    name: str
    layer: int | None
    """Its place on our "layers" axis; None where there is none."""


def parts(declaration: Declaration) -> list[Part]:
    """The published tensors that make up a parameter, in order."""
    if declaration.axes[0] != "layers":
        return [Part(declaration.published, None)]
    return [Part(declaration.published.format(layer=i), i) for i in range(declaration.shape[0])]


def published_shape(declaration: Declaration) -> tuple[int, ...]:
    """Shape of each of its published tensors."""
    shape = _one_layer(declaration)
    return shape if not _transposed(declaration) else (math.prod(shape) // _fan_in(declaration), _fan_in(declaration))


def to_published(array: Shaped[np.ndarray, "..."], declaration: Declaration) -> Shaped[np.ndarray, "..."]:
    """One layer of a parameter as it is published."""
    return array.reshape(_fan_in(declaration), -1).T if _transposed(declaration) else array


def from_published(array: Shaped[np.ndarray, "..."], declaration: Declaration) -> Shaped[np.ndarray, "..."]:
    """The inverse of `to_published`."""
    return array.T.reshape(_one_layer(declaration)) if _transposed(declaration) else array


def _one_layer(declaration: Declaration) -> tuple[int, ...]:
    return declaration.shape[1:] if declaration.axes[0] == "layers" else declaration.shape


def _transposed(declaration: Declaration) -> bool:
    return len(_one_layer(declaration)) > 1 and "vocabulary" not in declaration.axes


def _fan_in(declaration: Declaration) -> int:
    """Matrices lead from the model width or back to it."""
    shape, axes = _one_layer(declaration), [axis for axis in declaration.axes if axis != "layers"]
    return shape[0] if axes[0] == "width" else math.prod(shape[:-1])


class _Stored(NamedTuple):
    file: str
    shape: tuple[int, ...]
    dtype: str


class Folder:
    """A checkpoint's tensors: safetensors, whole or in shards with an index.

    A file is open only while something is read from it, for the pages of a mapped file count as memory of the process.
    """

    def __init__(self, directory: str | Path):
        """
        Raises:
            CslmError: there are no safetensors, or a file is missing or damaged; the message names it.
        """
        self.directory = Path(directory)
        self._stored = {name: stored for file in self._shards() for name, stored in self._described(file)}

    def _shards(self) -> list[str]:
        index = self.directory / INDEX
        if index.is_file():
            try:
                return sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            except (ValueError, LookupError, AttributeError) as error:
                raise CslmError(f"{index} is damaged ({error}); download it again") from error
        if (self.directory / SINGLE).is_file():
            return [SINGLE]
        raise CslmError(
            f"{self.directory} holds neither {SINGLE} nor {INDEX}; pickled weights (.bin, .pth) are never read: "
            "take the safetensors of the same checkpoint"
        )

    def _described(self, file: str) -> Iterator[tuple[str, _Stored]]:
        try:
            with safe_open(self.directory / file, "np") as opened:
                for name in opened.keys():
                    tensor = opened.get_slice(name)
                    yield name, _Stored(file, tuple(tensor.get_shape()), tensor.get_dtype())
        except (OSError, SafetensorError) as error:
            raise CslmError(f"{self.directory / file} cannot be read ({error}); download it again") from error

    def check(self, config: LlamaConfig) -> None:
        """Raises CslmError if the tensors are not those of this model; lists what is missing, surplus, or of another shape."""
        expected = {part.name: published_shape(declaration) for declaration in _declared(config) for part in parts(declaration)}
        found = {name for name in self._stored if not name.endswith(_IGNORED)}
        if config.tied:
            found.discard("lm_head.weight")  # some write the table twice
        wrong = [f"missing: {name}" for name in sorted(expected.keys() - found)]
        wrong += [f"surplus: {name}" for name in sorted(found - expected.keys())]
        for name in sorted(expected.keys() & found):
            _, shape, dtype = self._stored[name]
            if shape != expected[name]:
                wrong.append(f"{name} has shape {shape}, not {expected[name]}")
            elif dtype not in _DTYPES:
                wrong.append(f"{name} is {dtype}, not one of {', '.join(_DTYPES)}")
        if wrong:
            more = f"\n  ... and {len(wrong) - 20} more" if len(wrong) > 20 else ""
            listed = "\n  ".join(wrong[:20])
            raise CslmError(f"{self.directory} does not hold the Llama that its config.json describes:\n  {listed}{more}")

    def dtype(self, declaration: Declaration) -> np.dtype:
        """Type in which a parameter is stored."""
        return np.dtype(_DTYPES[self._stored[parts(declaration)[0].name].dtype])

    def read(self, name: str, declaration: Declaration) -> Shaped[np.ndarray, "..."]:
        """One published tensor, in our layout."""
        return from_published(self.rows(name, slice(None)), declaration)

    def rows(self, name: str, which: slice) -> Shaped[np.ndarray, "R D"]:
        """Rows of a published tensor."""
        with safe_open(self.directory / self._stored[name].file, "np") as opened:
            return opened.get_slice(name)[which]


def write(tensors: Iterable[tuple[str, Shaped[np.ndarray, "..."]]], directory: Path, shard_bytes: int) -> None:
    """Writes tensors to shards of at most `shard_bytes` (a larger tensor has one for itself) and the index over them.

    Holds one shard in memory. Shards are numbered only when all are there, so an interrupted call leaves no file that could
    be taken for a whole checkpoint.
    """
    written: list[list[str]] = []
    total = 0
    for number, shard in enumerate(_shards(tensors, shard_bytes)):
        save_file(shard, directory / f"part-{number}.tmp", metadata={"format": "pt"})
        written.append(list(shard))
        total += sum(array.nbytes for array in shard.values())
    files = (
        [SINGLE] if len(written) == 1 else [f"model-{i + 1:05d}-of-{len(written):05d}.safetensors" for i in range(len(written))]
    )
    for number, file in enumerate(files):
        (directory / f"part-{number}.tmp").rename(directory / file)
    if len(files) > 1:
        weight_map = {name: file for names, file in zip(written, files, strict=True) for name in names}
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (directory / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _shards(tensors: Iterable[tuple[str, np.ndarray]], limit: int) -> Iterator[Mapping[str, np.ndarray]]:
    shard: dict[str, np.ndarray] = {}
    size = 0
    for name, array in tensors:
        if shard and size + array.nbytes > limit:
            yield shard
            shard, size = {}, 0
        shard[name] = np.ascontiguousarray(array)
        size += array.nbytes
    yield shard


def _declared(config: LlamaConfig) -> list[Declaration]:
    return jax.tree.leaves(llama.declared(config), is_leaf=is_declaration)
