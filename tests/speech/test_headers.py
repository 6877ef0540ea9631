"""Headers that cannot be true, and files that end before their time."""

import re
import struct

import numpy as np
import pytest
import soundfile

from cslm_jax.errors import BadRecord
from cslm_jax.speech import audio, headers

FORMAT = 20  # where the fields of the format chunk begin in a plain WAV


@pytest.fixture
def wav(tmp_path):
    """Function of changes (offset in the format chunk, struct code, value): a WAV file with that header."""
    noise = np.random.default_rng(0).normal(0, 0.1, 16000)

    def make(*changes, path=tmp_path / "a.wav", **options):
        soundfile.write(path, noise, 16000, **options)
        content = bytearray(path.read_bytes())
        for offset, code, value in changes:
            struct.pack_into(code, content, FORMAT + offset, value)
        path.write_bytes(content)
        return path

    return make


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ([(4, "<I", 48000)], "48000 Hz times 2 bytes are not 32000 bytes a second"),
        ([(8, "<I", 96000)], "16000 Hz times 2 bytes are not 96000 bytes a second"),
        ([(2, "<H", 2)], "2 channels of 16 bits are not 2 bytes"),
        ([(14, "<H", 24)], "1 channels of 24 bits are not 2 bytes"),
        ([(12, "<H", 4)], "1 channels of 16 bits are not 4 bytes"),
    ],
)
def test_fields_that_contradict_each_other_are_named(wav, changes, says):
    with pytest.raises(BadRecord, match=f"a.wav has a header that contradicts itself: {says}") as caught:
        audio.load(wav(*changes))
    assert caught.value.stage == "audio"


@pytest.mark.parametrize(
    ("options", "suffix"),
    [
        ({"subtype": "PCM_24"}, "wav"), ({"subtype": "FLOAT"}, "wav"), ({"subtype": "PCM_U8"}, "wav"),
        ({"subtype": "ULAW"}, "wav"), ({"subtype": "IMA_ADPCM"}, "wav"), ({"format": "WAVEX"}, "wav"), ({}, "flac"),
        ({}, "mp3"), ({"format": "OGG", "subtype": "OPUS"}, "opus"), ({}, "ogg"),
    ],
)  # fmt: skip
def test_honest_headers_pass(wav, tmp_path, options, suffix):
    path = wav(path=tmp_path / f"a.{suffix}", **options)
    headers.check(path)
    assert len(audio.load(path)) == pytest.approx(16000, abs=1100)


def test_a_chunk_before_the_format_chunk(wav):
    path = wav((4, "<I", 48000))
    content = path.read_bytes()
    path.write_bytes(content[:12] + b"JUNK" + struct.pack("<I", 5) + b"x" * 6 + content[12:])
    with pytest.raises(BadRecord, match="48000 Hz times 2"):
        headers.check(path, whole=False)


@pytest.fixture(params=["VORBIS", "OPUS"])
def ogg(request, tmp_path):
    """An Ogg file of several pages, and where they begin."""
    path = tmp_path / "a.ogg"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 64000), 16000, format="OGG", subtype=request.param)
    pages = [found.start() for found in re.finditer(b"OggS", path.read_bytes())]
    assert len(pages) > 3
    return path, pages


def test_a_whole_ogg_file_loads_and_what_follows_its_end_is_nothing_to_it(ogg):
    path, _ = ogg
    whole = audio.load(path)
    assert len(whole) == 64000
    path.write_bytes(path.read_bytes() + b"TAG and so on")
    np.testing.assert_array_equal(audio.load(path), whole)


def test_an_ogg_file_that_ends_between_two_pages(ogg):
    """Nothing but the last page tells that it is the last: the library gives what there is as if it were all."""
    path, pages = ogg
    path.write_bytes(path.read_bytes()[: pages[-1]])
    assert 0 < soundfile.info(path).frames < 64000
    with pytest.raises(BadRecord, match="a.ogg is truncated or damaged: no page ends the Ogg stream"):
        audio.load(path)


@pytest.mark.parametrize("off", [1, 20, 27, 200])
def test_an_ogg_file_that_ends_within_a_page(ogg, off):
    path, pages = ogg
    path.write_bytes(path.read_bytes()[: pages[-1] + off])
    with pytest.raises(BadRecord, match=f"begins at byte {pages[-1]}|page at byte {pages[-1]} is cut off"):
        audio.load(path)


@pytest.mark.parametrize("page", [2, -1])
def test_one_wrong_bit_in_a_page_is_found_by_its_checksum(ogg, page):
    """The library leaves out that page without a word, and the text would no longer fit."""
    path, pages = ogg
    content = bytearray(path.read_bytes())
    content[pages[page] + 100] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadRecord, match=f"the Ogg page at byte {pages[page]} has a wrong checksum"):
        audio.load(path)
