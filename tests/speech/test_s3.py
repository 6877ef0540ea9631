"""The tokenizer's network: published structure, padding that cannot be seen, a codebook that learns."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from cslm_jax.model.rope import rotation
from cslm_jax.speech.s3 import Downsample, Encoder, S3Tokenizer, positions
from cslm_jax.speech.s3_config import S3Config

SMALL = S3Config(mels=20, width=32, heads=2, layers=2, codes=16, recogniser_layers=1)


def small_model(**changes):
    return S3Tokenizer(dataclasses.replace(SMALL, **changes), labels=7, rngs=nnx.Rngs(0))


def random_mel(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape).astype(np.float32))


def test_the_defaults_are_the_published_sizes():
    """123.47M parameters and a codebook of 5.24M (S3 tokenizer version 1)."""
    model = nnx.eval_shape(lambda: S3Tokenizer(S3Config(recogniser_layers=0), labels=2, rngs=nnx.Rngs(0)))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model.encoder, nnx.Param)))
    assert round(parameters / 1e6, 2) == 123.47
    assert model.quantizer.embed.get_raw_value().size == 4096 * 1280


@pytest.mark.parametrize(
    "rate, frames, units", [(25, 100, 25), (25, 101, 26), (25, 103, 26), (25, 300, 75), (50, 100, 50), (50, 101, 51)]
)
def test_units_are_the_quotient_rounded_up(rate, frames, units):
    config = dataclasses.replace(SMALL, unit_rate=rate)
    assert config.units(frames) == units
    run = lambda mel: Encoder(config, rngs=nnx.Rngs(0))(mel, jnp.array([frames]))
    assert jax.eval_shape(run, random_mel(1, frames, 20)).shape == (1, units, 32)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("frames", [9, 10])
def test_downsampling_is_a_convolution(stride, frames):
    layer = Downsample(5, 8, stride, rngs=nnx.Rngs(0))
    x = random_mel(2, frames, 5)
    expected = jax.lax.conv_general_dilated(x, layer.kernel[...], (stride,), [(1, 1)], dimension_numbers=("NTC", "TIO", "NTC"))
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


def test_encoder_is_torchs():
    """One block of Whisper's encoder, written with torch's own layers."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    encoder = Encoder(dataclasses.replace(SMALL, layers=1), rngs=nnx.Rngs(3))
    w = jax.tree.map(lambda x: torch.tensor(np.asarray(x)), nnx.to_pure_dict(nnx.state(encoder)))
    linear = lambda x, p: F.linear(x, p["kernel"].T, p.get("bias"))
    norm = lambda x, p: F.layer_norm(x, (32,), p["scale"], p["bias"], eps=1e-5)
    conv = lambda x, p: F.conv1d(x, p["kernel"].permute(2, 1, 0), p["bias"], stride=2, padding=1)

    mel = random_mel(2, 50, 20)
    x = torch.tensor(np.asarray(mel)).transpose(1, 2)
    x = F.gelu(conv(F.gelu(conv(x, w["conv1"])), w["conv2"])).transpose(1, 2)
    x = x + torch.tensor(positions(13, 32))
    block = w["blocks"][0]
    heads = lambda y: y.reshape(2, 13, 2, 16).transpose(1, 2)
    y = norm(x, block["attn_ln"])
    q, k, v = (heads(linear(y, block["attn"][name])) for name in ("query", "key", "value"))
    x = x + linear(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(2, 13, 32), block["attn"]["out"])
    x = x + linear(F.gelu(linear(norm(x, block["mlp_ln"]), block["mlp_in"])), block["mlp_out"])

    np.testing.assert_allclose(jax.jit(encoder)(mel, jnp.array([50, 50])), x.numpy(), atol=2e-5)


@pytest.mark.parametrize("memory", [0, 5])
def test_padding_cannot_be_seen(memory):
    model = small_model(memory=memory)
    run = jax.jit(model)
    mel = random_mel(1, 61, 20)
    garbage = jnp.concatenate([mel, 100 + random_mel(1, 35, 20)], axis=1)
    alone_units, alone = run(mel, jnp.array([61]))
    padded_units, padded = run(garbage, jnp.array([61]))
    np.testing.assert_allclose(padded[:, :16], alone, atol=1e-5)
    np.testing.assert_array_equal(padded_units[:, :16], alone_units)


def test_memory_is_a_depthwise_convolution_beside_the_attention():
    attention = small_model(memory=5).encoder.blocks[0].attn
    x = random_mel(1, 12, 32)
    kernel = attention.memory.kernel[...]
    convolved = jax.lax.conv_general_dilated(
        x, kernel[:, None], (1,), [(2, 2)], dimension_numbers=("NTC", "TIO", "NTC"), feature_group_count=32
    )
    np.testing.assert_allclose(attention.memory(x), x + convolved, atol=1e-5)


