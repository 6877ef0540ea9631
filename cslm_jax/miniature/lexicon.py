"""The words of the miniature world, English beside Chinese.

Chosen for speech: no two words (English) and no two characters (Chinese) sound the same, so that a
recogniser without world knowledge can tell them apart; characters recur in several words.
"""

from __future__ import annotations

import dataclasses

LANGUAGES = ("en", "zh")


@dataclasses.dataclass(frozen=True)
class Pair:
    """The same thing said in both languages."""

    en: str
    zh: str

    def __getitem__(self, language: str) -> str:
        return getattr(self, language)


@dataclasses.dataclass(frozen=True)
class Noun:
    """A thing that can be counted."""

    one: str
    many: str
    zh: str
    measure: str
    """The Chinese measure word between number and noun."""

    @property
    def name(self) -> Pair:
        return Pair(self.one, self.zh)

    def counted(self, number: int) -> Pair:
        """E.g. 2 -> "two dogs", "两只狗"."""
        name = self.one if number == 1 else self.many
        return Pair(f"{NUMBERS[number].en} {name}", f"{counting_word(number)}{self.measure}{self.zh}")


def _pairs(table: str) -> tuple[Pair, ...]:
    return tuple(Pair(*map(str.strip, entry.split("="))) for entry in table.split(";"))


def _nouns(table: str) -> tuple[Noun, ...]:
    return tuple(Noun(*entry.split()) for entry in table.split(";"))


PEOPLE = _pairs(
    "cook = 厨师; farmer = 农民; teacher = 老师; painter = 画家; singer = 歌手;"
    "worker = 工人; king = 国王; captain = 船长; hunter = 猎人; student = 学生"
)
PLACES = _pairs(
    "by the river = 江边; on the hill = 山上; in the city = 城里; in the village = 村里; by the sea = 海边;"
    "by the lake = 湖边; in the forest = 森林里; on the island = 岛上; in the garden = 花园里; by the station = 车站边"
)
FOODS = _pairs(
    "rice = 米饭; bread = 面包; fish = 鱼; noodles = 面条; eggs = 鸡蛋;"
    "meat = 肉; apples = 苹果; corn = 玉米; cake = 蛋糕; beans = 豆子"
)
COLOURS = _pairs(
    "red = 红; blue = 蓝; green = 绿; white = 白; black = 黑;yellow = 黄; brown = 棕; grey = 灰; purple = 紫; pink = 粉"
)
HOBBIES = _pairs(
    "singing = 唱歌; swimming = 游泳; drawing = 画画; sleeping = 睡觉; walking = 走路;"
    "writing = 写字; climbing = 爬山; cooking = 做饭; gardening = 种花; fishing = 钓鱼"
)
ANIMALS = _nouns(
    "dog dogs 狗 只; cat cats 猫 只; horse horses 马 匹; cow cows 牛 头; sheep sheep 羊 只;"
    "bird birds 鸟 只; pig pigs 猪 只; rabbit rabbits 兔子 只; duck ducks 鸭子 只; monkey monkeys 猴子 只"
)
BOOK = Noun("book", "books", "书", "本")

_NUMBER_WORDS = _pairs(
    "one = 一; two = 二; three = 三; four = 四; five = 五;six = 六; seven = 七; eight = 八; nine = 九; ten = 十"
)
NUMBERS = dict(enumerate(_NUMBER_WORDS, start=1))
DAYS = _pairs("monday = 周一; tuesday = 周二; wednesday = 周三; thursday = 周四;friday = 周五; saturday = 周六; sunday = 周日")
OPPOSITES = tuple(
    (Pair(*a), Pair(*b))
    for a, b in (
        (("big", "大"), ("small", "小")),
        (("fast", "快"), ("slow", "慢")),
        (("fat", "胖"), ("thin", "瘦")),
        (("strong", "强"), ("weak", "弱")),
        (("clean", "干净"), ("dirty", "脏")),
        (("clever", "聪明"), ("stupid", "笨")),
    )
)
ADJECTIVES = tuple(word for pair in OPPOSITES for word in pair)
RELATIVES = _pairs(
    "my mother = 我妈妈; my father = 我爸爸; my brother = 我弟弟; my sister = 我妹妹;the boy = 男孩; the girl = 女孩"
)
TRUE, FALSE = Pair("true", "真"), Pair("false", "假")


def counting_word(number: int) -> str:
    """The Chinese number before a measure word: two is 两 there."""
    return "两" if number == 2 else NUMBERS[number].zh
