"""Aligners by what lies at a path, and the contract of those that users bring themselves."""

import json

import numpy as np
import pytest

from cslm_jax.errors import BadRecord, CslmError
from cslm_jax.speech import align, aligners

DESCRIBED = {"characters": {"A": 1, "B": 3, "|": 2}, "separator": "|", "frame_rate": 50}
WAVEFORM = np.linspace(-1, 1, 1600, dtype=np.float32)


def described(folder, **changes):
    (folder / "aligner.json").write_text(json.dumps(DESCRIBED | changes))
    return folder


def normalised(scores: np.ndarray) -> np.ndarray:
    return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


def test_log_probs_that_a_command_wrote_are_found_by_the_recording(tmp_path):
    written = normalised(np.random.default_rng(0).normal(size=(5, 4)))
    (tmp_path / "speaker").mkdir()
    np.save(tmp_path / "speaker" / "7.npy", written)
    aligner = aligners.load(described(tmp_path), "en")
    (found,) = aligner.log_probs([WAVEFORM], ["speaker/7"])
    np.testing.assert_array_equal(found, written.astype(np.float32))
    assert aligner.labels.encode("a b").tolist() == [1, 2, 3] and aligner.frame_rate == 50


def test_what_is_impossible_for_a_model_is_aligned_all_the_same(tmp_path):
    """Probabilities of 0 have infinite logarithms; the words are in the text, so somewhere they must be."""
    with np.errstate(divide="ignore"):
        np.save(tmp_path / "1.npy", np.log(np.eye(4)[[1, 0, 2, 0, 1, 0]]))
    aligner = aligners.load(described(tmp_path), "en")
    (found,) = aligner.log_probs([WAVEFORM], ["1"])
    first, second = align.align("a b", "en", found, aligner.labels, aligner.frame_rate)
    assert first.start_s == 0 and second.end_s > second.start_s >= 0.06


@pytest.mark.parametrize(
    "content, reason",
    [
        (None, r"1.npy cannot be read"),
        (np.zeros(4), r"shape \(4,\); needed are frames x at least 4"),
        (np.zeros((5, 3)), r"shape \(5, 3\)"),
        (np.full((5, 4), 2.0), "no log-probabilities"),
        (np.full((5, 4), np.nan), "no log-probabilities"),
        (np.array([{}], object), "cannot be read: Object arrays"),
    ],
)
def test_a_recording_without_log_probs_says_why_and_the_others_go_on(tmp_path, content, reason):
    good = normalised(np.zeros((2, 4)))
    np.save(tmp_path / "2.npy", good)
    if content is not None:
        np.save(tmp_path / "1.npy", content, allow_pickle=True)
    bad, other = aligners.load(described(tmp_path), "en").log_probs([WAVEFORM] * 2, ["1", "2"])
    assert isinstance(bad, BadRecord) and bad.stage == "align"
    with pytest.raises(BadRecord, match=reason):
        raise bad
    assert other.shape == (2, 4)


@pytest.mark.parametrize(
    "changes", [{"characters": "ab"}, {"characters": {"ab": 1}}, {"blank": 1}, {"frame_rate": 0}, {"frame_rate": None}]
)
def test_a_description_that_is_none_is_named_with_what_it_should_be(tmp_path, changes):
    with pytest.raises(CslmError, match="aligner.json.*frame_rate"):
        aligners.load(described(tmp_path, **changes), "en")


def test_a_path_without_an_aligner_is_named_with_its_field(tmp_path):
    with pytest.raises(CslmError, match=r"data.aligners.fr: .*wav2vec 2.0.*onnx.*npy"):
        aligners.load(tmp_path, "fr")


def test_a_hugging_face_folder_is_read_as_wav2vec2(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CslmError, match="config.json describes no wav2vec 2.0"):
        aligners.load(tmp_path, "fr")


def test_an_onnx_graph_gives_log_probs_whatever_it_puts_out(tmp_path):
    """Its logits become log-probabilities; it may ask for the number of samples."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    described(tmp_path)
    aligner = aligners.load(write_onnx(onnx, tmp_path / "model.onnx"), "en")
    quiet = WAVEFORM / 100
    short, whole = aligner.log_probs([quiet[:800], quiet], ["a", "b"])
    np.testing.assert_allclose(whole, normalised(quiet.reshape(-1, 4) * 1600), atol=1e-5)
    assert short.shape == (200, 4)


def write_onnx(onnx, path):
    """(1, S), (1,) -> (1, S / 4, 4): the samples times their number."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Cast", ["count"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["samples", "number"], ["loud"]),
        helper.make_node("Reshape", ["loud", "shape"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "ctc",
        [
            helper.make_tensor_value_info("samples", TensorProto.FLOAT, [1, "S"]),
            helper.make_tensor_value_info("count", TensorProto.INT64, [1]),
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, "T", 4])],
        [helper.make_tensor("shape", TensorProto.INT64, [3], [1, -1, 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, str(path))
    return path


def test_onnx_without_its_runtime_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(CslmError, match=r"pip install 'cslm_jax\[onnx\]'"):
        aligners.load(tmp_path / "model.onnx", "en")
