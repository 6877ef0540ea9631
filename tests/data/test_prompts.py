"""The instructions are the contract between training and inference: stable, distinct, in the right language."""

import collections
from pathlib import Path

import pytest

from cslm_jax.data import prompts
from cslm_jax.data.catalogue import tasks
from cslm_jax.errors import CslmError

PROMPTS = prompts.load()
FRENCH = str(Path(__file__).parents[2] / "configs" / "languages" / "fr.toml")
DIRECTIONS = [("en", "en"), ("zh", "zh"), ("en", "zh"), ("zh", "en")]
TASKS = ("asr", "tts", "mt", "s2s", "s2s_cross")


def _is_chinese(text):
    return any("\u4e00" <= character <= "\u9fff" for character in text)


def _drawn(task, language, target, n=2000, known=PROMPTS):
    return collections.Counter(known.choose(task, language, f"id{i}", target).text for i in range(n))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("language", ["en", "zh", "fr"])
def test_ten_distinct_instructions_per_task_and_language(task, language):
    templates = prompts.load((FRENCH,)).languages[language].instructions[task]
    assert len(set(templates)) == 10
    assert all(_is_chinese(template) == (language == "zh") for template in templates)


def test_no_two_tasks_share_an_instruction():
    """An instruction that two tasks share would leave the model guessing what to do."""
    known = prompts.load((FRENCH,)).languages.values()
    used = collections.Counter(each for language in known for task in language.instructions.values() for each in task)
    assert max(used.values()) == 1


@pytest.mark.parametrize(("task", "language", "target"), [("asr", "en", "en"), ("tts", "zh", "zh"), ("mt", "en", "zh")])
def test_every_instruction_is_drawn_about_equally_often(task, language, target):
    drawn = _drawn(task, language, target)
    assert len(drawn) == 10
    assert min(drawn.values()) > 140


@pytest.mark.parametrize(("language", "target"), DIRECTIONS)
def test_half_of_the_spoken_questions_come_with_the_instruction_of_inference(language, target):
    drawn = _drawn("s2s", language, target)
    assert len(drawn) == 10
    assert 0.45 < drawn[PROMPTS.of_inference(language, target).text] / 2000 < 0.55


def test_a_record_keeps_its_instruction():
    """Pinned: another hash would silently invalidate every cache and every comparison between runs."""
    assert PROMPTS.choose("asr", "en", "statement-7") == PROMPTS.choose("asr", "en", "statement-7", "en")
    assert [PROMPTS.choose("asr", "en", f"id{i}").text for i in range(3)] == [
        "Transcribe the following English audio.",
        "Note every word that is spoken here.",
        "What does the speaker say? Write it.",
    ]


def test_the_instructions_of_inference_are_those_of_the_paper():
    assert [PROMPTS.of_inference(*direction).text for direction in DIRECTIONS] == [
        "Please directly answer the questions in the user's speech.",
        "直接回答用户语音中的问题。",
        "用中文回答用户语音中的问题。",
        "Please answer the questions in the user's speech in English.",
    ]


def test_a_language_without_wordings_is_spoken_about_in_english():
    assert PROMPTS.of_inference("en", "fr").text == "Please answer the questions in the user's speech in French."
    assert all("English" not in text for text in _drawn("asr", "fr", "fr", 100))
    assert any("法文" in text for text in _drawn("mt", "zh", "fr", 100))


def test_a_nameless_language_is_an_error_that_says_where_to_name_it():
    with pytest.raises(CslmError, match=r"language = 'xx' and \[called\] en = .* data.language_files"):
        PROMPTS.choose("asr", "xx", "id")


def test_a_task_without_instructions_is_an_error():
    with pytest.raises(CslmError, match="asr, tts, mt"):
        PROMPTS.choose("text", "en", "id")


def test_the_user_turn_frames_the_input_in_the_language_of_the_instruction():
    speech = object()
    known = prompts.load((FRENCH,))
    for language, head, stop in [("en", " This is input: ", "."), ("zh", " 这是输入: ", "。"), ("fr", " Voici l'entrée : ", ".")]:
        instruction = known.of_inference(language, language)
        assert instruction.turn(speech) == (instruction.text + head, speech, stop)


def test_the_user_turn_does_not_end_in_two_full_stops():
    instruction = PROMPTS.choose("tts", "en", "id")
    assert instruction.turn("a cat.")[1:] == ("a cat.",)
    assert instruction.turn("a cat")[1:] == ("a cat", ".")


# Language files ------------------------------------------------------------------------------------


def with_file(tmp_path, content):
    (tmp_path / "sw.toml").write_text(content, encoding="utf-8")
    return prompts.load((str(tmp_path / "sw.toml"),))


def test_a_name_is_all_that_a_language_needs(tmp_path):
    known = with_file(tmp_path, 'language = "sw"\n[called]\nen = "Swahili"\n')
    assert known.of_inference("en", "sw").text == "Please answer the questions in the user's speech in Swahili."
    assert any("Swahili" in text for text in _drawn("mt", "en", "sw", 50, known))
    with pytest.raises(CslmError, match="no name in 'zh'"):
        known.choose("mt", "zh", "id", "sw")


def test_a_language_may_have_instructions_for_some_tasks_and_only_one(tmp_path):
    content = 'language="sw"\nnames={sw="Kiswahili", en="Kiingereza"}\ncalled={en="Swahili"}\nframe={head="{instruction} "}\n'
    known = with_file(tmp_path, content + '[instructions]\ns2s=["Jibu."]\n')
    assert known.choose("s2s", "sw", "id").turn("x") == ("Jibu. ", "x")
    assert known.choose("asr", "sw", "id").language.language == "en"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("language = ", "Invalid value"),
        ("called = 3", "language"),
        ('language="sw"\nnames=3', "`names` must be a table"),
        ('language="sw"\nname={en="x"}', "`name`: no such field. Did you mean 'names'"),
        ('language="sw"\ncalled={en=3}', "`called.en` must be text"),
        ('language="sw"\ninstructions={asr=["x"]}', r"`frame.head` must hold \{instruction\}"),
        ('language="sw"\nframe={head="{instruction}"}\ninstructions={asrs=["x"]}', "Did you mean 'asr'"),
        ('language="sw"\nframe={head="{instruction}"}\ninstructions={asr="x"}', "must be a list"),
        ('language="sw"\nframe={head="{instruction}"}\ninstructions={asr=["{lang}"]}', "only placeholders"),
    ],
)
def test_a_malformed_file_is_named_with_its_field(tmp_path, content, says):
    with pytest.raises(CslmError, match=f"sw.toml: .*{says}"):
        with_file(tmp_path, content)


def test_a_missing_file_is_named():
    with pytest.raises(CslmError, match="data.language_files: nowhere.toml cannot be read"):
        prompts.load(("nowhere.toml",))


def test_a_task_is_told_apart_by_its_own_instructions():
    """Adding French must not remake the caches of English and Chinese."""
    known, more = tasks(("en", "zh", "fr")), prompts.load((FRENCH,))
    same = {name for name, task in known.items() if PROMPTS.fingerprint(task) == more.fingerprint(task)}
    assert {"asr_en", "tts_zh", "mt_en_zh", "s2s_zh_en", "text_fr", "text_stage0"} <= same
    assert not {"asr_fr", "tts_fr", "s2s_en_fr"} & same
    assert PROMPTS.fingerprint(known["asr_en"]) != PROMPTS.fingerprint(known["tts_en"])
