"""The miniature world: ten people, and eight facts about each of them that never change.

Every value of an attribute belongs to exactly one person, so that "who ...?" has one answer too, and
guessing the commonest value is right one time in ten.
"""

from __future__ import annotations

import dataclasses
import functools

from cslm_jax.miniature.lexicon import (
    ANIMALS,
    BOOK,
    COLOURS,
    FOODS,
    HOBBIES,
    NUMBERS,
    PEOPLE,
    PLACES,
    Pair,
    counting_word,
)
from cslm_jax.miniature.shuffle import shuffled

# The assignment of values to people is part of the world, not of a run: no seed of a caller moves it.
_WORLD_SEED = 1
WHO = Pair("who", "谁")


def the(person: Pair) -> Pair:
    """ "cook" -> "the cook" (Chinese has no article)."""
    return Pair(f"the {person.en}", person.zh)


def friend_of(person: Pair) -> Pair:
    return Pair(f"the friend of the {person.en}", f"{person.zh}的朋友")


def filled(template: Pair, subject: Pair, value: Pair = Pair("", "")) -> Pair:
    """A template of an attribute with its blanks filled in."""
    return Pair(
        template.en.format(subject=subject.en, value=value.en),
        template.zh.format(subject=subject.zh, value=value.zh),
    )


@dataclasses.dataclass(frozen=True)
class Attribute:
    """What can be said and asked about a person; templates hold {subject} and {value}."""

    name: str
    values: tuple[Pair, ...]
    question: Pair
    """Asks for the value: "where does {subject} live"."""
    indirect: Pair
    """The same behind "please tell me": "where {subject} lives"."""
    check: Pair
    """Asks whether the value is right: "does {subject} live {value}"."""
    short: Pair
    """Tells the value in few words, as questions and statements do: "{subject} lives {value}"."""
    full: Pair
    """Tells it as answers do, mostly in seven words or more: a chunk of speech in itself."""
    remark: Pair
    """A second clause for answers that tell one fact only; the same for all people."""


@dataclasses.dataclass(frozen=True)
class Fact:
    """One attribute of one person."""

    person: Pair
    attribute: Attribute
    value: Pair

    @property
    def name(self) -> str:
        """E.g. "cook.house"; the same in every language."""
        return f"{self.person.en}.{self.attribute.name}"

    def short(self) -> Pair:
        """ "the cook lives by the river" """
        return filled(self.attribute.short, the(self.person), self.value)

    def full(self) -> Pair:
        """ "the cook now lives by the river" """
        return filled(self.attribute.full, the(self.person), self.value)

    def question(self, subject: Pair) -> Pair:
        """ "where does {subject} live", where the subject describes this person in some way."""
        return filled(self.attribute.question, subject)

    def indirect(self, subject: Pair) -> Pair:
        """ "where {subject} lives" """
        return filled(self.attribute.indirect, subject)

    def who(self) -> Pair:
        """ "who lives by the river" """
        return filled(self.attribute.short, WHO, self.value)


