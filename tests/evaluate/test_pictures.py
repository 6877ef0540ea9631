"""Pictures and sounds of the report are whole files inside data URIs."""

import base64
import io
import xml.etree.ElementTree

import matplotlib.image
import numpy as np
import soundfile

from cslm_jax.evaluate import pictures


def content(uri: str, kind: str) -> io.BytesIO:
    head, body = uri.split(",", 1)
    assert head == f"data:{kind};base64"
    return io.BytesIO(base64.b64decode(body))


def test_a_player_holds_the_sound():
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(22050) / 22050).astype(np.float32)
    heard, rate = soundfile.read(content(pictures.player(tone, 22050), "audio/mpeg"))
    assert rate == 22050 and abs(len(heard) / rate - 1) < 0.1
    spectrum = np.abs(np.fft.rfft(heard[2000:18384]))
    assert abs(np.argmax(spectrum) * rate / 16384 - 440) < 5


def test_low_notes_are_at_the_bottom_of_a_spectrogram():
    tone = np.sin(2 * np.pi * 200 * np.arange(22050) / 22050).astype(np.float32)
    image = matplotlib.image.imread(content(pictures.spectrogram(tone, 22050), "image/png"))[..., :3].sum(-1)
    assert image[-20:].mean() > 2 * image[:20].mean()


def test_very_short_sound_has_a_spectrogram_too():
    assert content(pictures.spectrogram(np.ones(100, np.float32), 22050), "image/png").read()


def test_equal_units_have_equal_colours():
    strip = matplotlib.image.imread(content(pictures.unit_strip([3, 3, 9, 3], 16), "image/png"))[0]
    assert (strip[0] == strip[1]).all() and (strip[0] == strip[3]).all() and (strip[0] != strip[2]).any()


def test_loss_curves_with_and_without_tasks():
    lines = [{"step": i, "loss": 1 / (i + 1), "loss/asr_en": 2 / (i + 1)} for i in range(30)]
    lines[3].pop("loss/asr_en")
    for history in (lines, [{"step": 0, "loss": 1.0}], [{"step": i, "loss": i - 2.0} for i in range(5)]):
        xml.etree.ElementTree.parse(content(pictures.loss_curve(history), "image/svg+xml"))


def test_smoothing_keeps_the_level_of_a_curve():
    noise = np.random.default_rng(0).normal(2.0, 0.1, 1000)
    smooth = pictures._smooth(noise)
    assert len(smooth) == 1000 and np.abs(smooth - 2).max() < 0.1 and smooth.std() < 0.03
