"""SenseVoice's input: Kaldi's filterbank, stacked frames, and what sound each of them hears."""

import numpy as np
import pytest

from cslm_jax.errors import CslmError
from cslm_jax.speech.sense_voice_features import Normalisation, fbank, stack


def noise(samples, seed=0):
    return (0.1 * np.random.default_rng(seed).normal(size=samples)).astype(np.float32)


def plain_fbank(waveform, mels=80):
    """Kaldi's formulas, in double precision."""
    mel = lambda hertz: 1127 * np.log(1 + hertz / 700)
    edges = np.linspace(mel(20), mel(8000), mels + 2)
    bins = mel(np.arange(256) * 16000 / 512)[:, None]
    rising, falling = (bins - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - bins) / np.diff(edges)[1:]
    bank = np.maximum(np.minimum(rising, falling), 0)
    hamming = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(400) / 399)
    frames = []
    for start in range(0, len(waveform) - 399, 160):
        frame = waveform[start : start + 400].astype(np.float64) * 32768
        frame -= frame.mean()
        frame -= 0.97 * np.concatenate([frame[:1], frame[:-1]])
        power = np.square(np.abs(np.fft.rfft(frame * hamming, 512)))[:256]
        frames.append(np.log(np.maximum(power @ bank, np.finfo(np.float32).eps)))
    return np.array(frames)


@pytest.mark.parametrize("samples", [1600, 16159, 16160])
def test_the_filterbank_is_kaldis(samples):
    waveform = noise(samples)
    ours = fbank(waveform)
    assert ours.shape == ((samples - 400) // 160 + 1, 80)
    np.testing.assert_allclose(ours, plain_fbank(waveform), atol=2e-3)
    np.testing.assert_array_equal(fbank(waveform), ours)  # no dither


def test_silence_has_a_floor():
    np.testing.assert_allclose(fbank(np.zeros(800, np.float32)), np.log(np.finfo(np.float32).eps), atol=1e-4)


def test_every_sixth_frame_with_three_neighbours_and_the_outermost_repeated():
    stacked = stack(np.arange(14)[:, None])
    np.testing.assert_array_equal(stacked, [[0, 0, 0, 0, 1, 2, 3], [3, 4, 5, 6, 7, 8, 9], [9, 10, 11, 12, 13, 13, 13]])
    assert [len(stack(np.zeros((frames, 1)))) for frames in (1, 6, 7, 12, 13)] == [1, 1, 2, 2, 3]
    np.testing.assert_array_equal(
        stack(np.array([[1, 2], [3, 4]]), stacked=3, stride=1), [[1, 2, 1, 2, 3, 4], [1, 2, 3, 4, 3, 4]]
    )


def test_a_frame_hears_85_ms_with_the_middle_at_12_and_a_half():
    """What the documented times rest on: frame t hears 60 t - 30 to 60 t + 55 ms and nothing else."""
    waveform, t = noise(16000), 5
    first, last = (60 * t - 30) * 16, (60 * t + 55) * 16  # samples
    hear = lambda changed: stack(fbank(changed))[t]
    outside = noise(16000, seed=1)
    outside[first:last] = waveform[first:last]
    np.testing.assert_array_equal(hear(outside), hear(waveform))
    for sample in (first + 5, last - 5):
        inside = waveform.copy()
        inside[sample] += 1
        assert np.any(hear(inside) != hear(waveform))


MVN = """<Nnet>
<Splice> 3 3
[ 0 ]
<AddShift> 3 3
<LearnRateCoef> 0 [ -1 -2.5 4e1 ]
<Rescale> 3 3
<LearnRateCoef> 0 [ 2 0.5 1 ]
</Nnet>
"""


def test_normalisation_shifts_then_scales(tmp_path):
    """The file begins with a list of its own, `[ 0 ]`: whoever takes the first two lists shifts by it."""
    (tmp_path / "am.mvn").write_text(MVN)
    normalise = Normalisation.load(tmp_path / "am.mvn", 3)
    np.testing.assert_array_equal(normalise(np.array([[1, 2, 3], [5, 2.5, -40]], np.float32)), [[0, -0.25, 43], [8, 0, 0]])


@pytest.mark.parametrize(
    "text, reason",
    [
        (None, "No such file"),
        (MVN.replace("<Rescale>", "<Other>"), "no <Rescale> layer"),
        (MVN.replace("-2.5", ""), "<AddShift> layer has 2 numbers, not 3"),
        (MVN.replace("-2.5", "x"), "could not convert"),
        (MVN[:60], "no <AddShift> layer"),
    ],
)
def test_a_damaged_file_of_statistics_is_named(tmp_path, text, reason):
    if text is not None:
        (tmp_path / "am.mvn").write_text(text)
    with pytest.raises(CslmError, match=rf"am.mvn cannot be read \(.*{reason}.*download it again"):
        Normalisation.load(tmp_path / "am.mvn", 3)
