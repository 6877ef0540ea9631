"""The trained tokenizer: units that depend on nothing but the sound, files that load again, training that learns."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from cslm_jax.errors import BadRecord, CslmError
from cslm_jax.speech import audio, ctc
from cslm_jax.speech.fit import FitConfig
from cslm_jax.speech.s3_config import S3Config
from cslm_jax.speech.s3_training import Batches, TokenizerConfig
from cslm_jax.speech.tokenizer import SpeechTokenizer, new_model, train

MODEL = S3Config(mels=40, width=32, heads=2, layers=1, codes=64, recogniser_layers=1, memory=5, position_scale=0.1)
LABELS = ctc.Labels(tuple(" abc红"))
TONES = {"a": 300, "b": 700, "c": 1500, "红": 3000}


def speak_tones(text, rng):
    """A toy language: each character is a tone of 0.12 to 0.2 s, parted by short silences."""
    parts = []
    for character in text:
        time = np.arange(int(16000 * rng.uniform(0.12, 0.2))) / 16000
        parts += [np.zeros(800), rng.uniform(0.2, 0.5) * np.sin(2 * np.pi * TONES[character] * time)]
    return (np.concatenate([*parts, np.zeros(800)]) + 0.003 * rng.normal(size=1)).astype(np.float32)


def toy_corpus(count, seed=0):
    rng = np.random.default_rng(seed)
    texts = ["".join(rng.choice(list(TONES), rng.integers(3, 8))) for _ in range(count)]
    return [speak_tones(text, rng) for text in texts], texts


@pytest.fixture(scope="module")
def waveforms():
    """Utterances of 60 to 200 frames, among them neighbours of a bucket's edge (128 frames)."""
    rng = np.random.default_rng(5)
    odd = [0.1 * rng.normal(size=n).astype(np.float32) for n in (1600, 20479, 20480, 20481, 20640, 30_000)]
    return toy_corpus(12)[0] + odd


@pytest.fixture(scope="module")
def tokenizer(waveforms):
    """Random weights and a codebook filled with encoder states: with a random codebook all units would be equal."""
    model = new_model(MODEL, LABELS)
    padded, lengths = audio.pad_waveforms(waveforms[-3:], 192)
    encode = jax.jit(lambda padded, lengths: model.encoder(audio.log_mel_batch(padded, lengths, 40), lengths))
    states = encode(padded, lengths)[:, :32].reshape(-1, 32)
    model.quantizer.center[...] = states.mean(0)
    model.quantizer.embed[...] = model.quantizer.normalise(states)[:64]
    return SpeechTokenizer(model, LABELS, batch_seconds=10)


def test_a_batch_gives_exactly_the_units_of_single_runs(tokenizer, waveforms):
    together = tokenizer.analyse(waveforms)
    assert len(set(np.concatenate([analysis.speech.units for analysis in together]).tolist())) > 20
    shuffled = np.random.default_rng(0).permutation(len(waveforms))
    mixed = dict(zip(shuffled, tokenizer.analyse([waveforms[i] for i in shuffled])))
    for i, waveform in enumerate(waveforms):
        (alone,) = tokenizer.analyse([waveform])
        for other in (together[i], mixed[i]):
            assert alone.speech == other.speech
            np.testing.assert_array_equal(alone.log_probs, other.log_probs)


def test_several_devices_give_exactly_the_units_of_one(tokenizer, waveforms):
    """Their rows are computed in the same shape; 18 utterances and 8 devices leave some without work."""
    assert len(jax.local_devices()) == 8
    spread = SpeechTokenizer(tokenizer.model, LABELS, batch_seconds=10, devices=jax.local_devices())
    for one, several in zip(tokenizer.analyse(waveforms), spread.analyse(waveforms), strict=True):
        assert one.speech == several.speech
        np.testing.assert_array_equal(one.log_probs, several.log_probs)


def test_long_sound_is_heard_in_windows(tokenizer, waveforms):
    """11 s in two windows of 8 s, with the log-mel of the whole: the end is loud, and sets the floor of the beginning."""
    model = new_model(dataclasses.replace(MODEL, window_seconds=8), LABELS)
    nnx.update(model, nnx.state(tokenizer.model))
    heard = SpeechTokenizer(model, LABELS, 10)
    long = np.concatenate([0.001 * np.resize(waveforms[-1], 144_000), np.resize(waveforms[1], 32_000)])
    (alone,), beside = heard.analyse([long]), heard.analyse([waveforms[2], long])[1]
    mel, run = audio.log_mel(long, 40), jax.jit(tokenizer.model)
    (_, first), (_, second) = run(mel[None, :800], jnp.array([800])), run(mel[None, 400:], jnp.array([700]))
    np.testing.assert_allclose(alone.log_probs, np.concatenate([first[0, :150], second[0, 50:]]), atol=1e-4)
    assert alone.speech == beside.speech and alone.speech.run_lengths.sum() == 275


def test_units_are_those_of_the_plain_model(tokenizer, waveforms):
    """No padding, no batch: the module applied to one utterance."""
    mel = audio.log_mel(waveforms[0], 40)[None]
    units, log_probs = jax.jit(tokenizer.model)(mel, jnp.array([mel.shape[1]]))
    (analysis,) = tokenizer.analyse(waveforms[:1])
    np.testing.assert_array_equal(analysis.speech.frames, units[0])
    np.testing.assert_allclose(analysis.log_probs, log_probs[0], atol=1e-4)


