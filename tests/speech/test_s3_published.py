"""Published tokenizers: every form of file gives the same network, and a file that does not fit says what is wrong with it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from made_up_published import made_up_tensors, write_onnx
from safetensors.numpy import save_file

from cslm_jax.errors import CslmError
from cslm_jax.speech import s3_published
from cslm_jax.speech.s3_config import PUBLISHED
from cslm_jax.speech.tokenizer import SpeechTokenizer, files_of

SMALL = {"width": 64, "heads": 1, "layers": 2, "mels": 20}


def write(path, tensors, **graph):
    if path.suffix == ".onnx":
        write_onnx(path, tensors, **graph)
    elif path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch = pytest.importorskip("torch")
        torch.save({name: torch.from_numpy(array) for name, array in tensors.items()}, path)
    return path


@pytest.mark.parametrize("form", ["onnx", "safetensors", "pt"])
@pytest.mark.parametrize("version", [1, 2])
def test_every_tensor_of_a_file_has_its_place(version, form, tmp_path):
    tensors = made_up_tensors(version)
    model = s3_published.load(write(tmp_path / f"tokenizer_25hz.{form}", tensors))
    expected = dataclasses.replace(PUBLISHED["v1_25hz" if version == 1 else "v2"], **SMALL)
    if version == 1:
        expected = dataclasses.replace(expected, codes=16)
    elif form == "onnx":
        expected = dataclasses.replace(expected, attention_epsilon=float(np.float32(1e-6)))
    assert model.config == expected
    block = model.encoder.blocks[1]
    pairs = {
        "conv2.weight": jnp.transpose(model.encoder.conv2.kernel[...], (2, 1, 0)),
        "conv1.bias": model.encoder.conv1.bias[...],
        "blocks.1.attn.key.weight": block.attn.key.kernel[...].T,
        "blocks.1.attn.out.bias": block.attn.out.bias[...],
        "blocks.1.mlp.0.weight": block.mlp_in.kernel[...].T,
        "blocks.1.mlp.2.bias": block.mlp_out.bias[...],
        "blocks.1.attn_ln.weight": block.attn_ln.scale[...],
        "blocks.1.mlp_ln.bias": block.mlp_ln.bias[...],
    }
    for name, ours in pairs.items():
        np.testing.assert_array_equal(ours, tensors[f"encoder.{name}"], err_msg=name)
    if version == 1:
        np.testing.assert_array_equal(model.quantizer.embed[...], tensors["quantizer._codebook.embed"])
        return
    project = "quantizer._codebook.project_down.weight"
    np.testing.assert_array_equal(model.quantizer.project.kernel[...].T, tensors[project])
    memory = tensors["encoder.blocks.1.attn.fsmn_block.weight"]
    np.testing.assert_array_equal(block.attn.memory.kernel[...].T, memory[:, 0])


def test_a_graph_tells_its_rate(tmp_path):
    path = write(tmp_path / "speech_tokenizer_v1.onnx", made_up_tensors(1), stride=1)
    assert s3_published.load(path).config.unit_rate == 50


@pytest.mark.parametrize("name, rate", [("v1_25hz", 25), ("CosyVoice-50Hz", 50)])
def test_where_a_file_cannot_tell_its_rate_its_name_does(name, rate, tmp_path):
    assert s3_published.load(write(tmp_path / f"{name}.safetensors", made_up_tensors(1))).config.unit_rate == rate


def test_a_rate_that_nothing_tells_is_asked_for(tmp_path):
    with pytest.raises(CslmError, match="v1.safetensors does not say whether it gives 25 or 50 .* rename it"):
        s3_published.load(write(tmp_path / "v1.safetensors", made_up_tensors(1)))


@pytest.mark.parametrize("form", ["onnx", "safetensors"])
def test_a_missing_tensor_is_named(form, tmp_path):
    tensors = made_up_tensors(1)
    del tensors["encoder.blocks.1.attn.key.weight"]
    with pytest.raises(CslmError, match=rf"25hz.{form} has no tensor encoder.blocks.1.attn.key.weight; .* download it again"):
        s3_published.load(write(tmp_path / f"25hz.{form}", tensors))


@pytest.mark.parametrize("form", ["onnx", "safetensors"])
def test_a_surplus_tensor_is_named(form, tmp_path):
    tensors = made_up_tensors(1) | {"encoder.blocks.1.attn.key.bias": np.ones(64, np.float32)}
    with pytest.raises(CslmError, match=rf"25hz.{form} has encoder.blocks.1.attn.key.bias, which no published"):
        s3_published.load(write(tmp_path / f"25hz.{form}", tensors))


def test_a_misshapen_tensor_is_named_with_both_shapes(tmp_path):
    tensors = made_up_tensors(2) | {"encoder.blocks.1.mlp.2.weight": np.ones((64, 64), np.float32)}
    with pytest.raises(CslmError, match=r"encoder.blocks.1.mlp.2.weight has shape \(64, 64\), but .* \(64, 256\)"):
        s3_published.load(write(tmp_path / "v2.safetensors", tensors))


def test_other_positions_are_another_model(tmp_path):
    tensors = made_up_tensors(1) | {"encoder.positional_embedding": np.ones((1500, 64), np.float32)}
    with pytest.raises(CslmError, match="encoder.positional_embedding is not the table of sinusoids"):
        s3_published.load(write(tmp_path / "25hz.safetensors", tensors))


@pytest.mark.parametrize("form, complaint", [("onnx", "as ONNX"), ("safetensors", "as safetensors"), ("pt", "as a PyTorch state"),
                                             ("wav", "is no speech tokenizer")])  # fmt: skip
def test_a_file_of_something_else_is_named(form, complaint, tmp_path):
    if form == "pt":
        pytest.importorskip("torch")
    path = tmp_path / f"25hz.{form}"
    path.write_bytes(b"\xff\xfe something else")
    with pytest.raises(CslmError, match=rf"25hz.{form} .*{complaint}"):
        SpeechTokenizer.load(path)


def test_a_state_dict_is_never_unpickled(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"encoder.conv1.weight": Bomb()}, tmp_path / "25hz.pt")
    with pytest.raises(CslmError, match="cannot be read as a PyTorch state dict"):
        SpeechTokenizer.load(tmp_path / "25hz.pt")


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('it was run')",)


def test_an_empty_file_is_named(tmp_path):
    (tmp_path / "v2.onnx").write_bytes(b"")
    with pytest.raises(CslmError, match="v2.onnx has no tensor encoder.conv1.weight"):
        SpeechTokenizer.load(tmp_path / "v2.onnx")


def noise(seconds):
    return 0.1 * np.random.default_rng(0).normal(size=int(16000 * seconds)).astype(np.float32)


def test_a_published_tokenizer_is_a_tokenizer_without_transcripts(tmp_path):
    heard = SpeechTokenizer.load(write(tmp_path / "25hz.safetensors", made_up_tensors(1)))
    (analysis,) = heard.analyse([noise(2)])
    assert analysis.log_probs is None and analysis.speech.run_lengths.sum() == 50
    with pytest.raises(CslmError, match="has no recogniser"):
        heard.transcribe([noise(2)])
    assert files_of(tmp_path / "25hz.safetensors") == [tmp_path / "25hz.safetensors"] and not files_of(tmp_path / "folder")
    heard.save(tmp_path / "folder")
    assert {file.name for file in files_of(tmp_path / "folder")} == {"tokenizer.json", "tokenizer.safetensors"}
    again = SpeechTokenizer.load(tmp_path / "folder")
    assert again.config == heard.config and again.labels is None
    assert again.analyse([noise(2)])[0].speech == analysis.speech


@pytest.mark.parametrize("version, name", [(1, "25hz"), (2, "v2")])
def test_bfloat16_hears_nearly_the_same_units(version, name, tmp_path):
    """The nearest of 64 states of the encoder itself, and eight digits: a state between two entries may fall to either."""
    path = write(tmp_path / f"{name}.safetensors", made_up_tensors(version, codes=64))
    mel, lengths = np.random.default_rng(0).normal(size=(1, 1024, 20)).astype(np.float32), jnp.array([1024])
    exact, short = s3_published.load(path), s3_published.load(path, "bfloat16")
    states = [jax.jit(model.encoder)(mel, lengths) for model in (exact, short)]
    if version == 1:
        entries = exact.quantizer.normalise(states[0][0, ::4])
        exact.quantizer.embed[...] = short.quantizer.embed[...] = entries
    units = [model.quantizer.codes(found) for model, found in zip((exact, short), states)]
    assert len(np.unique(units[0])) > 40 and np.mean(units[0] == units[1]) > 0.93


def test_bfloat16_keeps_its_weights_small_and_its_states_near(tmp_path):
    path = write(tmp_path / "v2.safetensors", made_up_tensors(2))
    exact, short = s3_published.load(path), s3_published.load(path, "bfloat16")
    kernel = short.encoder.blocks[0].mlp_in.kernel[...]
    assert kernel.dtype == jnp.bfloat16 and short.quantizer.project.kernel[...].dtype == jnp.float32
    mel, lengths = np.random.default_rng(0).normal(size=(1, 60, 20)).astype(np.float32), jnp.array([60])
    states = [np.asarray(jax.jit(model.encoder)(mel, lengths)) for model in (exact, short)]
    assert states[1].dtype == np.float32
    error = np.abs(states[0] - states[1])
    assert 0 < error.mean() < 0.01 * np.abs(states[0]).mean()
