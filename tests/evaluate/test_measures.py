"""The measures: a perfect model scores perfectly, and each kind of mistake shows in its own number and in no other."""

import pytest

from cslm_jax.evaluate import measures
from cslm_jax.evaluate.judge import same_text
from cslm_jax.evaluate.language_id import LanguageIdentifier
from cslm_jax.evaluate.measures import Generation
from cslm_jax.generate.sampling import SamplingConfig

ENDING = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
DIRECTIONS = [("en", "en"), ("zh", "zh"), ("en", "zh"), ("zh", "en")]


def generation(system) -> Generation:
    return Generation(system, SamplingConfig(), batch=2)


@pytest.mark.parametrize("language, name", [("en", "wer_en"), ("zh", "cer_zh")])
@pytest.mark.parametrize("kind", ["asr", "tts"])
def test_a_perfect_model_makes_no_errors(world, make_system, kind, language, name):
    result = getattr(measures, kind)(world.utterances(language), generation(make_system(world.answer)))
    assert result.values == {name: 0.0} and result.n == 3
    assert [item["transcript"] for item in result.items] == world.TEXTS[language]


def test_asr_asks_with_units_and_tts_with_text(world, make_system):
    system = make_system(world.answer)
    for measure, shown in ((measures.asr, world.spelled), (measures.tts, str)):
        system.generator.prompts.clear()
        measure(world.utterances("en"), generation(system))
        for prompt, text in zip(system.generator.prompts, world.TEXTS["en"], strict=True):
            asked = prompt.split("This is input: ")[1].removesuffix(ENDING)
            assert asked.rstrip(".") == shown(text), "what is shown, and nothing of the other form"
            assert prompt.endswith(ENDING)


def test_errors_of_asr_and_tts_are_counted(world, make_system):
    result = measures.asr(world.utterances("en"), generation(make_system(lambda prompt: "the cat")))
    assert result.values["wer_en"] == pytest.approx((2 + 4 + 3) / 12)
    result = measures.tts(world.utterances("en"), generation(make_system(lambda prompt: "no speech at all")))
    assert result.values["wer_en"] == 1.0, "without sound nothing was said"


@pytest.mark.parametrize("source, target", DIRECTIONS)
def test_perfect_answers_in_four_directions(world, make_system, source, target):
    result = answered(world, make_system(world.answer), source, target)
    assert result.values == {"answer_accuracy": 1.0, "asr_er": 0.0, "off_target_text": 0.0}
    assert [item["heard"] for item in result.items] == world.TEXTS[source]
    assert [item["transcript"] for item in result.items] == world.TEXTS[target]
    item, sound = result.items[0], result.sounds[0]
    assert "".join(item["pieces"]) == item["answer"] and len(item["pieces"]) == len(sound.units) == 2
    assert sound.cuts == (pytest.approx(len(sound.units[0]) * 0.05),), "pieces are decoded one by one"


def test_the_wrong_language_is_off_target_and_incorrect_but_said_as_written(world, make_system):
    system = make_system(lambda prompt: world.answer(prompt.replace("Chinese", "English").replace("中文", "English")))
    result = answered(world, system, "en", "zh")
    assert result.values["off_target_text"] == 1.0 and result.values["answer_accuracy"] == 0.0
    assert answered(world, system, "en", "en").values["off_target_text"] == 0.0


def test_speech_that_differs_from_its_text_shows_in_asr_er_only(world, make_system):
    def mumble(prompt: str) -> str:
        written = world.answer(prompt).split("[answer]: ")[1].split("<sosp>")
        text = "".join(part.split("<eosp>")[-1] for part in written)
        return f"[question]: ?; [answer]: {text}" + world.spelled("what")

    result = answered(world, make_system(mumble), "en", "en")
    assert result.values["answer_accuracy"] == 1.0 and result.values["off_target_text"] == 0.0
    assert result.values["asr_er"] == pytest.approx((4 + 5 + 2) / 12)


@pytest.mark.parametrize("output", ["", "<eosp><eosp>", "<sosp>", "<1><2><3>", "[question][question]<sosp>"])
def test_malformed_output_is_an_error_of_the_model_not_of_the_evaluation(world, make_system, output):
    result = answered(world, make_system(lambda prompt: output), "en", "en")
    assert result.values["answer_accuracy"] == 0.0 and result.values["off_target_text"] == 1.0
    assert result.n == 3


def test_text_that_is_never_spoken_stays_beside_a_piece_that_is(world, make_system):
    output = "[question]: ?; [answer]: it lives " + world.spelled("it lives ") + "in the garden"
    result = answered(world, make_system(lambda prompt: output), "en", "en")
    assert result.items[0]["pieces"] == ["it lives in the garden"]


def test_the_recogniser_is_measured_on_natural_recordings(world, make_system):
    class Natural:
        def load(self, id, text):
            return make_system(None).decoder.decode_batch([world.speech_of(text).units])[0]

    result = measures.recogniser(world.utterances("zh"), Natural(), make_system(None))
    assert result.values == {"cer_zh": 0.0} and result.n == 3


def answered(world, system, source: str, target: str) -> measures.Result:
    identifier = LanguageIdentifier(("en", "zh"))
    return measures.speech_to_speech(world.dialogues(), source, target, generation(system), same_text, identifier)