HOUSE = Attribute(
    "house", PLACES,
    question=Pair("where does {subject} live", "{subject}住在哪里"),
    indirect=Pair("where {subject} lives", "{subject}住在哪里"),
    check=Pair("does {subject} live {value}", "{subject}住在{value}吗"),
    short=Pair("{subject} lives {value}", "{subject}住在{value}"),
    full=Pair("{subject} now lives {value}", "{subject}现在住在{value}"),
    remark=Pair("and the house is very nice", "房子很好看"),
)  # fmt: skip
DINNER = Attribute(
    "dinner", FOODS,
    question=Pair("what does {subject} eat", "{subject}吃什么"),
    indirect=Pair("what {subject} eats", "{subject}吃什么"),
    check=Pair("does {subject} eat {value}", "{subject}吃{value}吗"),
    short=Pair("{subject} eats {value}", "{subject}吃{value}"),
    full=Pair("{subject} eats {value} for dinner tonight", "{subject}今天晚上吃{value}"),
    remark=Pair("and it is very good", "很好吃"),
)  # fmt: skip
ANIMAL = Attribute(
    "animal", tuple(noun.name for noun in ANIMALS),
    question=Pair("which animal does {subject} have", "{subject}养什么"),
    indirect=Pair("which animal {subject} has", "{subject}养什么"),
    check=Pair("does {subject} have a {value}", "{subject}养{value}吗"),
    short=Pair("{subject} has a {value}", "{subject}养{value}"),
    full=Pair("{subject} has a {value} at home", "{subject}在家里养{value}"),
    remark=Pair("and they play every day", "他们每天玩"),
)  # fmt: skip
HAT = Attribute(
    "hat", COLOURS,
    question=Pair("which hat is {subject} wearing", "{subject}戴什么帽子"),
    indirect=Pair("which hat {subject} is wearing", "{subject}戴什么帽子"),
    check=Pair("is {subject} wearing a {value} hat", "{subject}戴{value}帽子吗"),
    short=Pair("{subject} wears a {value} hat", "{subject}戴{value}帽子"),
    full=Pair("{subject} is wearing a {value} hat", "{subject}头上戴{value}帽子"),
    remark=Pair("and the hat is very nice", "帽子很好看"),
)  # fmt: skip
HOBBY = Attribute(
    "hobby", HOBBIES,
    question=Pair("what does {subject} like doing", "{subject}喜欢做什么"),
    indirect=Pair("what {subject} likes doing", "{subject}喜欢做什么"),
    check=Pair("does {subject} like {value}", "{subject}喜欢{value}吗"),
    short=Pair("{subject} likes {value}", "{subject}喜欢{value}"),
    full=Pair("{subject} likes {value} in the morning", "{subject}早上喜欢{value}"),
    remark=Pair("and does it every day", "每天都做"),
)  # fmt: skip
HOME_TIME = Attribute(
    "home_time", tuple(Pair(word.en, counting_word(n)) for n, word in NUMBERS.items()),
    question=Pair("when does {subject} come home", "{subject}几点回家"),
    indirect=Pair("when {subject} comes home", "{subject}几点回家"),
    check=Pair("does {subject} come home at {value}", "{subject}{value}点回家吗"),
    short=Pair("{subject} comes home at {value}", "{subject}{value}点回家"),
    full=Pair("{subject} comes home at {value} today", "{subject}今天{value}点回家"),
    remark=Pair("and then plays with us", "和我们玩"),
)  # fmt: skip
BOOKS = Attribute(
    "books", tuple(BOOK.counted(n) for n in NUMBERS),
    question=Pair("how many books does {subject} read", "{subject}读多少书"),
    indirect=Pair("how many books {subject} reads", "{subject}读多少书"),
    check=Pair("does {subject} read {value}", "{subject}读{value}吗"),
    short=Pair("{subject} reads {value}", "{subject}读{value}"),
    full=Pair("{subject} reads {value} every month", "{subject}每个月读{value}"),
    remark=Pair("and likes them very much", "都很喜欢"),
)  # fmt: skip
FRIEND = Attribute(
    "friend", tuple(the(person) for person in PEOPLE),
    question=Pair("who is the friend of {subject}", "{subject}的朋友是谁"),
    indirect=Pair("who is the friend of {subject}", "{subject}的朋友是谁"),
    check=Pair("is {value} the friend of {subject}", "{subject}的朋友是{value}吗"),
    short=Pair("the friend of {subject} is {value}", "{subject}的朋友是{value}"),
    full=Pair("the friend of {subject} is {value}", "{subject}的朋友是{value}"),
    remark=Pair("and they play every day", "他们每天玩"),
)  # fmt: skip
ATTRIBUTES = (HOUSE, DINNER, ANIMAL, HAT, HOBBY, HOME_TIME, BOOKS, FRIEND)
INVERTIBLE = ATTRIBUTES[:-1]
"""Attributes of which "who ...?" is asked; friendship goes both ways, so it needs no inverse."""


@functools.cache
def facts() -> dict[str, Fact]:
    """All facts of the world by name."""
    friends = _friends()
    values = {attribute.name: shuffled(attribute.values, f"{_WORLD_SEED} {attribute.name}") for attribute in INVERTIBLE}
    found = [Fact(person, a, values[a.name][i]) for i, person in enumerate(PEOPLE) for a in INVERTIBLE]
    found += [Fact(person, FRIEND, the(friends[person])) for person in PEOPLE]
    return {fact.name: fact for fact in found}


def fact(person: Pair, attribute: Attribute) -> Fact:
    return facts()[f"{person.en}.{attribute.name}"]


def friend(person: Pair) -> Pair:
    return _friends()[person]


@functools.cache
def _friends() -> dict[Pair, Pair]:
    """Five pairs of friends."""
    order = shuffled(PEOPLE, f"{_WORLD_SEED} friends")
    couples = list(zip(order[::2], order[1::2], strict=True))
    return dict(couples + [(b, a) for a, b in couples])
