"""The published tokenizers beside their PyTorch reference, xingchensong/S3Tokenizer, with random weights.

A random codebook would give one or two different codes, and equal codes would prove nothing: it is filled with states of the
encoder, and the weights are large enough for states to differ.
"""

import importlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from made_up_published import write_onnx

from cslm_jax.speech import audio, s3_published
from cslm_jax.speech.s3 import S3Tokenizer
from cslm_jax.speech.s3_config import PUBLISHED
from cslm_jax.speech.tokenizer import SpeechTokenizer

torch = pytest.importorskip("torch")

NAMES = {"v1_25hz": "speech_tokenizer_v1_25hz", "v1_50hz": "speech_tokenizer_v1", "v2": "speech_tokenizer_v2_25hz"}
SMALL = {"n_audio_state": 64, "n_audio_head": 1, "n_audio_layer": 2}


def build(version, **sizes):
    """The reference's module; each version has classes of its own."""
    number = "" if version.startswith("v1") else version.upper()
    module = importlib.import_module("s3tokenizer.model" + number.lower().replace("v", "_v"))
    config = getattr(module, "ModelConfigV3" if number == "V3" else "ModelConfig")
    return getattr(module, f"S3Tokenizer{number}")(NAMES.get(version, version), config(**sizes)).eval()


def sound(seconds, seed):
    """Tones that come and go, in noise: different at every moment."""
    random = np.random.default_rng(seed)
    time = np.arange(int(16000 * seconds)) / 16000
    tones = sum(np.sin(2 * np.pi * random.uniform(80, 6000) * time) * np.sin(random.uniform(3, 20) * time) for _ in range(8))
    return (0.05 * tones + 0.01 * random.normal(size=len(time))).astype(np.float32)


@pytest.fixture(scope="module")
def sounds():
    """The second is no multiple of a unit; the last one needs windows, as it is over 30 s long."""
    return [sound(3, 0), sound(1.234, 1), sound(65, 2)]


@pytest.fixture(scope="module")
def mels(s3tokenizer, sounds):
    return [s3tokenizer.log_mel_spectrogram(torch.from_numpy(waveform)) for waveform in sounds]


@pytest.fixture(scope="module", params=NAMES)
def reference(request, s3tokenizer, mels):
    """(version, module) with weights that spread the states, and for version 1 entries among them."""
    torch.manual_seed(0)
    codebook = {} if request.param == "v2" else {"n_codebook_size": 128}
    model = build(request.param, **SMALL, **codebook)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=1.5 * np.prod(parameter.shape[1:]) ** -0.5)
    if request.param != "v2":
        with torch.inference_mode():
            states, _ = model.encoder(mels[2][None, :, :1024], torch.tensor([1024]))
            model.quantizer._codebook.embed.copy_(torch.nn.functional.normalize(states[0, ::2][:128], dim=-1))
    return request.param, model


@pytest.fixture(scope="module")
def tokenizer(reference, tmp_path_factory):
    """Ours, from an ONNX file with the reference's weights."""
    version, model = reference
    path = tmp_path_factory.mktemp("published") / f"{version}.onnx"
    tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    write_onnx(path, tensors, stride=model.encoder.stride, epsilon=model.encoder.blocks[0].attn_ln.eps)
    return SpeechTokenizer.load(path)


def test_log_mel_is_the_references(sounds, mels):
    for waveform, theirs in zip(sounds[:2], mels[:2]):
        np.testing.assert_allclose(audio.log_mel(waveform).T, theirs, atol=1e-4)


def test_states_of_a_padded_batch_are_the_references(reference, tokenizer, mels):
    version, model = reference
    lengths = torch.tensor([mels[0].shape[1], mels[1].shape[1]])
    padded = torch.nn.utils.rnn.pad_sequence([mel.T for mel in mels[:2]], batch_first=True)
    with torch.inference_mode():
        theirs, units = model.encoder(padded.transpose(1, 2), lengths)
    ours = jax.jit(tokenizer.model.encoder)(padded.numpy(), jnp.asarray(lengths))
    for row in range(2):
        there = theirs[row, : units[row]].numpy()
        assert there.std() > 0.5, "states that are all alike would prove nothing"
        np.testing.assert_allclose(ours[row, : units[row]], there, atol=1e-4)


def test_units_are_the_references(reference, tokenizer, sounds, mels):
    """Each by itself there and all together here; 65 s are three windows in both."""
    _, model = reference
    different = set()
    for mel, analysis in zip(mels, tokenizer.analyse(sounds)):
        theirs, length = model.quantize(mel[None], torch.tensor([mel.shape[1]]))
        np.testing.assert_array_equal(analysis.speech.frames, theirs[0, : length[0]])
        different |= set(theirs[0].tolist())
    assert len(different) > 50


@pytest.mark.parametrize("version", PUBLISHED)
def test_names_and_shapes_of_the_full_size_are_the_references(s3tokenizer, version):
    with torch.device("meta"):
        theirs = {name: tuple(tensor.shape) for name, tensor in build(version).state_dict().items()}
    positions = theirs.pop("encoder.positional_embedding", None)
    assert positions == ((1500, 1280) if version.startswith("v1") else None)
    model = nnx.eval_shape(lambda: S3Tokenizer(PUBLISHED[version], rngs=nnx.Rngs(0)))
    assert s3_published.published_shapes(model) == theirs
    tensors = {name: lambda shape=shape: np.broadcast_to(np.float32(0), shape) for name, shape in theirs.items()}
    assert s3_published.config_of(tensors, {}, Path(f"{version}.safetensors")) == PUBLISHED[version]


def test_the_reference_reads_our_made_up_graph_too(reference, s3tokenizer, tmp_path):
    """So its nodes are named as in the published files, as far as the reference looks at them."""
    version, model = reference
    tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    write_onnx(tmp_path / "made_up.onnx", tensors)
    read = s3tokenizer.onnx2torch(str(tmp_path / "made_up.onnx"))
    assert set(read) == set(tensors)
    for name, tensor in read.items():
        np.testing.assert_array_equal(tensor, tensors[name], err_msg=name)
