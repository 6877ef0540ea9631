"""`cslm convert from-hf` and `to-hf`: published Llama folders to a run that training can begin from, and back.

Both go a layer at a time, so the memory they need does not depend on the size of the model.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epath
from jaxtyping import Shaped
from tqdm import tqdm

from cslm_jax.errors import CslmError
from cslm_jax.model import hf, llama, lora
from cslm_jax.model.hf_config import read_config, write_config
from cslm_jax.model.llama import LlamaConfig
from cslm_jax.model.lora import LoraConfig
from cslm_jax.model.parameters import Declaration, is_declaration
from cslm_jax.model.vocabulary_extension import new_rows
from cslm_jax.text.export import write_tokenizer
from cslm_jax.text.llama3 import Llama3Text
from cslm_jax.train import arrays
from cslm_jax.train.checkpoint import Origin, newest, write_origin
from cslm_jax.vocabulary import JointVocabulary

logger = logging.getLogger(__name__)

ROWS = 8192
"""Rows of a token table that are in memory at a time."""
Blocks = Iterator[tuple[Any, Shaped[np.ndarray, "..."]]]


def from_hf(source: str, output: str, units: int = 4096, pad_to: int = 128, noise: float = 0.0, seed: int = 0) -> None:
    """Makes OUTPUT a run that `train.init_from=OUTPUT` begins from, with its vocabulary in OUTPUT/vocabulary.

    Args:
        source: folder of a Hugging Face Llama: config.json, safetensors and, unless units is 0, its tokenizer.
        output: folder to write.
        units: speech units; the tables grow by these, four markers and padding. 0 leaves them as they are.
        pad_to: the tables are padded to a multiple of this, so that they can be split over a mesh.
        noise: how far new rows are from the mean of the old ones, in multiples of the old rows' own covariance.
        seed: of the noise.
    """
    config = read_config(source)
    final = _free(Path(output) / "checkpoints")
    folder = hf.Folder(source)
    folder.check(config)
    vocabulary = _vocabulary(source, config, units, pad_to)
    rows = config.vocabulary_size if vocabulary is None else vocabulary.size
    grown = dataclasses.replace(config, vocabulary_size=rows, param_dtype=_param_dtype(folder, config))
    if vocabulary is not None:
        _save_vocabulary(vocabulary, Path(output) / "vocabulary")
    temporary = _emptied(final.with_name("checkpoints.tmp"))
    step = epath.Path(temporary.resolve()) / "0"
    _write_params(folder, step / "params", config, grown, functools.partial(new_rows, noise, seed))
    write_origin(step, Origin({"model": dataclasses.asdict(grown)}, vocabulary.sha256 if vocabulary else ""))
    temporary.rename(final)
    grew = f"{config.vocabulary_size} -> {rows} rows"
    print(f"{output}: {config.layers} layers, {grew}; begin with --config.train.init_from={output}")


def to_hf(source: str, output: str, vocabulary: str | None = None, shard_gib: float = 2.0) -> None:
    """Writes the newest model of a run as a Hugging Face Llama folder: safetensors, config and tokenizer, without padding rows.

    Adapters of LoRA are merged into the weights, in float32; the result has the type of the frozen ones (model.param_dtype).

    Args:
        source: workdir of a run, or what `from-hf` wrote.
        output: folder to write; must not exist.
        vocabulary: directory of the joint vocabulary, where the run's own (config.data.vocabulary) has moved.
        shard_gib: size of the safetensors files.
    """
    folder, origin = newest(source)
    config = origin.model
    joint = _vocabulary_of(origin, Path(source), vocabulary)
    rows = _real_rows(config, joint)
    final = _free(Path(output))
    temporary = _emptied(final.with_name(final.name + ".tmp"))
    published = dataclasses.replace(config, vocabulary_size=rows, lora=LoraConfig())
    with _progress(published) as bar:
        hf.write(_published(folder / "params", config, published, bar), temporary, int(shard_gib * 2**30))
    write_config(published, temporary, _tokens(joint) | {"dtype": config.param_dtype, "torch_dtype": config.param_dtype})
    if joint is not None and isinstance(joint.text, Llama3Text):
        write_tokenizer(joint, temporary, units=rows > joint.base_size)
    else:
        logger.warning("%s gets no tokenizer: only Llama 3's has the form that Hugging Face reads", output)
    temporary.rename(final)
    print(f"{output}: step {folder.name} of {source}, {config.layers} layers, {config.vocabulary_size} -> {rows} rows")


def _param_dtype(folder: hf.Folder, config: LlamaConfig) -> str:
    """As stored, but float16 becomes float32: there are no master weights in it."""
    stored = folder.dtype(llama.declared(config)["embedding"]).name
    return stored if stored in ("float32", "bfloat16") else "float32"


def _vocabulary(source: str, config: LlamaConfig, units: int, pad_to: int) -> JointVocabulary | None:
    if not units:
        return None
    text = Llama3Text.read(source)
    if text.size != config.vocabulary_size:
        raise CslmError(
            f"the tokenizer in {source} has {text.size} ids, but config.json says {config.vocabulary_size}; "
            "take both from the same checkpoint, or --units=0 to leave the vocabulary as it is"
        )
    return JointVocabulary(text, units, pad_to)


def _save_vocabulary(vocabulary: JointVocabulary, directory: Path) -> None:
    """Writes it, unless an interrupted call did; another one that is there belongs to something else."""
    if directory.exists() and JointVocabulary.load(directory).sha256 != vocabulary.sha256:
        raise CslmError(f"{directory} holds another vocabulary; remove it, or choose another --output")
    vocabulary.save(directory)


def _write_params(folder: hf.Folder, target: epath.Path, config: LlamaConfig, grown: LlamaConfig, make_rows) -> None:
    old, new = llama.declared(config), llama.declared(grown)
    target.parent.mkdir(parents=True, exist_ok=True)
    arrays.create(target, jax.tree.map(lambda _: 0, new, is_leaf=is_declaration))
    dtype = np.dtype(grown.param_dtype)
    with _progress(grown) as bar:
        for names, declaration in _named(new):
            before = functools.reduce(lambda tree, name: tree[name], names, old)
            blocks = _counted(_blocks(folder, before, declaration, make_rows), bar)
            arrays.fill(target, names, declaration.shape, dtype, ((at, block.astype(dtype)) for at, block in blocks))


def _blocks(folder: hf.Folder, old: Declaration, new: Declaration, make_rows) -> Blocks:
    """A parameter in pieces: layer by layer, and a table in groups of rows, the new ones last."""
    if "vocabulary" in new.axes:
        yield from _table(folder, old, new, make_rows)
        return
    for part in hf.parts(new):
        yield slice(None) if part.layer is None else part.layer, folder.read(part.name, new)


def _table(folder: hf.Folder, old: Declaration, new: Declaration, make_rows) -> Blocks:
    rows, more = old.shape[0], new.shape[0] - old.shape[0]
    chunks = [slice(start, min(start + ROWS, rows)) for start in range(0, rows, ROWS)]

    def read() -> Iterator[np.ndarray]:
        return (folder.rows(old.published, chunk) for chunk in chunks)

    yield from zip(chunks, read(), strict=True)
    if more:
        yield slice(rows, rows + more), make_rows(read, old.shape, more)


def _published(
    params: epath.Path, config: LlamaConfig, published: LlamaConfig, bar: tqdm
) -> Iterator[tuple[str, Shaped[np.ndarray, "..."]]]:
    """The published tensors, layer by layer as other tools write them."""
    parts = [(part, *named) for named in _named(llama.declared(published)) for part in hf.parts(named[1])]
    for part, names, declaration in sorted(parts, key=lambda item: -1 if item[0].layer is None else item[0].layer):
        tensor = hf.to_published(_content(params, config.lora, names, part.layer, declaration), declaration)
        bar.update(tensor.nbytes)
        yield part.name, tensor


def _content(
    params: epath.Path, adapters: LoraConfig, names: arrays.Names, layer: int | None, declaration: Declaration
) -> Shaped[np.ndarray, "..."]:
    """One layer of a parameter, or all of one that has no layers, with what LoRA keeps apart from it."""
    *parents, name = names
    if "vocabulary" in declaration.axes:
        rows = declaration.shape[0]
        if not adapters.rank:
            return arrays.read(params, names, slice(rows))
        new = arrays.read(params, (*parents, lora.NEW + name), slice(rows - adapters.frozen_rows))
        return np.concatenate([arrays.read(params, names, slice(None)), new.astype(declaration.dtype)])
    content = arrays.read(params, names, slice(None) if layer is None else layer)
    if not adapters.rank or not declaration.decayed:
        return content
    a, b = (arrays.read(params, (*parents, name + lora.SUFFIX, half), layer) for half in "ab")
    return (content.astype(np.float32) + lora.change(adapters, a, b)).astype(declaration.dtype)


def _vocabulary_of(origin: Origin, source: Path, given: str | None) -> JointVocabulary | None:
    """The vocabulary of a run; None for a model that was imported without one."""
    if not origin.vocabulary_sha256:
        return None
    recorded = origin.experiment.get("data", {}).get("vocabulary")
    tried = [given] if given else [path for path in (source / "vocabulary", recorded) if path]
    for path in tried:
        if (Path(path) / "vocabulary.json").is_file():
            found = JointVocabulary.load(path)
            if found.sha256 == origin.vocabulary_sha256:
                return found
    raise CslmError(
        f"the vocabulary that {source} was trained with is not in {' or '.join(map(str, tried))}; say where with --vocabulary"
    )


def _real_rows(config: LlamaConfig, vocabulary: JointVocabulary | None) -> int:
    rows = config.vocabulary_size
    return vocabulary.unpadded_size if vocabulary is not None and rows >= vocabulary.unpadded_size else rows


def _tokens(vocabulary: JointVocabulary | None) -> dict[str, int]:
    return {} if vocabulary is None else {"bos_token_id": vocabulary.bos, "eos_token_id": vocabulary.eot}


def _named(declared: Any) -> list[tuple[arrays.Names, Declaration]]:
    leaves = jax.tree_util.tree_leaves_with_path(declared, is_leaf=is_declaration)
    return [(tuple(key.key for key in path), declaration) for path, declaration in leaves]


def _progress(config: LlamaConfig) -> tqdm:
    size = np.dtype(config.param_dtype).itemsize * sum(np.prod(d.shape, dtype=int) for _, d in _named(llama.declared(config)))
    return tqdm(total=int(size), desc="weights", unit="B", unit_scale=True)


def _counted(blocks: Blocks, bar: tqdm) -> Blocks:
    for index, block in blocks:
        yield index, block
        bar.update(block.nbytes)


def _free(path: Path) -> Path:
    if path.exists():
        raise CslmError(f"{path} is there already; remove it, or choose another --output")
    return path


def _emptied(path: Path) -> Path:
    """A fresh folder in place of what an interrupted call left."""
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(parents=True)
    return path
