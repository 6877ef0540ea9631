"""Parallel texts as the WMT shared tasks publish them; a sentence pair is a translation, whichever way it was made.

The path is a folder (or one file) with any of

    news-commentary-v12.zh-en.zh   news-commentary-v12.zh-en.en     a line a sentence, a file a language
    casia2015_ch.txt               casia2015_en.txt                 the same, as CWMT names its files
    news-commentary-v14.en-zh.tsv                                   both on a line; the name says which comes first
    newstest2017-zhen-src.zh.sgm   newstest2017-zhen-ref.en.sgm     test sets

as they are or with .gz. Sentences of sets for development and tests (by name) are held out.
"""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from cslm_jax.data.config import Split
from cslm_jax.data.corpora import CorpusConfig, Item, Rejected, _files
from cslm_jax.data.records import Translation
from cslm_jax.errors import BadRecord, CslmError

_ALIASES = {"ch": "zh", "cn": "zh", "cz": "cs"}
_PARALLEL = re.compile(r"(?P<set>.+?)(?:-(?:src|ref))?[._](?P<language>[a-z]{2,3})(?P<kind>|\.txt|\.sgm)(?:\.gz)?")
_TSV = re.compile(r".+[._](?P<first>[a-z]{2,3})-(?P<second>[a-z]{2,3})\.tsv(?:\.gz)?")
_NAMED_PAIR = re.compile(r".+[._]([a-z]{2,3})-([a-z]{2,3})")
_NO_LANGUAGE = {"tsv", "txt", "sgm", "xml", "tmx", "ids", "zip", "tar", "tgz", "md"}
_HELD_OUT = re.compile(r"(^|[\W_]|news)(dev|test|valid|development|validation)(set)?(?![a-z])", re.IGNORECASE)
_SEGMENT = re.compile(rb"<seg[^>]*>(.*?)</seg>", re.DOTALL | re.IGNORECASE)


def read(corpus: CorpusConfig, *, languages: Sequence[str] = ()) -> Iterator[Item]:
    """The sentence pairs of all files, in the order of their names. A pair with an empty side is rejected.

    Args:
        languages: the two that are read, in the order of the columns where a table does not tell; needed where a folder
            has more.

    Raises:
        CslmError: no pair of files, more than two languages, or files with different numbers of lines; they are counted
            before anything is read, for what follows a lost line is paired wrongly.
    """
    pairs = (*_parallel_files(corpus, languages), *_tables(corpus, languages))
    if not pairs:
        raise CslmError(f"corpora.{corpus.name}.path: {corpus.path} has no two files that differ by their language, and no .tsv")
    yield from itertools.chain.from_iterable(pairs)


def _parallel_files(corpus: CorpusConfig, languages: Sequence[str]) -> list[Iterator[Item]]:
    """A reader for each set that is there in two languages."""
    sets: dict[tuple[Path, str, str], dict[str, Path]] = {}
    for path in _files.find(corpus, ("",)):
        match = _PARALLEL.fullmatch(path.name)
        if match and match["language"] not in _NO_LANGUAGE:
            language, named = _code(match["language"]), _NAMED_PAIR.fullmatch(match["set"])
            if language in (languages or (map(_code, named.groups()) if named else (language,))):
                sets.setdefault((path.parent, match["set"], match["kind"]), {})[language] = path
    pairs = [members for members in sets.values() if len(members) > 1]
    for members in pairs:
        _check(corpus, members)
    return [_parallel(corpus, members) for members in pairs]


def _code(language: str) -> str:
    return _ALIASES.get(language, language)


def _check(corpus: CorpusConfig, paths: dict[str, Path]) -> None:
    if len(paths) > 2:
        names = ", ".join(path.name for path in paths.values())
        raise CslmError(f"corpora.{corpus.name}.options: say which two languages of {names} are read: languages=[...]")
    counts = [len(_segments(path)) if _is_sgm(path) else _files.count_lines(path) for path in paths.values()]
    if len(set(counts)) > 1:
        told = " and ".join(f"{path} has {count:,} lines" for path, count in zip(paths.values(), counts, strict=True))
        raise CslmError(f"corpora.{corpus.name}: {told}; they cannot be paired, so fetch both again")


def _parallel(corpus: CorpusConfig, paths: dict[str, Path]) -> Iterator[Item]:
    columns = [_segments(path) if _is_sgm(path) else _files.lines(path) for path in paths.values()]
    name, files = _files.name(corpus, next(iter(paths.values()))), ", ".join(map(str, paths.values()))
    for number, cells in enumerate(zip(*columns, strict=True), 1):
        yield _translation(f"{name}:{number}", f"line {number}", files, dict(zip(paths, cells, strict=True)))


def _is_sgm(path: Path) -> bool:
    return path.name.removesuffix(".gz").endswith(".sgm")


def _segments(path: Path) -> list[bytes]:
    """Sentences of a test set; its SGML is no XML, as it does not escape what it should."""
    with _files.opened(path) as file:
        return [html.unescape(found.decode("utf-8", "replace")).encode() for found in _SEGMENT.findall(file.read())]


def _tables(corpus: CorpusConfig, languages: Sequence[str]) -> Iterator[Iterator[Item]]:
    for path in _files.find(corpus, ("",)):
        if path.name.removesuffix(".gz").endswith(".tsv"):
            match = _TSV.fullmatch(path.name)
            columns = list(map(_code, match.groups()) if match else languages)
            if len(columns) != 2:
                raise CslmError(f"corpora.{corpus.name}.options: name the languages of the columns of {path}: languages=[...]")
            if not languages or set(columns) == set(languages):
                yield _table(corpus, path, columns)


def _table(corpus: CorpusConfig, path: Path, languages: Sequence[str]) -> Iterator[Item]:
    for number, line in enumerate(_files.lines(path), 1):
        id, place = f"{_files.name(corpus, path)}:{number}", f"line {number}"
        cells = line.split(b"\t")
        if len(cells) < 2:
            yield Rejected(id, str(path), "text", f"{place}: 1 column in place of 2")
        else:
            # Tables of some years have a third column, with a score.
            yield _translation(id, place, str(path), dict(zip(languages, cells)))


def _translation(id: str, place: str, files: str, cells: dict[str, bytes]) -> Translation | Rejected:
    split: Split = "validation" if _HELD_OUT.search(Path(id).name) else "train"
    try:
        texts = {language: _files.decoded(cell, f"texts[{language}]") for language, cell in cells.items()}
        return Translation(id=id, split=split, texts=texts)
    except BadRecord as error:
        return Rejected(id, files, error.stage, f"{place}: {error.reason}")
