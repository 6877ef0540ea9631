"""Multilingual LibriSpeech (OpenSLR 94), one language: `path` is its folder, such as mls_english or mls_german_opus.

    mls_english/{train,dev,test}/transcripts.txt                        10232_10342_000000 <tab> the text
    mls_english/{train,dev,test}/audio/10232/10342/10232_10342_000000.flac      or .opus, in the archives named so

Texts are in small letters without punctuation. The language is the folder's. dev and test are validation.
Sound without a transcript is not looked for: train of English has 10.8 million files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cslm_jax.data.corpora import CorpusConfig, Item, Recording, Rejected
from cslm_jax.data.corpora._layout import SUFFIXES, files, folders, split_of, subset_folders
from cslm_jax.data.corpora._lines import rows

SUBSETS = ("train", "dev", "test")
LANGUAGES = {
    "english": "en", "german": "de", "dutch": "nl", "french": "fr",
    "spanish": "es", "italian": "it", "portuguese": "pt", "polish": "pl",
}  # fmt: skip
"""Codes by the name in the folder's name; of any other folder, the language is the corpus's."""


def read(corpus: CorpusConfig, *, subsets: Sequence[str] = ()) -> Iterator[Item]:
    """The recordings in the order of the transcripts.

    Args:
        subsets: of train, dev, test; all that are there by default.
    """
    name = Path(corpus.path).absolute().name.removeprefix("mls_").removesuffix("_opus")
    language = LANGUAGES.get(name, corpus.language)
    for folder in subset_folders(corpus, subsets, SUBSETS):
        suffix = _suffix(folder / "audio")
        for row in rows(corpus, folder / "transcripts.txt", 2, "\t"):
            if isinstance(row, Rejected):
                yield row
                continue
            id, text = row
            speaker, book, *_ = [*id.split("_"), ""]
            sound = folder / "audio" / speaker / book / f"{id}{suffix}"
            yield Recording(id, language, text, sound, speaker, split_of(folder.name))


def _suffix(audio: Path) -> str:
    """All sound of a subset is of one kind: that of the first book, in the order of names and not of the file system."""
    books = (book for speaker in folders(audio) for book in folders(speaker))
    found = {path.suffix for path in files(next(books, audio), *SUFFIXES).values()}
    return next((suffix for suffix in SUFFIXES if suffix in found), SUFFIXES[0])
