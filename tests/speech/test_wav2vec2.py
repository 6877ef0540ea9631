"""wav2vec 2.0 against the class of `transformers` with random weights, read from a folder as it is published."""

import json

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from cslm_jax.errors import CslmError
from cslm_jax.speech import wav2vec2_weights
from cslm_jax.speech.wav2vec2_aligner import Wav2Vec2Aligner

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

BUILDS = {
    "base": {},
    "large": {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True, "num_conv_pos_embeddings": 15},
}
VOCABULARY = {"<pad>": 11, "<s>": 1, "|": 4, "E": 5, "T": 6, "'": 7}
ALONE = [4000, 4321, 7999, 400, 9999]
"""Samples; odd lengths, and a single frame."""


def published(folder, build: str):
    """A folder as on the hub; wide weights, so that what is wrong shows."""
    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(
        vocab_size=12, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, pad_token_id=11, attn_implementation="eager",
    )  # fmt: skip
    for name, value in BUILDS[build].items():
        setattr(config, name, value)
    model = transformers.Wav2Vec2ForCTC(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    (folder / "vocab.json").write_text(json.dumps(VOCABULARY))
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True, "sampling_rate": 16000}))
    return model


def reference(model, waveform: np.ndarray) -> np.ndarray:
    """One waveform alone, without padding or mask, as the model card of the base model asks for."""
    normal = (waveform - waveform.mean()) / np.sqrt(waveform.var() + 1e-7)
    with torch.no_grad():
        return torch.log_softmax(model(torch.tensor(normal)[None]).logits, -1)[0].numpy()


@pytest.fixture(scope="module")
def waveforms() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(0.1, 0.2, count).astype(np.float32) for count in ALONE]


@pytest.fixture(scope="module", params=BUILDS)
def pair(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return published(folder, request.param), Wav2Vec2Aligner.load(folder, batch_seconds=2), folder


def test_a_padded_batch_gives_what_the_reference_gives_for_each_alone(pair, waveforms):
    model, aligner, _ = pair
    for waveform, found in zip(waveforms, aligner.log_probs(waveforms), strict=True):
        expected = reference(model, waveform)
        assert found.shape == expected.shape and expected.std() > 0.5
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("pair", ["base"], indirect=True)
def test_several_devices_give_exactly_what_one_gives(pair, waveforms):
    """Five recordings and eight devices: some rows are empty, and their norms have nothing to count."""
    _, aligner, folder = pair
    spread = Wav2Vec2Aligner(*wav2vec2_weights.load(folder), batch_seconds=2, devices=jax.local_devices())
    assert len(jax.local_devices()) == 8
    for several, one in zip(spread.log_probs(waveforms), aligner.log_probs(waveforms), strict=True):
        np.testing.assert_array_equal(several, one)


def test_bfloat16_hears_the_same(pair, waveforms):
    """What accelerators compute in: probabilities within thousandths, and the same labels."""
    _, aligner, folder = pair
    short = Wav2Vec2Aligner(*wav2vec2_weights.load(folder, "bfloat16"), batch_seconds=2)
    ours, theirs = (np.concatenate(one.log_probs(waveforms)) for one in (short, aligner))
    assert ours.dtype == np.float32 and 0 < np.abs(np.exp(ours) - np.exp(theirs)).mean() < 0.002
    assert np.mean(ours.argmax(-1) == theirs.argmax(-1)) > 0.97


@pytest.mark.parametrize("pair", ["base"], indirect=True)
def test_what_is_no_sound_says_why_and_the_others_go_on(pair, waveforms):
    silent, broken, good = pair[1].log_probs([np.zeros(4000, np.float32), np.full(4000, np.nan, np.float32), waveforms[0]])
    assert "is silent" in silent.reason and "NaN" in broken.reason
    np.testing.assert_array_equal(good, pair[1].log_probs(waveforms[:1])[0])


def test_the_alphabet_of_the_folder(pair):
    labels = pair[1].labels
    assert labels.encode("te T'x").tolist() == [6, 5, 4, 6, 7, -1] and labels.blank == 11
    assert pair[1].frame_rate == 50


@pytest.mark.parametrize("pair", ["base"], indirect=True)
def test_weight_norm_by_its_old_name_and_pickles_without_code(pair, waveforms, tmp_path):
    """Checkpoints from before PyTorch 2 say weight_g and weight_v; some folders hold a PyTorch file only."""
    model, aligner, folder = pair
    renamed = {
        name.replace("parametrizations.weight.original0", "weight_g").replace("parametrizations.weight.original1", "weight_v"): t
        for name, t in load_file(folder / "model.safetensors").items()
    }
    assert any(name.endswith("weight_g") for name in renamed)
    for file in ("config.json", "vocab.json"):
        (tmp_path / file).write_text((folder / file).read_text())
    torch.save({name: torch.tensor(tensor) for name, tensor in renamed.items()}, tmp_path / "pytorch_model.bin")
    old = Wav2Vec2Aligner.load(tmp_path, batch_seconds=2)
    np.testing.assert_array_equal(old.log_probs(waveforms[:1])[0], aligner.log_probs(waveforms[:1])[0])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"lm_head.bias": None}, r"model.safetensors.*\n  missing: lm_head.bias \(12,\)"),
        ({"lm_head.more": np.zeros(3)}, r"surplus: lm_head.more \(3,\)"),
        ({"lm_head.weight": np.zeros((13, 32))}, r"lm_head.weight has shape \(13, 32\), not \(12, 32\)"),
        ({"wav2vec2.encoder.layers.1.attention.k_proj.bias": None}, r"missing: .*layers.1.attention.k_proj.bias"),
        ({"wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.original0": np.zeros((1, 1, 9))}, r"\(1, 1, 9\)"),
    ],
)
def test_tensors_that_do_not_fit_are_named_with_both_shapes(tmp_path, change, message):
    published(tmp_path, "base")
    tensors = load_file(tmp_path / "model.safetensors") | change
    kept = {name: np.asarray(tensor, np.float32) for name, tensor in tensors.items() if tensor is not None}
    save_file(kept, tmp_path / "model.safetensors")
    with pytest.raises(CslmError, match=message):
        Wav2Vec2Aligner.load(tmp_path)


@pytest.mark.parametrize(
    "file, content, message",
    [
        ("config.json", {"model_type": "hubert"}, "model_type is 'hubert', not 'wav2vec2'.*no vocab_size"),
        ("vocab.json", {"<pad>": 0, "A": 11}, "vocab.json is no alphabet.*id of its own"),
        ("vocab.json", {"A": 12}, "label 12, and the network 12"),
        ("preprocessor_config.json", {"sampling_rate": 8000}, "sampling_rate is 8000, not 16000"),
        ("model.safetensors", None, "holds neither model.safetensors nor pytorch_model.bin"),
        ("config.json", None, "config.json cannot be read"),
    ],
)
def test_a_folder_that_is_something_else_is_named(tmp_path, file, content, message):
    published(tmp_path, "base")
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_text(json.dumps(content))
    with pytest.raises(CslmError, match=message):
        Wav2Vec2Aligner.load(tmp_path)
