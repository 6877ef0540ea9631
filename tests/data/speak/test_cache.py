"""The cache: what was paid for is found again, and what is damaged is never taken for it."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from cslm_jax.data.speak.cache import Cache
from cslm_jax.data.speak.sound import Sound
from cslm_jax.errors import CslmError

ASKED = {"text": "一只 red dog", "voice": "anna"}
SOUND = Sound(np.arange(-500, 500, dtype=np.int16) * 60, 22050)


def test_what_is_kept_is_found(tmp_path):
    cache = Cache(tmp_path)
    assert cache.find_sound(ASKED) is None and cache.find_text(ASKED) is None
    cache.keep_sound(ASKED, SOUND)
    cache.keep_text(ASKED, "你好\n")
    found = Cache(tmp_path).find_sound({"voice": "anna", "text": "一只 red dog"})  # whatever the order
    np.testing.assert_array_equal(found.samples, SOUND.samples)
    assert found.rate == 22050 and Cache(tmp_path).find_text(ASKED) == "你好\n"
    for other in ({**ASKED, "voice": "bob"}, {**ASKED, "text": "一只 red dog."}):
        assert cache.find_sound(other) is None and cache.find_text(other) is None


def test_a_fresh_sound_is_the_sound_that_will_be_found(tmp_path):
    wave = np.array([0.0, 1e-5, 0.3, -1.0, 1.7], np.float32)
    fresh = Sound.of(wave, 16000, "me")
    Cache(tmp_path).keep_sound(ASKED, fresh)
    np.testing.assert_array_equal(Cache(tmp_path).find_sound(ASKED).waveform, fresh.waveform)
    np.testing.assert_allclose(fresh.waveform, np.clip(wave, -1, 1), atol=2**-15)


@pytest.mark.parametrize("suffix", [".flac", ".json"])
def test_damage_is_noticed(tmp_path, suffix):
    """Every byte that is flipped and every length that is cut: found is what was kept, or nothing."""
    cache = Cache(tmp_path)
    cache.keep_sound(ASKED, SOUND)
    cache.keep_text(ASKED, "the red dog")
    path = cache.path(ASKED, suffix)
    whole = path.read_bytes()
    damaged = [whole[:n] for n in range(0, len(whole), 97)]
    damaged += [whole[:i] + bytes([whole[i] ^ 16]) + whole[i + 1 :] for i in range(0, len(whole), 7)]
    found = 0
    for content in damaged:
        path.write_bytes(content)
        if suffix == ".json":
            found += (text := cache.find_text(ASKED)) is not None
            assert text in (None, "the red dog")
        elif (sound := cache.find_sound(ASKED)) is not None:
            found += 1
            assert sound.rate == SOUND.rate and np.array_equal(sound.samples, SOUND.samples)
    assert found < len(damaged) / 2  # the rest hit what does not matter, such as padding


def test_a_killed_writer_leaves_nothing_that_is_found(tmp_path):
    """SIGKILL between writing and renaming."""
    script = (
        "import os, signal, sys\nfrom cslm_jax.data.speak import cache\n"
        "cache.files.os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "cache.Cache(sys.argv[1]).keep_text({'a': 1}, 'x')"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], env=environment)
    assert done.returncode == -signal.SIGKILL and [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".tmp"]
    cache = Cache(tmp_path)
    assert cache.find_text({"a": 1}) is None
    cache.keep_text({"a": 1}, "x")
    assert cache.find_text({"a": 1}) == "x"


def test_a_folder_that_cannot_be_written_stops_the_work(tmp_path):
    """It is not the fault of a record, which must not be set aside for it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(CslmError, match="cannot be written.*speak.cache") as caught:
        Cache(tmp_path / "file").keep_text(ASKED, "x")
    assert type(caught.value) is CslmError
