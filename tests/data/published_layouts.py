"""Small copies of published corpora: their layouts to the letter, with real sound files inside."""

import functools
import json
from pathlib import Path

import numpy as np
import soundfile

CONTAINERS = {".opus": ("OGG", "OPUS"), ".mp3": ("MP3", "MPEG_LAYER_III")}


@functools.cache
def noise(samples: int) -> np.ndarray:
    return np.random.default_rng(samples).normal(0, 0.1, samples).astype(np.float32)


def sound(path: Path, seconds: float = 1.0, rate: int = 16000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    container, kind = CONTAINERS.get(path.suffix, (None, None))
    soundfile.write(path, noise(int(seconds * rate)), rate, format=container, subtype=kind)


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8", newline="")


def mls(root: Path) -> None:
    for subset, suffix, ids in (
        ("train", ".opus", ("1_2_000000", "1_2_000001")),
        ("dev", ".opus", ("3_4_000000",)),
        ("test", ".opus", ("5_6_000007",)),
    ):
        lines = "".join(f"{id}\tguten tag nummer {id[-1]}\n" for id in ids)
        text(root / "mls_german_opus" / subset / "transcripts.txt", lines)
        text(root / "mls_german_opus" / subset / "segments.txt", "")
        for id in ids:
            speaker, book, _ = id.split("_")
            sound(root / "mls_german_opus" / subset / "audio" / speaker / book / f"{id}{suffix}")
    with (root / "mls_german_opus" / "train" / "transcripts.txt").open("a") as file:
        file.write("1_2_000002\n")


def gigaspeech(root: Path) -> None:
    segments = [
        ("S1", 0.0, 1.0, "HELLO <COMMA> I SAID <PERIOD> WHO IS <QUESTIONMARK>", ["{XL}", "{XS}"], "N/A"),
        ("S2", 1.0, 2.0, "<MUSIC>", ["{XL}"], "N/A"),
        ("S3", 2.0, 3.25, "STOP <EXCLAMATIONPOINT>", ["{XL}"], "SPK7"),
        ("S4", 9.5, 11.0, "BEHIND THE END", ["{XL}"], "N/A"),
        ("S5", 3.0, 2.0, "BACKWARDS", ["{XL}"], "N/A"),
        ("S6", 3.0, 4.0, "NOT ASKED FOR", ["{W}"], "N/A"),
        ("S7", 4.0, 5.0, "HELD OUT", ["{DEV}"], "N/A"),
    ]
    fields = ("sid", "begin_time", "end_time", "text_tn", "subsets", "speaker")
    path = "audio/podcast/P0001/POD0000000001.opus"
    audio = {"aid": "POD0000000001", "path": path, "segments": [dict(zip(fields, segment)) for segment in segments]}
    del audio["segments"][3]["speaker"]
    audio["segments"].append({"sid": "S8", "begin_time": 1, "subsets": ["{XL}"], "text_tn": "NO END"})
    broken = {"aid": "POD0000000002", "path": path}
    content = {"dataset": "GigaSpeech", "language": "EN", "audios": [audio, broken, {**audio, "segments": []}]}
    text(root / "GigaSpeech.json", json.dumps(content))
    sound(root / path, 10.0)


def wenetspeech(root: Path) -> None:
    segments = [
        ("S0", 0.08, 1.4, "怎么样这些日子", ["L", "M"], 1.0),
        ("S1", 2.0, 3.0, "住得还习惯吧", ["L"], 0.96),
        ("S2", 3.0, 4.0, "听不清", ["W"], 0.7),
        ("S3", 4.0, 5.0, "测试", ["TEST_NET"], 1.0),
        ("S4", 5.0, 6.0, None, ["L"], 1.0),
        ("S5", 6.0, 7.0, "没有", ["L"], None),
    ]
    fields = ("sid", "begin_time", "end_time", "text", "subsets", "confidence")
    path = "audio/train/youtube/B00000/Y0000000000_--5llN02F84.opus"
    audio = {"aid": "Y0000000000_--5llN02F84", "path": path, "segments": [dict(zip(fields, each)) for each in segments]}
    text(root / "WenetSpeech.json", json.dumps({"audios": [audio]}, ensure_ascii=False))
    sound(root / path, 8.0)


def wenetspeech4tts(root: Path) -> None:
    for archive, id in (("Premium/WenetSpeech4TTS_Premium_0", "X1_2_S1-S2"), ("Basic/WenetSpeech4TTS_Basic_3", "X9_8_S3")):
        sound(root / archive / "wavs" / f"{id}.wav")
        text(root / archive / "txts" / f"{id}.txt", f"{id}\t今天天气很好，对吧？\n[(0, 1)]\n")
    folder = root / "Premium/WenetSpeech4TTS_Premium_0"
    sound(folder / "wavs" / "X1_3_S1.wav")
    text(folder / "txts" / "X1_4_S1.txt", "X1_4_S1\t没有声音\n[]\n")
    sound(folder / "wavs" / "X1_5_S1.wav")
    text(folder / "txts" / "X1_5_S1.txt", "没有名字\n")


def librispeech(root: Path) -> None:
    for subset, speaker, chapter in (("train-clean-100", "103", "1240"), ("dev-clean", "84", "121"), ("test-clean", "61", "70")):
        folder, stem = root / subset / speaker / chapter, f"{speaker}-{chapter}"
        text(folder / f"{stem}.trans.txt", f"{stem}-0000 CHAPTER ONE\n{stem}-0001 I WAS SURE\n")
        for number in ("0000", "0001"):
            sound(folder / f"{stem}-{number}.flac")
    folder = root / "train-clean-100" / "103" / "1240"
    sound(folder / "103-1240-0002.flac")
    with (folder / "103-1240.trans.txt").open("ab") as file:
        file.write(b"103-1240-0003 NO SOUND\n103-1240-0004 \xff\n103-1240-0001 AGAIN\n")


def libritts(root: Path) -> None:
    for subset, speaker, chapter in (("train-clean-360", "103", "1241"), ("test-other", "84", "121")):
        stem = root / subset / speaker / chapter / f"{speaker}_{chapter}_000000_000001"
        sound(Path(f"{stem}.wav"), rate=24000)
        text(Path(f"{stem}.normalized.txt"), "Mister Bell, page nine.\n")
        text(Path(f"{stem}.original.txt"), "Mr. Bell, p. 9.\n")
        text(stem.parent / f"{speaker}_{chapter}.trans.tsv", "")
    text(root / "test-other/84/121/84_121_000000_000002.normalized.txt", "No sound.")


def vctk(root: Path) -> None:
    for speaker, mics in (("p225", "12"), ("p280", "1"), ("p315", "12")):
        for mic in mics:
            sound(root / "wav48_silence_trimmed" / speaker / f"{speaker}_001_mic{mic}.flac", rate=48000)
        if speaker != "p315":
            text(root / "txt" / speaker / f"{speaker}_001.txt", "Please call Stella.\n")
    text(root / "wav48_silence_trimmed" / "log.txt", "")


def vctk_older(root: Path) -> None:
    sound(root / "wav48" / "p225" / "p225_001.wav", rate=48000)
    text(root / "txt" / "p225" / "p225_001.txt", "Please call Stella.")


def aishell1(root: Path) -> None:
    ids = {"train": "BAC009S0002W0122", "dev": "BAC009S0724W0121", "test": "BAC009S0764W0121"}
    for subset, id in ids.items():
        sound(root / "wav" / subset / id[6:11] / f"{id}.wav")
    sound(root / "wav" / "train" / "S0002" / "BAC009S0002W0123.wav")
    lines = "".join(f"{id} 而 对 楼市 成交 \n" for id in ids.values())
    text(root / "transcript" / "aishell_transcript_v0.8.txt", lines + "BAC009S0002W0199 没有 声音\nBAC009S0999W0001 没有 人\n")


def aishell2(root: Path) -> None:
    for subset, speaker, id in (
        ("data", "C0001", "IC0001W0001"),
        ("dev", "D0012", "ID0012W0002"),
        ("test", "T0055", "IT0055W0003"),
    ):
        sound(root / "iOS" / subset / "wav" / speaker / f"{id}.wav")
        text(root / "iOS" / subset / "wav.scp", f"{id}\twav/{speaker}/{id}.wav\n")
        text(root / "iOS" / subset / "trans.txt", f"{id}\t打开 wifi\n")
    text(root / "iOS" / "data" / "wav.scp", "IC0001W0001\twav/C0001/IC0001W0001.wav\nIC0001W0002\twav/C0001/IC0001W0002.wav\n")
    text(root / "iOS" / "data" / "trans.txt", "IC0001W0001\t厨房用品\nIC0001W0003\t没有声音\n")


def aishell3(root: Path) -> None:
    for subset, id in (("train", "SSB00050001"), ("test", "SSB00730005")):
        sound(root / subset / "wav" / id[:7] / f"{id}.wav", rate=44100)
        text(root / subset / "content.txt", f"{id}.wav\t广 guang3 州 zhou1 \n")
    sound(root / "train" / "wav" / "SSB0005" / "SSB00050002.wav", rate=44100)
    with (root / "train" / "content.txt").open("a", encoding="utf-8") as file:
        file.write("SSB00050002.wav\t广 州 zhou1\n")
    text(root / "spk-info.txt", "")


def ljspeech(root: Path) -> None:
    rows = ('LJ001-0001|He said "1455|He said "fourteen fifty-five', "LJ001-0002|Dr. No,|Doctor No,", "LJ001-0003|two columns")
    text(root / "metadata.csv", "".join(f"{row}\n" for row in rows))
    for id in ("LJ001-0001", "LJ001-0002", "LJ001-0004"):
        sound(root / "wavs" / f"{id}.wav", rate=22050)


def baker(root: Path) -> None:
    lines = ("000001\t卡尔普#2陪外孙#1玩滑梯#4。", "\tka2 er2 pu3 pei2", "000002\t“好#2吗#4？”", "\thao3 ma5", "what is this")
    text(root / "ProsodyLabeling" / "000001-010000.txt", "\ufeff" + "\r\n".join(lines) + "\r\n")
    for id in ("000001", "000002"):
        sound(root / "Wave" / f"{id}.wav", rate=48000)
    text(root / "PhoneLabeling" / "000001.interval", "")
