"""Protects the speech decoder: alignment of units and mel, padding, training, files, and its complaints."""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from cslm_jax.errors import BadRecord, CslmError
from cslm_jax.speech import audio
from cslm_jax.speech.decoder import DecoderConfig, MelDecoder, train
from cslm_jax.speech.duration import DurationConfig, predict_run_lengths
from cslm_jax.speech.fit import FitConfig
from cslm_jax.speech.griffin_lim import GriffinLimConfig
from cslm_jax.speech.mel_decoder import MelConfig, MelNet, mel_batches, mels, regulate
from cslm_jax.speech.units import Speech

MEL = MelConfig(codes=4, unit_width=32, unit_blocks=1, mel_width=32, mel_blocks=1)
CONFIG = DecoderConfig(
    duration=DurationConfig(codes=4, width=16, dropout=0.0),
    mel=MEL,
    duration_fit=FitConfig(steps=40, learning_rate=1e-2),
    mel_fit=FitConfig(steps=60, learning_rate=1e-2),
    mel_rows=4,
    window=32,
)
PITCHES = np.array([300.0, 700.0, 1500.0, 3000.0])


def utterance(seed):
    """Unit u sounds as a tone of PITCHES[u]."""
    rng = np.random.default_rng(seed)
    speech = Speech.from_frames(np.repeat(rng.integers(0, 4, 12), rng.integers(3, 6, 12)))
    phase = 2 * np.pi * np.cumsum(np.repeat(PITCHES[speech.frames], 882)) / 22050
    return speech, (0.3 * np.sin(phase)).astype(np.float32)


@pytest.fixture(scope="module")
def trained():
    return train(CONFIG, [utterance(seed) for seed in range(20)])


def test_mel_frames_follow_cosyvoice():
    assert [MelConfig().mel_frames(n) for n in range(300)] == [int(n / 25 * 22050 / 256) for n in range(300)]


def test_regulation_is_linear_interpolation_held_at_the_end():
    x = np.random.default_rng(0).standard_normal((2, 10, 3)).astype(np.float32)
    lengths, ratio = np.array([10, 6]), MelConfig().units_per_mel_frame
    out = np.asarray(regulate(x, jnp.asarray(lengths), 34, ratio))
    for row, length in enumerate(lengths):
        for channel in range(3):
            expected = np.interp((np.arange(34) + 0.5) * ratio, np.arange(length), x[row, :length, channel])
            np.testing.assert_allclose(out[row, :, channel], expected, atol=1e-5)


def test_padding_changes_no_mel():
    """The trap of a norm over time: a bucketed run must equal the unpadded one."""
    net = MelNet(dataclasses.replace(MEL, unit_blocks=2, mel_blocks=2), rngs=nnx.Rngs(0))
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 4, size) for size in (1, 33)]
    for row, mel in zip(rows, mels(net, rows)):
        alone = np.asarray(net(row[None], np.array([len(row)])))[0]
        assert mel.shape == alone.shape == (MEL.mel_frames(len(row)), 80)
        np.testing.assert_allclose(mel, alone, atol=2e-5)


def test_batches_hold_the_sound_of_their_units():
    batches = mel_batches(MEL, [utterance(seed) for seed in range(3)], rows=4, window=16)
    batch = batches(5)
    assert all(np.array_equal(batch[name], batches(5)[name]) for name in batch)
    for frames, waveform, length in zip(batch["frames"], batch["waveform"], batch["lengths"]):
        crossings = np.diff(np.signbit(waveform).reshape(16, 882)[:length].astype(int), axis=1) != 0
        np.testing.assert_allclose(crossings.sum(1) / 2 * 25, PITCHES[frames[:length]], atol=30)


def test_it_learns_to_sound_like_the_voice(trained):
    speech, _ = utterance(99)
    sound = trained.decode(speech.units, speech.run_lengths)
    assert len(sound) == MEL.mel_frames(len(speech.frames)) * 256
    ends = np.cumsum(speech.run_lengths) * 882
    for unit, start, end in zip(speech.units, np.r_[0, ends[:-1]], ends):
        middle = sound[start + 500 : min(end, len(sound)) - 500]
        spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
        heard = np.argmax(spectrum) * 22050 / len(middle)
        assert abs(heard - PITCHES[unit]) < 60


