"""What holds for every reader: finding it, its options, its limit, and that no id comes twice."""

from pathlib import Path

import pytest

from cslm_jax.data import corpora
from cslm_jax.data.corpora import CorpusConfig, Recording, Rejected, Segment
from cslm_jax.data.records import Translation
from cslm_jax.errors import CslmError


def two_items(corpus):
    """A reader of one's own."""
    yield from (Recording(str(i), corpus.language, "hi", Path("x.wav")) for i in range(2))


def test_limit():
    config = CorpusConfig("c", f"{__name__}:two_items", limit=1)
    assert [item.id for item in corpora.read(config)] == ["0"]


def test_a_reader_of_ones_own_needs_no_registration():
    assert len(list(corpora.read(CorpusConfig("c", f"{__name__}:two_items")))) == 2
    with pytest.raises(CslmError, match="cannot be imported"):
        corpora.find_reader("no_such_module:read")


@pytest.mark.parametrize("fields", [{"name": "a/b"}, {"name": ".."}, {"name": ""}, {"share": "some"}, {"use": ("asrs",)}])
def test_a_wrong_field_is_named(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        CorpusConfig(**{"name": "c", "reader": "manifest", **fields})


def twice(corpus):
    """What two careless archives laid over each other look like."""
    yield Recording("a", "en", "hi", Path("x.wav"))
    yield Rejected("a", "x.txt", "transcript", "broken")
    yield Recording("b", "en", "ho", Segment(Path("y.wav"), 0, 1))
    yield Translation(id="a", texts={"en": "dog", "zh": "狗"})
    yield Recording("b", "en", "hey", Segment(Path("z.wav"), 0, 1))


def test_the_second_of_two_items_with_one_id_is_rejected():
    """Whatever the reader: two records of one id cannot be told apart later."""
    items = list(corpora.read(CorpusConfig("c", f"{__name__}:twice")))
    kept = [item for item in items if not isinstance(item, Rejected)]
    assert [item.id for item in kept] == ["a", "b"] and [item.text for item in kept] == ["hi", "ho"]
    assert [(item.id, item.file, item.stage) for item in items[3:]] == [("a", "", "record"), ("b", "z.wav", "record")]
    assert "a second record with the id b" in items[-1].reason


def unusable(corpus):
    yield Recording("two\nlines", "en", "hi", Path("x.wav"))
    yield Recording(7, "en", "hi", Path("x.wav"))
    yield Recording("caf\udce9.wav", "en", "hi", Path("caf\udce9.wav"))
    yield Recording("half", "en", "hi \ud83d", Path("x.wav"))
    yield Recording("good", "en", "hi", Path("x.wav"))


def test_what_no_later_step_can_name_or_write_is_rejected():
    """Names of files that are no UTF-8, and half an emoji in JSON: they would end a worker that writes them."""
    *bad, good = corpora.read(CorpusConfig("c", f"{__name__}:unusable"))
    assert good.id == "good" and all(isinstance(item, Rejected) for item in bad)
    reasons = ["`id` is 'two\\nlines'", "`id` is 7", "`id` has half a surrogate pair", "`text` has half a surrogate pair"]
    assert all(reason in item.reason for reason, item in zip(reasons, bad, strict=True))


def one_option(corpus, *, subset="all"):
    yield Recording(subset, corpus.language, "hi", Path("x.wav"))


def test_options_are_keyword_arguments_of_the_reader():
    config = CorpusConfig("c", f"{__name__}:one_option", options={"subset": "clean"})
    assert [item.id for item in corpora.read(config)] == ["clean"]
    with pytest.raises(CslmError, match="no option 'subsett'. Did you mean 'subset'"):
        list(corpora.read(CorpusConfig("c", f"{__name__}:one_option", options={"subsett": "clean"})))
