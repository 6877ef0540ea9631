"""Questions about the miniature world, each with its one correct answer in both languages.

An answer restates the question in a full sentence, so that it can be judged by its content words. What
is held out is a *meaning* (`QuestionAnswer.meaning`), in all its wordings and in both languages. It can
still be answered: each fact is stated in training, and each kind of question is asked about others.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

from cslm_jax.miniature.lexicon import ANIMALS, DAYS, FALSE, LANGUAGES, NUMBERS, OPPOSITES, PEOPLE, TRUE, Pair
from cslm_jax.miniature.shuffle import sample, shuffled
from cslm_jax.miniature.text import content_words, sentence
from cslm_jax.miniature.world import ATTRIBUTES, FRIEND, INVERTIBLE, Fact, fact, facts, filled, friend, friend_of, the

PAIRED_QUESTIONS = 3040
"""How many of the 20,000 questions after the facts of two people are asked."""
WRONG_GUESSES = 180
"""How many of the checks are of something false; 160 are of something true, so that neither can be guessed."""


@dataclasses.dataclass(frozen=True)
class QuestionAnswer:
    """A question and its answer, in both languages."""

    kind: str
    meaning: str
    """What is asked, whatever the wording; decides on which side of the split it is."""
    question: Pair
    answer: Pair

    @property
    def keys(self) -> dict[str, tuple[str, ...]]:
        """The words that a correct answer contains, in this order."""
        return {language: content_words(self.answer[language], language) for language in LANGUAGES}


def questions(seed: int | str = 0) -> list[QuestionAnswer]:
    """All questions, shuffled, so that any beginning of the list is a fair sample of the kinds."""
    every = itertools.chain(
        *(itertools.chain(about(known), _who(known)) for known in facts().values()),
        *(kind() for kind in (_friends_facts, _same_person, _right_guesses, _arithmetic, _counting, _opposites, _days)),
        sample(_two_facts(), PAIRED_QUESTIONS, seed),
        sample(_wrong_guesses(), WRONG_GUESSES, seed),
    )
    return shuffled(every, seed)


def correct(item: QuestionAnswer, language: str, text: str) -> bool:
    """Whether an answer's content words (people, values, numbers, true and false) are just those of the right answer.

    Function words may differ: a slip in them does not make an answer wrong.
    """
    return content_words(text, language) == item.keys[language]


def about(known: Fact) -> Iterator[QuestionAnswer]:
    """The question after one fact in its three wordings, the plain one first."""
    subject = the(known.person)
    answer = joined(known.full(), known.attribute.remark)
    for question in _requests(known.question(subject), known.indirect(subject)):
        yield _item("fact", single_meaning(known), question, answer)


def single_meaning(known: Fact) -> str:
    """The meaning of every question after this one fact."""
    return f"fact {known.name}"


def paired_meaning(first: Fact, second: Fact) -> str:
    """The meaning of every question whose answer tells these two facts, in either order."""
    return "facts " + " ".join(sorted((first.name, second.name)))


def _item(kind: str, meaning: str, question: Pair, answer: Pair) -> QuestionAnswer:
    return QuestionAnswer(kind, meaning, sentence(question, "?"), sentence(answer, "."))


def joined(*clauses: Pair) -> Pair:
    return Pair(", ".join(c.en for c in clauses), "，".join(c.zh for c in clauses))


def both(first: Pair, second: Pair) -> Pair:
    return Pair(f"{first.en}, and {second.en}", f"{first.zh}，{second.zh}")


def _requests(direct: Pair, indirect: Pair) -> Iterator[Pair]:
    """A question in its three wordings."""
    yield direct
    yield Pair(f"please tell me {indirect.en}", f"请告诉我{indirect.zh}")
    yield Pair(f"can you tell me {indirect.en}", f"能告诉我{indirect.zh}吗")


def _who(known: Fact) -> Iterator[QuestionAnswer]:
    """ "who lives by the river" """
    if known.attribute not in INVERTIBLE:
        return
    answer = joined(Pair(f"it is {the(known.person).en}", f"是{known.person.zh}"), known.full())
    for wording in _requests(known.who(), known.who()):
        yield _item("who", single_meaning(known), wording, answer)


def _two_facts() -> Iterator[QuestionAnswer]:
    """ "where does the cook live, and who has a dog" """
    asked = [(known, known.question(the(known.person))) for known in facts().values()]
    asked += [(known, known.who()) for known in facts().values() if known.attribute in INVERTIBLE]
    for (first, ask_first), (second, ask_second) in itertools.permutations(asked, 2):
        if first.person != second.person:
            answer = both(first.full(), second.full())
            yield _item("two", paired_meaning(first, second), both(ask_first, ask_second), answer)


def _same_person() -> Iterator[QuestionAnswer]:
    """ "who has a dog, and where does this person live": the second needs the answer of the first."""
    this_person = Pair("this person", "这个人")
    for person in PEOPLE:
        for known, wanted in itertools.permutations(ATTRIBUTES, 2):
            first, second = fact(person, known), fact(person, wanted)
            if known in INVERTIBLE:
                question = both(first.who(), second.question(this_person))
                yield _item("same", paired_meaning(first, second), question, both(first.full(), second.full()))


def _friends_facts() -> Iterator[QuestionAnswer]:
    """ "where does the friend of the cook live": the answer names the friend first."""
    for person, wanted in itertools.product(PEOPLE, INVERTIBLE):
        first, second = fact(person, FRIEND), fact(friend(person), wanted)
        subject = friend_of(person)
        for question in _requests(second.question(subject), second.indirect(subject)):
            yield _item("friend", paired_meaning(first, second), question, both(first.full(), second.full()))


def _checks(known: Fact, guess: Pair, verdict: Pair) -> Iterator[QuestionAnswer]:
    """ "does the cook live by the sea": the answer says how it is, then whether the guess was right."""
    subject, attribute = the(known.person), known.attribute
    said = filled(attribute.short, subject, guess)
    answer = joined(known.full(), Pair(f"so that is {verdict.en}", f"这是{verdict.zh}的"))
    for question in (filled(attribute.check, subject, guess), Pair(f"is it true that {said.en}", f"{said.zh}是真的吗")):
        yield _item("check", single_meaning(known), question, answer)


def _right_guesses() -> Iterator[QuestionAnswer]:
    for known in facts().values():
        yield from _checks(known, known.value, TRUE)


def _wrong_guesses() -> Iterator[QuestionAnswer]:
    for known in facts().values():
        for guess in known.attribute.values:
            myself = guess == the(known.person)
            if guess != known.value and not myself:
                yield from _checks(known, guess, FALSE)


def _sums() -> Iterator[tuple[int, int]]:
    """Pairs of numbers with a sum of at most ten, at most four pairs for each sum."""
    for total in NUMBERS:
        yield from sample([(a, total - a) for a in range(1, total)], 4, total)


def _arithmetic() -> Iterator[QuestionAnswer]:
    """ "how many are two dogs and three dogs" """
    for noun, (a, b) in itertools.product(ANIMALS, _sums()):
        first, second, total = noun.counted(a), noun.counted(b), noun.counted(a + b)
        question = Pair(f"how many are {first.en} and {second.en}", f"{first.zh}和{second.zh}总共是多少")
        answer = Pair(f"{first.en} and {second.en} are {total.en}", f"{first.zh}和{second.zh}总共是{total.zh}")
        for wording in itertools.islice(_requests(question, question), 2):
            yield _item("sum", f"sum {noun.one} {a} {b}", wording, answer)


def _counting() -> Iterator[QuestionAnswer]:
    """ "please count sheep from three until six" """
    for noun, (start, end) in itertools.product(ANIMALS, itertools.combinations(NUMBERS, 2)):
        if not 2 <= end - start <= 4:
            continue
        first, last = NUMBERS[start], NUMBERS[end]
        span = Pair(f"count {noun.many} from {first.en} until {last.en}", f"数{noun.zh}从{first.zh}到{last.zh}")
        answer = joined(Pair(f"i {span.en}", f"我{span.zh}"), *(NUMBERS[n] for n in range(start, end + 1)))
        for question in (Pair(f"please {span.en}", f"请{span.zh}"), Pair(f"can you {span.en}", f"能{span.zh}吗")):
            yield _item("count", f"count {noun.one} {start} {end}", question, answer)


def _opposites() -> Iterator[QuestionAnswer]:
    """ "what is the opposite of a big dog" """
    words = [*OPPOSITES, *((b, a) for a, b in OPPOSITES)]
    for noun, (adjective, opposite) in itertools.product((*(animal.name for animal in ANIMALS), *PEOPLE), words):
        this, that = (Pair(f"a {word.en} {noun.en}", f"{word.zh}的{noun.zh}") for word in (adjective, opposite))
        direct = Pair(f"what is the opposite of {this.en}", f"和{this.zh}相反的是什么")
        indirect = Pair(f"what the opposite of {this.en} is", direct.zh)
        answer = Pair(f"the opposite of {this.en} is {that.en}", f"和{this.zh}相反的是{that.zh}")
        for question in itertools.islice(_requests(direct, indirect), 2):
            yield _item("opposite", f"opposite {adjective.en} {noun.en}", question, answer)


def _days() -> Iterator[QuestionAnswer]:
    """ "which day comes after monday" """
    for i, day in enumerate(DAYS):
        for word, way in ((Pair("after", "后"), 1), (Pair("before", "前"), -1)):
            first, second = DAYS[(i + way) % 7], DAYS[(i + 2 * way) % 7]
            asked = Pair(f"which day comes {word.en} {day.en}", f"{day.zh}{word.zh}面是什么")
            told = Pair(f"the day {word.en} {day.en} is {first.en}", f"{day.zh}{word.zh}面是{first.zh}")
            more = Pair(f"{word.en} that comes {second.en}", f"更{word.zh}面是{second.zh}")
            for question in _requests(asked, asked):
                yield _item("day", f"day {word.en} {day.en}", question, both(told, more))
