"""CSTR VCTK: `path` is the folder with txt/ and, of version 0.92, wav48_silence_trimmed/, or of the older one, wav48/.

    wav48_silence_trimmed/p225/p225_001_mic1.flac, ..._mic2.flac        48 kHz, two microphones
    wav48/p225/p225_001.wav                                             48 kHz
    txt/p225/p225_001.txt

Texts have case and punctuation. p315 has sound and no texts, p280 nothing from mic2, p362 not all of it: what has no
partner is set aside. Nothing is published as held out: `validation` is the share of speakers that is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cslm_jax.data.corpora import CorpusConfig, Item, Recording
from cslm_jax.data.corpora._layout import chosen, files, folders, held_out, paired, subset_folders
from cslm_jax.data.corpora._lines import text_of

_TRIMMED, _OLDER = "wav48_silence_trimmed", "wav48"


def read(corpus: CorpusConfig, *, mic: str = "mic1", validation: float = 0.0) -> Iterator[Item]:
    """The recordings by speaker and number.

    Args:
        mic: mic1 or mic2 of version 0.92.
        validation: share of the speakers that is held out.
    """
    chosen(corpus, "mic", mic, ("mic1", "mic2"))
    sounds = subset_folders(corpus, (), (_TRIMMED, _OLDER))[0]
    ending = f"_{mic}.flac" if sounds.name == _TRIMMED else ".wav"
    (texts,) = subset_folders(corpus, (), ("txt",))

    def recording(id: str, text: Path, sound: Path) -> Recording:
        speaker = sound.parent.name
        return Recording(id, corpus.language, text_of(text), sound, speaker, held_out(speaker, validation))

    for speaker in sorted({folder.name for folder in (*folders(sounds), *folders(texts))}):
        yield from paired(files(texts / speaker, ".txt"), files(sounds / speaker, ending), sounds / speaker, recording)
