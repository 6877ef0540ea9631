"""What a shard was made from: told apart where a record would differ, and only there."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pytest

from cslm_jax.data.corpora import Recording, Rejected, Segment, SpokenDialogueItem
from cslm_jax.data.parts import parts
from cslm_jax.data.records import Translation

CUT = Recording("a", "en", "a red dog", Segment(Path("/data/mine/long.opus"), 1.0, 2.5), "anna")
WHOLE = Recording("a", "en", "a red dog", Path("/data/mine/a.wav"), "anna")
FOLDER = "/data/mine"


def described(item, path: str = FOLDER, languages=("en",)) -> dict:
    (part,) = parts([item], 10, languages, path)
    return part.described


@pytest.mark.parametrize(
    "change",
    [
        {"audio": Segment(Path("/data/mine/long.opus"), 1.0, 2.75)},
        {"audio": Segment(Path("/data/mine/long.opus"), 0.9, 2.5)},
        {"audio": Segment(Path("/data/mine/other.opus"), 1.0, 2.5)},
        {"audio": Segment(Path("/data/mine/x/long.opus"), 1.0, 2.5)},
        {"audio": Path("/data/mine/long.opus")},
        {"speaker": "bob"},
        {"text": "a red cat"},
        {"split": "validation"},
        {"language": "fr"},
        {"id": "b"},
    ],
)
def test_what_is_corrected_in_a_manifest_is_another_item(change):
    assert described(dataclasses.replace(CUT, **change)) != described(CUT)
    assert described(dataclasses.replace(WHOLE, **{"audio": Path("/data/mine/b.wav"), **change})) != described(WHOLE)


def test_a_corpus_that_moved_is_the_same():
    """Wherever it lies, and whether its path is its folder or a table in it; and so is sound that lies elsewhere."""
    moved = dataclasses.replace(CUT, audio=Segment(Path("corpora/mine/long.opus"), 1, 2.5))
    assert described(moved, "corpora/mine") == described(CUT)
    outside = [dataclasses.replace(WHOLE, audio=Path(folder, "a.wav")) for folder in ("/old", "/new/place")]
    assert described(outside[0]) == described(outside[1])


def test_a_table_stands_for_its_folder(tmp_path):
    (tmp_path / "manifest.tsv").touch()
    item = dataclasses.replace(WHOLE, audio=tmp_path / "x" / "a.wav")
    assert described(item, str(tmp_path / "manifest.tsv")) == described(item, str(tmp_path))


def test_the_answers_of_a_dialogue_count_too():
    one, other = (
        SpokenDialogueItem("d", {"en": WHOLE}, {"en": dataclasses.replace(WHOLE, audio=Path(FOLDER, name))}) for name in "bc"
    )
    assert described(one) != described(other)


def test_sound_that_is_made_and_items_without_sound():
    """Functions have no name that lasts: what decides such sound is the text, the id and the corpus's config."""
    made = [dataclasses.replace(WHOLE, audio=functools.partial(np.ones, n)) for n in (1, 2)]
    assert described(made[0]) == described(made[1]) != described(WHOLE)
    texts = [Translation(id="t", texts={"en": "dog", "zh": zh}) for zh in ("狗", "狗儿")]
    assert described(texts[0]) != described(texts[1])
    assert described(Rejected("a", "/old/x", "audio", "gone")) == described(Rejected("a", "/new/x", "audio", "gone"))


def test_what_there_are_tasks_for_decides_which_items_are_kept():
    assert described(WHOLE, languages=("en", "fr")) == described(WHOLE) != described(WHOLE, languages=("fr",))
