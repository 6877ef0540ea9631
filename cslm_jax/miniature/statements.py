"""Declarative sentences of the miniature world, parallel in both languages, for ASR, TTS and translation.

Some tell the facts that questions are about; most say anything at all, about people who are never asked
about, so that they cannot contradict the world.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

from cslm_jax.miniature.lexicon import (
    ADJECTIVES,
    ANIMALS,
    COLOURS,
    DAYS,
    FOODS,
    HOBBIES,
    NUMBERS,
    PEOPLE,
    PLACES,
    RELATIVES,
    Pair,
    counting_word,
)
from cslm_jax.miniature.questions import both, paired_meaning
from cslm_jax.miniature.shuffle import sample, shuffled
from cslm_jax.miniature.split import STATED
from cslm_jax.miniature.text import sentence
from cslm_jax.miniature.world import FRIEND, facts, the

PER_TEMPLATE = 720
FACT_PAIRS = 1200


@dataclasses.dataclass(frozen=True)
class Statement:
    """The same sentence in both languages."""

    meaning: str
    """Decides on which side of the split it is; shared with the questions whose answer says the same."""
    text: Pair


def statements(seed: int = 0) -> list[Statement]:
    """All statements, shuffled: every fact by itself, pairs of facts, and free sentences."""
    free = [sample(template(), PER_TEMPLATE, seed) for template in (_herd, _meal, _gift, _find, _pastime, _hat, _evening)]
    said = [Statement(f"says {clause.en}", sentence(clause, ".")) for clause in itertools.chain(*free)]
    return shuffled([*_bare_facts(), *sample(_fact_pairs(), FACT_PAIRS, seed), *said], seed)


def _bare_facts() -> Iterator[Statement]:
    for known in facts().values():
        for said in dict.fromkeys((known.short(), known.full())):
            yield Statement(STATED + known.name, sentence(said, "."))


def _fact_pairs() -> Iterator[Statement]:
    for first, second in itertools.permutations(facts().values(), 2):
        # Two friendships would make a sentence of seventeen words.
        if first.attribute == second.attribute == FRIEND:
            continue
        yield Statement(paired_meaning(first, second), sentence(both(first.short(), second.short()), "."))


def _herd() -> Iterator[Pair]:
    """ "my mother has three white sheep by the river" """
    for who, n, colour, noun, place in itertools.product(RELATIVES, NUMBERS, COLOURS, ANIMALS, PLACES):
        amount = f"{counting_word(n)}{noun.measure}{colour.zh}{noun.zh}"
        name = noun.one if n == 1 else noun.many
        yield Pair(f"{who.en} has {NUMBERS[n].en} {colour.en} {name} {place.en}", f"{who.zh}在{place.zh}养{amount}")


def _meal() -> Iterator[Pair]:
    """ "on monday my father eats fish and rice by the lake" """
    for day, who, (first, second), place in itertools.product(DAYS, RELATIVES, itertools.permutations(FOODS, 2), PLACES):
        yield Pair(
            f"on {day.en} {who.en} eats {first.en} and {second.en} {place.en}",
            f"{day.zh}{who.zh}在{place.zh}吃{first.zh}和{second.zh}",
        )


def _gift() -> Iterator[Pair]:
    """ "my sister gives the fat cat some bread every morning" """
    for who, adjective, noun, food in itertools.product(RELATIVES, ADJECTIVES, ANIMALS, FOODS):
        yield Pair(
            f"{who.en} gives the {adjective.en} {noun.one} some {food.en} every morning",
            f"{who.zh}每天早上给{adjective.zh}的{noun.zh}吃{food.zh}",
        )


def _find() -> Iterator[Pair]:
    """ "the clever dog finds seven blue hats in the forest" """
    for adjective, noun, n, colour, place in itertools.product(ADJECTIVES, ANIMALS, NUMBERS, COLOURS, PLACES):
        hats = "hat" if n == 1 else "hats"
        yield Pair(
            f"the {adjective.en} {noun.one} finds {NUMBERS[n].en} {colour.en} {hats} {place.en}",
            f"{adjective.zh}的{noun.zh}在{place.zh}找到{counting_word(n)}个{colour.zh}帽子",
        )


def _pastime() -> Iterator[Pair]:
    """ "the girl likes swimming with the captain on friday" """
    for who, hobby, person, day in itertools.product(RELATIVES, HOBBIES, PEOPLE, DAYS):
        yield Pair(
            f"{who.en} likes {hobby.en} with {the(person).en} on {day.en}",
            f"{who.zh}{day.zh}喜欢和{person.zh}{hobby.zh}",
        )


def _hat() -> Iterator[Pair]:
    """ "the boy is wearing a green hat by the sea on sunday" """
    for who, colour, place, day in itertools.product(RELATIVES, COLOURS, PLACES, DAYS):
        yield Pair(
            f"{who.en} is wearing a {colour.en} hat {place.en} on {day.en}",
            f"{day.zh}{who.zh}在{place.zh}戴{colour.zh}帽子",
        )


def _evening() -> Iterator[Pair]:
    """ "on tuesday my brother comes home at six and likes singing" """
    for who, (n, number), day, hobby in itertools.product(RELATIVES, NUMBERS.items(), DAYS, HOBBIES):
        yield Pair(
            f"on {day.en} {who.en} comes home at {number.en} and likes {hobby.en}",
            f"{day.zh}{who.zh}{counting_word(n)}点回家，喜欢{hobby.zh}",
        )
