"""Tensors of the published S3 tokenizers, which are ONNX files: found by the node that uses them, named as in PyTorch.

An exported graph keeps the path of a module in the names of its nodes ("/blocks.0/attn/query/MatMul"), while many of its
tensors are only numbered. Matrices lie as they are multiplied, (in, out); PyTorch has them (out, in).
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from cslm_jax.errors import CslmError
from cslm_jax.speech.published import Tensors

_IN_BLOCK = re.compile(r"/(blocks\.\d+)/(?:(attn)/(query|key|value|out|fsmn_block)|(attn_ln|mlp_ln)|mlp/(mlp\.[02]))/\w+")
_KINDS = {"MatMul": "weight", "Mul": "weight", "Conv": "weight", "Pow": "embed", "Add": "bias"}
_POSITIONS = "encoders.positional_embedding"


def read(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """The tensors, and those fields of S3Config that only the graph tells.

    Raises:
        CslmError: the file is not ONNX.
    """
    import onnx  # takes half a second, and only this function needs it
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except (DecodeError, OSError) as error:
        raise CslmError(f"{path} cannot be read as ONNX ({error}); download it again") from error
    held = {node.output[0]: node.attribute[0].t for node in graph.node if node.op_type == "Constant" and node.attribute}
    held |= {tensor.name: tensor for tensor in graph.initializer}
    modules = _modules(graph.node)
    named = (pair for node in graph.node for pair in _weights(node, modules.get(node.output[0]), held))
    return {name: functools.partial(_as_in_torch, name, tensor) for name, tensor in named}, _told(graph.node, modules)


def _modules(nodes: Any) -> dict[str, str]:
    """Name of the module that a node belongs to, by the node's output."""
    down = (node for node in nodes if node.op_type == "Conv" and not _IN_BLOCK.fullmatch(node.name))
    modules = {node.output[0]: name for node, name in zip(down, ("encoder.conv1", "encoder.conv2"))}
    for node in nodes:
        if found := _IN_BLOCK.fullmatch(node.name):
            modules[node.output[0]] = ".".join(["encoder", *filter(None, found.groups())])
        elif node.name.endswith("_codebook/Pow_1"):
            modules[node.output[0]] = "quantizer._codebook"
        elif node.op_type in ("MatMul", "Add") and "/project_in/" in node.name:
            modules[node.output[0]] = "quantizer._codebook.project_down"
    return modules


def _weights(node: Any, module: str | None, held: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(name in PyTorch, tensor) of the weights among a node's inputs."""
    if _POSITIONS in node.input and _POSITIONS in held:
        yield "encoder.positional_embedding", held[_POSITIONS]
    tensors = [held[name] for name in node.input if name in held and math.prod(held[name].dims) > 1]
    if module and node.op_type in ("Conv", "LayerNormalization"):
        yield from zip((f"{module}.weight", f"{module}.bias"), tensors)
    elif module and node.op_type in _KINDS:
        yield from ((f"{module}.{_KINDS[node.op_type]}", tensor) for tensor in tensors)


def _told(nodes: Any, modules: Mapping[str, str]) -> dict[str, Any]:
    """The second convolution has stride 2; the first one has 2 (25 Hz) or 1 (50 Hz)."""
    told = {}
    for node in nodes:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        module = modules.get(node.output[0], "")
        if module == "encoder.conv1":
            told["unit_rate"] = 50 // attributes["strides"].ints[0]
        elif module.endswith("attn_ln") and "epsilon" in attributes:
            told["attention_epsilon"] = float(np.float32(attributes["epsilon"].f))
    return told


def _as_in_torch(name: str, tensor: Any) -> Shaped[np.ndarray, "..."]:
    from onnx import numpy_helper

    array = numpy_helper.to_array(tensor)
    return array.T if array.ndim == 2 and not name.endswith("positional_embedding") else array