def test_units_are_merged_and_timed(tokenizer, waveforms):
    for waveform, analysis in zip(waveforms, tokenizer.analyse(waveforms)):
        assert np.all(np.diff(analysis.speech.units) != 0)
        assert analysis.speech.run_lengths.sum() == len(analysis.log_probs) == MODEL.units(len(waveform) // 160)
        assert analysis.speech.seconds == pytest.approx(len(waveform) / 16000, abs=0.05)


def test_no_waveforms_give_no_units(tokenizer):
    assert tokenizer.analyse([]) == [] and tokenizer.transcribe([]) == []


@pytest.mark.parametrize("bad", [np.zeros(0), np.zeros(16000), np.full(16000, np.nan), np.ones((2, 16000)), np.ones(100)])
def test_bad_waveforms_are_named(tokenizer, waveforms, bad):
    with pytest.raises(BadRecord, match="waveform 1 "):
        tokenizer.analyse([waveforms[0], bad.astype(np.float32)])


def test_a_waveform_of_more_units_than_there_are_positions_is_named(waveforms):
    short = SpeechTokenizer(new_model(dataclasses.replace(MODEL, max_frames=40), LABELS), LABELS)
    assert [len(analysis.log_probs) for analysis in short.analyse([np.resize(waveforms[-1], 40 * 640)])] == [40]
    with pytest.raises(BadRecord, match=r"waveform 0 has 47 units, .* at most 40 at once \(1.88 s and 1.60 s\)"):
        short.analyse(waveforms[-1:])


def test_thirty_seconds_at_fifty_hertz(waveforms):
    """Their bucket has more units than there are positions, and 1,500 units have to come out."""
    fast = SpeechTokenizer(new_model(dataclasses.replace(MODEL, unit_rate=50), LABELS), LABELS)
    (analysis,) = fast.analyse([np.resize(waveforms[-1], 30 * 16000)])
    assert len(analysis.log_probs) == 1500


def test_saved_tokenizer_is_the_same(tokenizer, waveforms, tmp_path):
    tokenizer.save(tmp_path)
    loaded = SpeechTokenizer.load(tmp_path, batch_seconds=10)
    assert loaded.labels == LABELS and loaded.config == MODEL
    for a, b in zip(tokenizer.analyse(waveforms[:5]), loaded.analyse(waveforms[:5])):
        assert a.speech == b.speech
        np.testing.assert_array_equal(a.log_probs, b.log_probs)


def test_a_directory_without_tokenizer_is_named(tmp_path):
    with pytest.raises(CslmError, match="holds no speech tokenizer"):
        SpeechTokenizer.load(tmp_path)


def test_weights_that_do_not_fit_their_description_are_refused(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    described = json.loads((tmp_path / "tokenizer.json").read_text())
    described["model"]["codes"] = 32
    (tmp_path / "tokenizer.json").write_text(json.dumps(described))
    with pytest.raises(CslmError, match="does not fit"):
        SpeechTokenizer.load(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"model": {}}', '{"model": {"wings": 2}, "characters": "ab"}', "\udcff"])
def test_a_damaged_description_is_named(tokenizer, tmp_path, content):
    tokenizer.save(tmp_path)
    (tmp_path / "tokenizer.json").write_text(content, errors="surrogateescape")
    with pytest.raises(CslmError, match="tokenizer.json is damaged or of another version"):
        SpeechTokenizer.load(tmp_path)


CONFIG = TokenizerConfig(
    model=MODEL, fit=FitConfig(steps=250, learning_rate=5e-3, checkpoint_every=100), batch_seconds=16, buckets=1, mask_share=0.0
)


def test_training_learns_to_read_unseen_utterances(tmp_path):
    waveforms, texts = toy_corpus(150)
    tokenizer = train(CONFIG, waveforms, texts, tmp_path)
    unseen, expected = toy_corpus(20, seed=1)
    heard = tokenizer.transcribe(unseen)
    right = sum(a == b for a, b in zip(heard, expected))
    assert right >= 16, list(zip(heard, expected))
    again = train(CONFIG, waveforms, texts, tmp_path)
    assert again.transcribe(unseen) == heard
    with pytest.raises(CslmError, match="was made with steadiness = 0.3, not 0.6"):
        train(dataclasses.replace(CONFIG, steadiness=0.6), waveforms, texts, tmp_path)
    with pytest.raises(CslmError, match="was made with texts = "):
        train(CONFIG, waveforms, [texts[1], texts[0], *texts[2:]], tmp_path)


def test_an_epoch_visits_every_utterance():
    waveforms, texts = toy_corpus(37)
    batches = Batches(waveforms, texts, LABELS, dataclasses.replace(CONFIG, buckets=3, batch_seconds=5))
    for epoch in (0, 1):
        visited = np.concatenate([rows for _, rows in batches.epoch(epoch)])
        assert set(visited.tolist()) == set(range(37))
    first, again = batches(3), Batches(waveforms, texts, LABELS, batches.config)(3)
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])


def test_utterances_with_more_text_than_units_are_left_out(caplog):
    waveforms, texts = toy_corpus(5)
    texts[2] = "abc" * 40
    batches = Batches(waveforms, texts, LABELS, CONFIG)
    assert "1 of 5 utterances" in caplog.text
    assert 2 not in np.concatenate([rows for _, rows in batches.epoch(0)])


HEADLESS = S3Config(recogniser_layers=None)


@pytest.mark.parametrize(
    "field, value", [("batch_seconds", 0), ("quantise_from", 1.0), ("codebook_decay", 1.0), ("model", HEADLESS)]
)
def test_impossible_settings_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        TokenizerConfig(**{field: value})
