"""Every reader over its published layout: which items, what is said, by whom, which are held out, and that they load."""

import pickle

import published_layouts as layouts
import pytest

from cslm_jax.data import corpora
from cslm_jax.data.corpora import CorpusConfig, Recording, Rejected
from cslm_jax.errors import BadRecord, CslmError

TRAIN, HELD_OUT = "train", "validation"

# Reader: where its path points to, its recordings (id, text, speaker, split), and what is rejected (id, stage).
PUBLISHED = {
    "mls": (
        "mls_german_opus",
        [
            ("1_2_000000", "guten tag nummer 0", "1", TRAIN),
            ("1_2_000001", "guten tag nummer 1", "1", TRAIN),
            ("3_4_000000", "guten tag nummer 0", "3", HELD_OUT),
            ("5_6_000007", "guten tag nummer 7", "5", HELD_OUT),
        ],
        [("line 3", "transcript")],
    ),
    "gigaspeech": (
        "",
        [
            ("S1", "HELLO, I SAID. WHO IS?", "", TRAIN),
            ("S3", "STOP!", "SPK7", TRAIN),
            ("S4", "BEHIND THE END", "", TRAIN),
            ("S7", "HELD OUT", "", HELD_OUT),
        ],
        [("S2", "transcript"), ("S5", "transcript"), ("S8", "transcript"), ("audio 2", "transcript")],
    ),
    "wenetspeech": (
        "",
        [("S0", "怎么样这些日子", "", TRAIN), ("S1", "住得还习惯吧", "", TRAIN), ("S3", "测试", "", HELD_OUT)],
        [("S4", "transcript"), ("S5", "transcript")],
    ),
    "wenetspeech4tts": (
        "",
        [("X1_2_S1-S2", "今天天气很好，对吧？", "", TRAIN), ("X9_8_S3", "今天天气很好，对吧？", "", TRAIN)],
        [("X1_3_S1", "transcript"), ("X1_4_S1", "audio"), ("X1_5_S1", "transcript")],
    ),
    "librispeech": (
        "",
        [
            ("103-1240-0000", "CHAPTER ONE", "103", TRAIN),
            ("103-1240-0001", "I WAS SURE", "103", TRAIN),
            ("84-121-0000", "CHAPTER ONE", "84", HELD_OUT),
            ("84-121-0001", "I WAS SURE", "84", HELD_OUT),
            ("61-70-0000", "CHAPTER ONE", "61", HELD_OUT),
            ("61-70-0001", "I WAS SURE", "61", HELD_OUT),
        ],
        [("line 4", "transcript"), ("103-1240-0001", "transcript"), ("103-1240-0002", "transcript"), ("103-1240-0003", "audio")],
    ),
    "libritts": (
        "",
        [
            ("103_1241_000000_000001", "Mister Bell, page nine.", "103", TRAIN),
            ("84_121_000000_000001", "Mister Bell, page nine.", "84", HELD_OUT),
        ],
        [("84_121_000000_000002", "audio")],
    ),
    "vctk": (
        "",
        [("p225_001", "Please call Stella.", "p225", TRAIN), ("p280_001", "Please call Stella.", "p280", TRAIN)],
        [("p315_001", "transcript")],
    ),
    "aishell1": (
        "",
        [
            ("BAC009S0002W0122", "而对楼市成交", "S0002", TRAIN),
            ("BAC009S0724W0121", "而对楼市成交", "S0724", HELD_OUT),
            ("BAC009S0764W0121", "而对楼市成交", "S0764", HELD_OUT),
        ],
        [("BAC009S0002W0123", "transcript"), ("BAC009S0002W0199", "audio")],
    ),
    "aishell2": (
        "iOS",
        [
            ("IC0001W0001", "厨房用品", "C0001", TRAIN),
            ("ID0012W0002", "打开 wifi", "D0012", HELD_OUT),
            ("IT0055W0003", "打开 wifi", "T0055", HELD_OUT),
        ],
        [("IC0001W0002", "transcript"), ("IC0001W0003", "audio")],
    ),
    "aishell3": (
        "",
        [("SSB00050001", "广州", "SSB0005", TRAIN), ("SSB00730005", "广州", "SSB0073", HELD_OUT)],
        [("SSB00050002", "transcript")],
    ),
    "ljspeech": (
        "",
        [("LJ001-0001", 'He said "fourteen fifty-five', "LJ", TRAIN), ("LJ001-0002", "Doctor No,", "LJ", TRAIN)],
        [("line 3", "transcript"), ("LJ001-0004", "transcript")],
    ),
    "baker": (
        "",
        [("000001", "卡尔普陪外孙玩滑梯。", "baker", TRAIN), ("000002", "“好吗？”", "baker", TRAIN)],
        [("line 5", "transcript")],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Function of a layout's name: the folder that has it, made once."""
    made = {}

    def make(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            getattr(layouts, name)(made[name])
        return made[name]

    return make


def items_of(reader, path, **options) -> list:
    return list(corpora.read(CorpusConfig("c", reader, str(path), "xx", options=options)))


def texts_of(reader, path, **options) -> dict[str, str]:
    return {item.id: item.text for item in items_of(reader, path, **options) if isinstance(item, Recording)}


def test_every_reader_has_its_layout_here():
    own = {"manifest", "miniature"}
    assert {name for name in corpora.READERS if hasattr(layouts, name)} == set(PUBLISHED) and not own & set(PUBLISHED)


@pytest.mark.parametrize("reader", PUBLISHED)
def test_what_is_read_and_what_is_set_aside(reader, folder):
    below, recordings, rejected = PUBLISHED[reader]
    items = items_of(reader, folder(reader) / below)
    found = [item for item in items if isinstance(item, Recording)]
    assert [(item.id, item.text, item.speaker, item.split) for item in found] == recordings
    assert {item.language for item in found} == {"de" if reader == "mls" else "xx"}
    assert [(item.id, item.stage) for item in items if isinstance(item, Rejected)] == rejected
    assert all(item.reason and item.file.startswith(str(folder(reader))) for item in items if isinstance(item, Rejected))
    assert items_of(reader, folder(reader) / below) == items


@pytest.mark.parametrize("reader", PUBLISHED)
def test_every_recording_loads_but_the_one_behind_the_end(reader, folder):
    below, recordings, _ = PUBLISHED[reader]
    loaded = 0
    for item in items_of(reader, folder(reader) / below):
        if isinstance(item, Recording) and item.id != "S4":
            assert pickle.dumps(item)  # sound is loaded in other processes
            seconds = len(item.load()) / 16000
            expected = item.audio.end_s - item.audio.start_s if isinstance(item.audio, corpora.Segment) else 1.0
            assert seconds == pytest.approx(expected, abs=0.01)
            loaded += 1
    assert loaded == len(recordings) - (reader == "gigaspeech")


def test_a_segment_behind_the_end_is_noticed_when_it_is_loaded(folder):
    (late,) = (item for item in items_of("gigaspeech", folder("gigaspeech")) if item.id == "S4")
    with pytest.raises(BadRecord, match="POD0000000001.opus from 9.5 to 11.0 s ends behind the end of the file at 10.00 s"):
        late.load()


@pytest.mark.parametrize(
    ("reader", "options", "ids"),
    [
        ("mls", {"subsets": "dev"}, ["3_4_000000"]),
        ("gigaspeech", {"subsets": ["XS"]}, ["S1"]),
        ("gigaspeech", {"subsets": ("DEV",)}, ["S7"]),
        ("wenetspeech", {"subsets": ["L"], "min_confidence": 0.97}, ["S0"]),
        ("wenetspeech", {"subsets": "W"}, ["S2"]),
        ("wenetspeech", {"subsets": ["W"], "min_confidence": 0.8}, []),
        ("wenetspeech4tts", {"subsets": ["Basic"]}, ["X9_8_S3"]),
        ("librispeech", {"subsets": ["test-clean"]}, ["61-70-0000", "61-70-0001"]),
        ("libritts", {"subsets": ["test-other"]}, ["84_121_000000_000001"]),
        ("vctk", {"mic": "mic2"}, ["p225_001"]),
        ("aishell1", {"subsets": ["dev"]}, ["BAC009S0724W0121"]),
        ("aishell2", {"subsets": ["data"]}, ["IC0001W0001"]),
        ("aishell3", {"subsets": ["test"]}, ["SSB00730005"]),
    ],
)
def test_options_choose_recordings(reader, options, ids, folder):
    assert list(texts_of(reader, folder(reader) / PUBLISHED[reader][0], **options)) == ids


@pytest.mark.parametrize(
    ("reader", "options", "text"),
    [
        ("gigaspeech", {"case": "lower"}, "hello, i said. who is?"),
        ("gigaspeech", {"case": "sentence"}, "Hello, I said. Who is?"),
        ("librispeech", {"case": "sentence"}, "Chapter one"),
        ("libritts", {"text": "original"}, "Mr. Bell, p. 9."),
        ("ljspeech", {"text": "raw"}, 'He said "1455'),
    ],
)
def test_options_choose_texts(reader, options, text, folder):
    assert next(iter(texts_of(reader, folder(reader), **options).values())) == text


@pytest.mark.parametrize("reader", ["vctk", "ljspeech", "baker", "wenetspeech4tts"])
def test_a_share_is_held_out_where_nothing_is_published(reader, folder):
    for share, split in ((0.0, TRAIN), (1.0, HELD_OUT)):
        items = items_of(reader, folder(reader), validation=share)
        assert {item.split for item in items if isinstance(item, Recording)} == {split}


def test_the_older_vctk(folder):
    assert texts_of("vctk", folder("vctk_older")) == {"p225_001": "Please call Stella."}


def test_a_label_file_in_another_encoding(folder, tmp_path):
    (label,) = folder("baker").glob("ProsodyLabeling/*")
    layouts.baker(tmp_path)
    (tmp_path / label.relative_to(folder("baker"))).write_bytes(label.read_text("utf-8-sig").encode("gb18030"))
    assert texts_of("baker", tmp_path, encoding="gb18030") == texts_of("baker", folder("baker"))


@pytest.mark.parametrize(
    ("reader", "options", "says"),
    [
        ("librispeech", {"subsets": ["train-clean-10"]}, "no 'train-clean-10'. Did you mean 'train-clean-100'"),
        ("librispeech", {"subsets": ["train-other-500"]}, "has no folder train-other-500"),
        ("librispeech", {"case": "upper"}, "options.case: there is no 'upper'"),
        ("gigaspeech", {"subsets": "XXL"}, "options.subsets: there is no 'XXL'"),
        ("vctk", {"mic": "mic3"}, "options.mic: there is no 'mic3'"),
    ],
)
def test_wrong_options_are_named(reader, options, says, folder):
    with pytest.raises(CslmError, match=says):
        items_of(reader, folder(reader), **options)


@pytest.mark.parametrize("reader", PUBLISHED)
def test_another_folder_is_an_error_that_names_it(reader, tmp_path):
    with pytest.raises(CslmError, match=f"corpora.c.path: {tmp_path}"):
        items_of(reader, tmp_path)


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_metadata_that_ends_in_the_middle_is_an_error_and_no_small_corpus(folder, tmp_path, share):
    content = (folder("gigaspeech") / "GigaSpeech.json").read_bytes()
    (tmp_path / "GigaSpeech.json").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CslmError, match="GigaSpeech.json is truncated or corrupted behind audio"):
        items_of("gigaspeech", tmp_path)
    (tmp_path / "GigaSpeech.json").write_text('{"dataset": "GigaSpeech"}')
    with pytest.raises(CslmError, match="no list `audios`"):
        items_of("gigaspeech", tmp_path)
