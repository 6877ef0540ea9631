"""Made-up files in the form of the published S3 tokenizers: their names, shapes and, for ONNX, their graph of named nodes."""

import numpy as np

from cslm_jax.speech.s3 import positions


def made_up_tensors(version: int, width: int = 64, mels: int = 20, layers: int = 2, codes: int = 16) -> dict[str, np.ndarray]:
    """Random tensors by their names in PyTorch."""
    random = np.random.default_rng(version)
    normal = lambda *shape: (random.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
    vector = lambda size: normal(size, 1)[:, 0]
    tensors = {"encoder.conv1.weight": normal(width, mels, 3), "encoder.conv2.weight": normal(width, width, 3)}
    tensors |= {f"encoder.conv{i}.bias": vector(width) for i in (1, 2)}
    for i in range(layers):
        block = f"encoder.blocks.{i}"
        for name, out, into in (("mlp.0", 4 * width, width), ("mlp.2", width, 4 * width)):
            tensors |= {f"{block}.{name}.weight": normal(out, into), f"{block}.{name}.bias": vector(out)}
        for name in ("query", "key", "value", "out"):
            tensors[f"{block}.attn.{name}.weight"] = normal(width, width)
        tensors |= {f"{block}.attn.{name}.bias": vector(width) for name in ("query", "value", "out")}
        for name in ("attn_ln", "mlp_ln"):
            tensors |= {f"{block}.{name}.weight": 1 + 0.1 * vector(width), f"{block}.{name}.bias": vector(width)}
        if version == 2:
            tensors[f"{block}.attn.fsmn_block.weight"] = normal(width, 1, 31)
    if version == 2:
        project = "quantizer._codebook.project_down"
        return tensors | {f"{project}.weight": normal(8, width), f"{project}.bias": vector(8)}
    return tensors | {
        "encoder.positional_embedding": positions(1500, width),
        "quantizer._codebook.embed": normal(codes, width),
    }


def write_onnx(file, tensors: dict[str, np.ndarray], stride: int = 2, epsilon: float = 1e-6) -> None:
    """The nodes that hold weights, named as in the published graphs; what lies between them is left out."""
    import onnx

    graph = _Graph()
    version2 = "quantizer._codebook.embed" not in tensors
    for i, strides in ((1, [stride]), (2, [2])):
        names = [f"onnx::Conv_{2212 + 2 * i + j}" for j in (2, 3)] if version2 else [f"encoders.conv{i}.{p}" for p in _PARTS]
        pairs = zip(names, (tensors[f"encoder.conv{i}.{part}"] for part in _PARTS))
        graph.node("Conv", f"/conv{i}/Conv", *pairs, strides=strides)
    if not version2:
        graph.node("Slice", "/Slice", ("encoders.positional_embedding", tensors["encoder.positional_embedding"]))
    for name in dict.fromkeys(name.rpartition(".")[0] for name in tensors if name.startswith("encoder.blocks")):
        _, _, block, *module = name.split(".")
        path = f"/blocks.{block}/" + (f"mlp/mlp.{module[1]}" if module[0] == "mlp" else "/".join(module))
        weights = {part: (name[8:] + "." + part, tensors[f"{name}.{part}"]) for part in _PARTS if f"{name}.{part}" in tensors}
        if module[-1] == "fsmn_block":
            graph.node("Conv", f"{path}/Conv", weights["weight"])
        elif module[-1].endswith("_ln") and version2:
            graph.node("LayerNormalization", f"{path}/LayerNormalization", *weights.values(), epsilon=epsilon)
        elif module[-1].endswith("_ln"):
            graph.node("Add", f"{path}/Add", (f"{path}/Constant_1_output_0", np.array(1e-5, np.float32)))
            graph.node("Mul", f"{path}/Mul", weights["weight"])
            graph.node("Add", f"{path}/Add_1", weights["bias"])
        else:
            if "weight" in weights:
                graph.node("MatMul", f"{path}/MatMul", (f"onnx::MatMul_{len(graph.nodes)}", weights["weight"][1].T))
            if "bias" in weights:
                graph.node("Add", f"{path}/Add", weights["bias"])
    if version2:
        project = "quantizer._codebook.project_down"
        graph.node("MatMul", "/quantizer/project_in/MatMul", ("onnx::MatMul_2536", tensors[f"{project}.weight"].T))
        graph.node("Add", "/quantizer/project_in/Add", ("quantizer.project_in.bias", tensors[f"{project}.bias"]))
    else:
        entries = ("onnx::Pow_1", tensors["quantizer._codebook.embed"].T)
        graph.node("Pow", "/quantizer/rq/model/layers.0/_codebook/Pow_1", entries)
    onnx.save(graph.model(), file)


_PARTS = ("weight", "bias")


class _Graph:
    def __init__(self):
        self.nodes, self.held = [], []

    def node(self, kind, path, *weights, **attributes):
        from onnx import helper, numpy_helper

        self.held += [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in weights]
        names = [name for name, _ in weights]
        self.nodes.append(helper.make_node(kind, ["x", *names], [f"{path}_output_0"], path, **attributes))

    def model(self):
        from onnx import TensorProto, helper

        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", self.nodes[-1].output[0])]
        return helper.make_model(helper.make_graph(self.nodes, "made up", ends[:1], ends[1:], self.held))
