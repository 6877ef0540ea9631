"""Corpora that are one large JSON file: long recordings, each with a list of segments (GigaSpeech, WenetSpeech)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ijson

from cslm_jax.data.corpora import CorpusConfig, Item, Recording, Rejected
from cslm_jax.data.corpora._layout import segment, split_of
from cslm_jax.errors import BadRecord, CslmError

Fields = Mapping[str, Any]


def recordings(
    corpus: CorpusConfig,
    name: str,
    subsets: tuple[str, ...],
    text: Callable[[Fields], str],
    keep: Callable[[Fields], bool] = lambda _: True,
) -> Iterator[Item]:
    """The segments of `subsets`, in the order of the file, of which only one recording's entry is in memory at a time.

    Args:
        name: of the JSON file in the corpus's folder.
        text: what is said in a segment; BadRecord to reject it.
        keep: False for a segment that is not wanted.

    Raises:
        CslmError: the file cannot be read, or ends in the middle.
    """
    path = Path(corpus.path) / name
    for number, audio in enumerate(_audios(corpus, path), 1):
        if not (isinstance(audio, dict) and isinstance(audio.get("path"), str) and isinstance(audio.get("segments"), list)):
            yield Rejected(f"audio {number}", str(path), "transcript", f"audio {number} lacks field `path` or `segments`")
            continue
        sound = path.parent / audio["path"]
        for fields in audio["segments"]:
            try:
                if wanted := {*subsets}.intersection(_subsets(fields)):
                    if keep(fields):
                        yield _recording(corpus, fields, sound, wanted, text)
            except KeyError as error:
                yield Rejected(_id(fields), str(path), "transcript", f"field `{error.args[0]}` is missing")
            except BadRecord as error:
                yield Rejected(_id(fields), str(sound), error.stage, error.reason)


def _audios(corpus: CorpusConfig, path: Path) -> Iterator[Any]:
    count = 0
    try:
        with path.open("rb") as file:
            for count, audio in enumerate(ijson.items(file, "audios.item", use_float=True), 1):  # noqa: B007
                yield audio
    except OSError as error:
        raise CslmError(f"corpora.{corpus.name}.path: {path} cannot be read ({error.strerror})") from error
    except (ijson.JSONError, UnicodeDecodeError) as error:
        raise CslmError(f"{path} is truncated or corrupted behind audio {count} ({error}); fetch it again") from error
    if not count:
        raise CslmError(f"{path} has no list `audios`; is it the published metadata?")


def _subsets(fields: Fields) -> list[str]:
    """GigaSpeech writes {XL}, WenetSpeech L."""
    if not isinstance(fields, dict):
        raise BadRecord("transcript", f"a segment is {fields!r}, not an object")
    return [str(name).strip("{}") for name in fields["subsets"]]


def _recording(corpus: CorpusConfig, fields: Fields, sound: Path, subsets: set[str], text: Callable[[Fields], str]) -> Recording:
    stretch = segment(sound, fields["begin_time"], fields["end_time"], ("begin_time", "end_time"))
    speaker = str(fields.get("speaker") or "")
    split = "validation" if any(split_of(subset) == "validation" for subset in subsets) else "train"
    return Recording(fields["sid"], corpus.language, text(fields), stretch, "" if speaker == "N/A" else speaker, split)


def said(fields: Fields, name: str) -> str:
    """The field that holds what is said; BadRecord if it is no text."""
    if not isinstance(fields[name], str):
        raise BadRecord("transcript", f"field `{name}` is {fields[name]!r}; it must be text")
    return fields[name].strip()


def _id(fields: Any) -> str:
    return str(fields.get("sid", "without sid")) if isinstance(fields, dict) else "without sid"
