"""SenseVoice's network against a plain torch one that reads the published tensors, and against the published class."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file

from cslm_jax.speech.sense_voice import LANGUAGES, SenseVoiceConfig
from cslm_jax.speech.sense_voice_weights import load_published, published_shapes

SMALL = SenseVoiceConfig(mels=6, width=32, heads=2, mlp_width=48, blocks=3, tp_blocks=2, labels=20)


def random_tensors(config):
    """Tensors with the published names, all different, of sizes that a trained network has."""
    rng, tensors = np.random.default_rng(0), {}
    for name, shape in published_shapes(config).items():
        middle = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        tensors[name] = rng.normal(middle, np.prod(shape[1:]) ** -0.5, shape).astype(np.float32)
    return tensors


def torch_log_probs(tensors, config, features, language="zh"):
    """One utterance through the published structure, in torch's own functions."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    w = {name: torch.tensor(tensor) for name, tensor in tensors.items()}
    linear = lambda x, name: F.linear(x, w[name + ".weight"], w[name + ".bias"])
    norm = lambda x, name: F.layer_norm(x, x.shape[-1:], w[name + ".weight"], w[name + ".bias"], eps=1e-5)
    heads = lambda x: x.reshape(len(x), config.heads, -1).transpose(0, 1)

    def block(x, name):
        q, k, v = linear(norm(x, f"{name}.norm1"), f"{name}.self_attn.linear_q_k_v").chunk(3, dim=-1)
        mixed = F.scaled_dot_product_attention(heads(q), heads(k), heads(v)).transpose(0, 1).reshape(len(x), -1)
        kernel = w[f"{name}.self_attn.fsmn_block.weight"]
        memory = v + F.conv1d(v.T, kernel, padding=kernel.shape[-1] // 2, groups=len(kernel)).T
        attended = linear(mixed, f"{name}.self_attn.linear_out") + memory
        x = x + attended if x.shape == attended.shape else attended
        hidden = F.relu(linear(norm(x, f"{name}.norm2"), f"{name}.feed_forward.w_1"))
        return x + linear(hidden, f"{name}.feed_forward.w_2")

    queries = w["embed.weight"][[{"zh": 3, "yue": 7, "ja": 11}[language], 1, 2, 15]]
    x = torch.cat([queries, torch.tensor(features)]) * config.width**0.5
    half = config.inputs // 2
    angles = torch.arange(1, len(x) + 1)[:, None] * 10000 ** (-torch.arange(half) / (half - 1))
    x = block(x + torch.cat([angles.sin(), angles.cos()], dim=1), "encoder.encoders0.0")
    for i in range(config.blocks - 1):
        x = block(x, f"encoder.encoders.{i}")
    x = norm(x, "encoder.after_norm")
    for i in range(config.tp_blocks):
        x = block(x, f"encoder.tp_encoders.{i}")
    return F.log_softmax(linear(norm(x, "encoder.tp_norm"), "ctc.ctc_lo"), dim=-1)[4:].numpy()


def random_features(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def tensors():
    return random_tensors(SMALL)


@pytest.fixture(scope="module")
def run(tensors, tmp_path_factory):
    """The network that holds them, as a function of features, lengths and language."""
    folder = tmp_path_factory.mktemp("small")
    save_file(tensors, folder / "model.safetensors")
    graph, state = nnx.split(load_published(folder, SMALL))
    apply = lambda features, lengths, language: nnx.merge(graph, state)(features, lengths, language)
    jitted = jax.jit(apply, static_argnums=2)
    return lambda features, lengths, language="zh": np.asarray(jitted(features, np.array(lengths), language))


@pytest.mark.parametrize("language", LANGUAGES)
def test_log_probs_are_torchs(run, tensors, language):
    features = random_features(40, SMALL.inputs)
    expected = torch_log_probs(tensors, SMALL, features, language)
    assert np.std(expected, axis=0).min() > 0.1  # not all frames alike
    np.testing.assert_allclose(run(features[None], [40], language)[0], expected, atol=1e-4)


def test_padding_cannot_be_seen(run, tensors):
    """Garbage behind a row's end, and a row that is all garbage, move nothing."""
    features = random_features(3, 40, SMALL.inputs)
    features[1, 23:] = 1000
    out = run(features, [40, 23, 0])
    assert np.all(np.isfinite(out))
    np.testing.assert_allclose(out[0], torch_log_probs(tensors, SMALL, features[0]), atol=1e-4)
    np.testing.assert_allclose(out[1, :23], torch_log_probs(tensors, SMALL, features[1, :23]), atol=1e-4)


def test_the_defaults_are_the_published_sizes():
    """917 tensors and 233,999,167 parameters: torch writes them into a file of 892.92 MiB, the size of the published one."""
    shapes = published_shapes(SenseVoiceConfig())
    assert len(shapes) == 917
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 233_999_167
    assert shapes["encoder.encoders0.0.self_attn.linear_q_k_v.weight"] == (1536, 560)
    assert shapes["encoder.encoders.48.self_attn.fsmn_block.weight"] == (512, 1, 11)
    assert shapes["encoder.tp_encoders.19.feed_forward.w_2.weight"] == (512, 2048)
    assert shapes["embed.weight"] == (16, 560) and shapes["ctc.ctc_lo.weight"] == (25055, 512)


def test_it_is_the_published_class(run, tensors):
    """Names and shapes at full size, log-probabilities of the small one; needs the reference package (funasr, kaldiio)."""
    torch = pytest.importorskip("torch")
    published = pytest.importorskip("funasr.models.sense_voice.model", exc_type=ImportError)

    def build(config):
        encoder = dict(
            output_size=config.width, attention_heads=config.heads, linear_units=config.mlp_width, num_blocks=config.blocks,
            tp_blocks=config.tp_blocks, kernel_size=config.memory, sanm_shfit=0, normalize_before=True,
        )  # fmt: skip
        return published.SenseVoiceSmall(
            encoder="SenseVoiceEncoderSmall", encoder_conf=encoder, vocab_size=config.labels, input_size=config.inputs
        )

    with torch.device("meta"):
        full = build(SenseVoiceConfig()).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in full.items()} == published_shapes(SenseVoiceConfig())

    model = build(SMALL).eval()
    model.load_state_dict({name: torch.tensor(tensor) for name, tensor in tensors.items()})
    features, lengths = random_features(2, 40, SMALL.inputs), np.array([40, 23])
    with torch.no_grad():
        queries = model.embed(torch.tensor([[3, 1, 2, 15]] * 2))
        states, _ = model.encoder(torch.cat([queries, torch.tensor(features)], dim=1), torch.tensor(lengths) + 4)
        expected = model.ctc.log_softmax(states)[:, 4:].numpy()
    for ours, theirs, length in zip(run(features, lengths), expected, lengths):
        np.testing.assert_allclose(ours[:length], theirs[:length], atol=1e-4)


@pytest.mark.parametrize("field, value", [("width", 33), ("heads", 0), ("blocks", 1), ("stacked", 6)])
def test_impossible_sizes_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(SMALL, **{field: value})