def test_codes_are_the_nearest_entries():
    model, states = small_model(), random_mel(2, 9, 32)
    normal = np.asarray(states / jnp.linalg.norm(states, axis=-1, keepdims=True))
    distance = np.square(normal[:, :, None] - np.asarray(model.quantizer.embed[...])).sum(-1)
    np.testing.assert_array_equal(model.quantizer.codes(states), distance.argmin(-1))


def test_gradients_pass_the_quantiser_straight():
    model, states = small_model(), random_mel(1, 4, 32)
    codes = model.quantizer.codes(states)
    entries, _ = model.quantizer.through(states, codes)
    np.testing.assert_allclose(entries, model.quantizer.lookup(codes), atol=1e-6)
    gradient = jax.grad(lambda s: jnp.sum(jnp.sin(model.quantizer.through(s, codes)[0])))(states)
    assert np.all(np.linalg.norm(gradient, axis=-1) > 0)


def test_the_codebook_finds_the_clusters():
    """From random entries, most of them dead, every one of eight clusters gets entries of its own, close to it."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(8, 32))
    graph, state = nnx.split(small_model())

    @jax.jit
    def learn(state, states, key):
        model = nnx.merge(graph, state, copy=True)
        model.quantizer.learn(states, model.quantizer.codes(states), jnp.ones(states.shape[:2], bool), key, 0.9)
        return nnx.state(model)

    for step in range(200):
        states = centres[rng.integers(8, size=(4, 64))] + 0.1 * rng.normal(size=(4, 64, 32))
        state = learn(state, jnp.asarray(states, jnp.float32), jax.random.key(step))
    quantizer = nnx.merge(graph, state).quantizer
    units = quantizer.codes(jnp.asarray(centres[None], jnp.float32))
    assert len(set(np.asarray(units[0]).tolist())) == 8
    cosines = jnp.sum(quantizer.lookup(units) * quantizer.normalise(jnp.asarray(centres[None])), axis=-1)
    assert jnp.min(cosines) > 0.98
    np.testing.assert_allclose(quantizer.center[...], centres.mean(0), atol=0.3)


def test_padding_does_not_move_the_codebook():
    models, states = [small_model(), small_model()], random_mel(1, 10, 32)
    for model, garbage in zip(models, (0.0, 7.0)):
        padded = jnp.concatenate([states, jnp.full((1, 6, 32), garbage)], axis=1)
        present = jnp.arange(16)[None] < 10
        model.quantizer.learn(padded, model.quantizer.codes(padded), present, jax.random.key(0), 0.9)
    np.testing.assert_array_equal(models[0].quantizer.embed[...], models[1].quantizer.embed[...])


def test_finite_scalar_units_count_rounded_channels_in_base_3():
    model = small_fsq()
    states = random_mel(3, 10, 32) * 3
    project = model.quantizer.project
    channels = np.tanh(np.asarray(states) @ np.asarray(project.kernel[...]) + np.asarray(project.bias[...]))
    expected = sum(3**i * (np.round(0.999 * channels[..., i]).astype(int) + 1) for i in range(4))
    codes = model.quantizer.codes(states)
    assert codes.dtype == jnp.int32 and len(set(codes.ravel().tolist())) > 15
    np.testing.assert_array_equal(codes, expected)


def small_fsq():
    return S3Tokenizer(
        dataclasses.replace(SMALL, quantiser="fsq", codes=81, positions="rotary", recogniser_layers=None), rngs=nnx.Rngs(0)
    )


def test_rotary_attention_sees_distances_not_places():
    """Nothing is added to the input, and a stretch of speech sounds alike wherever it stands: here behind masked units."""
    model = small_fsq()
    block, present = model.encoder.blocks[0], jnp.arange(20)[None] >= 12
    x = random_mel(1, 20, 32)
    turn = lambda frames: rotation(jnp.arange(frames)[None], 16, 10000.0, None, jnp.float32)
    late = block(x, present, turn(20))[:, 12:]
    np.testing.assert_allclose(block(x[:, 12:], present[:, 12:], turn(8)), late, atol=1e-5)
    assert np.abs(block(x[:, 12:], present[:, 12:]) - late).max() > 1e-3


@pytest.mark.parametrize("labels, layers", [(None, 1), (7, None)])
def test_a_recogniser_and_its_labels_come_together(labels, layers):
    with pytest.raises(ValueError, match="recogniser_layers"):
        S3Tokenizer(dataclasses.replace(SMALL, recogniser_layers=layers), labels, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    "field, value",
    [
        ("quantiser", "fsq"),
        ("positions", "learnt"),
        ("dtype", "float16"),
        ("window_seconds", 4),
        ("window_seconds", 61),
        ("width", 33),
        ("heads", 3),
        ("codes", 0),
        ("unit_rate", 40),
        ("recogniser_layers", -1),
    ],
)
def test_impossible_sizes_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(SMALL, **{field: value})
