"""Records of every kind, with made-up units: what the tests of this folder prepare."""

import numpy as np

from cslm_jax.data.records import Dialogue, Record, SpokenDialogue, SpokenText, Translation, Utterance
from cslm_jax.speech.align import Word, words
from cslm_jax.speech.units import Speech

CODES = 50
TEXTS = {
    "en": "the {} dog sees a red house, and the old man sings a song by the river.",
    "zh": "第{}只狗看见红色的房子，老人在江边唱一首很好听的歌。",
}


def speech(seed: int, frames: int) -> Speech:
    return Speech.from_frames(np.random.default_rng(seed).integers(CODES, size=frames))


def spoken(language: str, seed: int, aligned: bool = False) -> SpokenText:
    """A text with 10 frames a word, and the words where those frames are."""
    text = TEXTS[language].format(seed)
    spans = words(text, language)
    timed = tuple(Word(*span, i * 0.4, i * 0.4 + 0.36) for i, span in enumerate(spans))
    return SpokenText(text, speech(seed, 10 * len(spans)), timed if aligned else ())


def make_records(count: int) -> list[Record]:
    """`count` records of each kind; one in ten is held out."""
    records = []
    for i in range(count):
        split = "validation" if i % 10 == 0 else "train"
        for language, text in TEXTS.items():
            said = text.format(i)
            heard = speech(i, 40 + i % 60)
            records.append(Utterance(id=f"u-{language}-{i}", language=language, text=said, speech=heard, split=split))
            turns = (("user", said), ("assistant", said[: 10 + i % 20]), ("user", "why?"), ("assistant", "so."))
            records.append(Dialogue(id=f"d-{language}-{i}", language=language, turns=turns, split=split))
        texts = {name: text.format(i) for name, text in TEXTS.items()}
        records.append(Translation(id=f"t-{i}", texts=texts, split=split))
        question, answer = ({name: spoken(name, i, aligned) for name in TEXTS} for aligned in (False, True))
        records.append(SpokenDialogue(id=f"s-{i}", question=question, answer=answer, split=split))
    return records