def test_it_predicts_the_run_lengths_it_is_not_given(trained):
    units = utterance(98)[0].units
    predicted = predict_run_lengths(trained.duration, [units])[0]
    assert np.array_equal(trained.decode(units), trained.decode(units, predicted))
    assert predicted.min() >= 2 and predicted.max() <= 9


def test_a_batch_is_single_runs_and_nothing_is_nothing(trained):
    speeches = [utterance(seed)[0] for seed in (1, 2)] + [Speech(np.array([2]), np.array([1]))]
    sounds = trained.decode_batch([s.units for s in speeches], [s.run_lengths for s in speeches])
    for speech, sound in zip(speeches, sounds):
        alone = trained.decode(speech.units, speech.run_lengths)
        mel, mel_alone = (np.asarray(audio.vocoder_mel(np.pad(x, (0, 1024)))) for x in (sound, alone))
        assert np.mean(np.abs(mel - mel_alone)) < 0.02
    assert trained.decode_batch([]) == []
    assert trained.decode(np.zeros(0, np.int32)).shape == (0,)


def test_it_survives_a_round_trip_through_files(trained, tmp_path):
    trained.save(tmp_path)
    loaded = MelDecoder.load(tmp_path)
    units = np.array([0, 1, 2, 3], np.int32)
    assert np.array_equal(loaded.decode(units), trained.decode(units))
    assert not list(tmp_path.glob("*.tmp"))


def test_missing_or_foreign_files_are_named(trained, tmp_path):
    with pytest.raises(CslmError, match="cslm decoder"):
        MelDecoder.load(tmp_path)
    trained.save(tmp_path)
    path = tmp_path / "mel.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CslmError, match="mel.safetensors cannot be read"):
        MelDecoder.load(tmp_path)
    other = dataclasses.replace(CONFIG, mel=dataclasses.replace(MEL, mel_width=16))
    MelDecoder(other).save(tmp_path / "other")
    (tmp_path / "other" / "mel.safetensors").rename(path)
    with pytest.raises(CslmError, match="mel.safetensors does not fit"):
        MelDecoder.load(tmp_path)


@pytest.mark.parametrize("content", ["", "null", '{"duration": {}, "mel": {}}'])
def test_a_damaged_description_is_named(trained, tmp_path, content):
    trained.save(tmp_path)
    (tmp_path / "decoder.json").write_text(content)
    with pytest.raises(CslmError, match="decoder.json is damaged or of another version"):
        MelDecoder.load(tmp_path)


def test_what_was_trained_otherwise_is_refused_by_name(tmp_path):
    short = FitConfig(steps=1)
    config = dataclasses.replace(CONFIG, duration_fit=short, mel_fit=short)
    utterances = [utterance(seed) for seed in range(3)]
    train(config, utterances, tmp_path)
    train(dataclasses.replace(config, griffin_lim=GriffinLimConfig(phase_steps=7)), utterances, tmp_path)
    for changed in ({"duration_rows": 16}, {"mel_rows": 8}, {"utterances": 7}):
        ((name, value),) = changed.items()
        with pytest.raises(CslmError, match=f"was made with {name} = {getattr(config, name)}, not {value} "):
            train(dataclasses.replace(config, **changed), utterances, tmp_path)
    with pytest.raises(CslmError, match="was made with frames = "):
        train(config, utterances[::-1], tmp_path)


def test_a_unit_outside_the_codes_is_named(trained):
    with pytest.raises(BadRecord, match="unit 4 is outside .* 0 to 3"):
        trained.decode(np.array([1, 4]))
    with pytest.raises(BadRecord, match="unit 7"):
        train(CONFIG, [(Speech(np.array([1, 7, 1]), np.ones(3, np.int32)), np.zeros(2646, np.float32))])


@pytest.mark.parametrize(
    "make, field",
    [
        (functools.partial(MelConfig, kernel=2), "mel.kernel"),
        (functools.partial(MelConfig, mel_width=0), "mel.mel_width"),
        (functools.partial(DecoderConfig, mel=MelConfig(codes=8)), "mel.codes"),
        (functools.partial(DecoderConfig, window=0), "window"),
    ],
)
def test_impossible_configs_name_the_field(make, field):
    with pytest.raises(ValueError, match=field):
        make()
