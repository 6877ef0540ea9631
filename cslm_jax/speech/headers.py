"""What a sound file says of itself, checked before its samples are believed."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from cslm_jax.errors import BadRecord
from cslm_jax.speech import ogg

# Tags of uncompressed WAV: integers, floating point, and the extensible header that holds either.
_PLAIN = (0x0001, 0x0003, 0xFFFE)


def check(path: Path, whole: bool = True) -> None:
    """Raises BadRecord (stage "audio") if the file cannot be opened or its header cannot be true.

    Args:
        whole: all of the file must be there and undamaged; a stretch of a longer file needs only itself.
    """
    try:
        with open(path, "rb") as file:
            head, size = file.read(4096), os.fstat(file.fileno()).st_size
            damage = ogg.damage(head + file.read()) if whole and head[:4] == b"OggS" else ""
    except OSError as error:
        raise BadRecord("audio", f"{path} cannot be opened: {error.strerror}") from error
    if whole and _declared_bytes(head) > size:
        raise BadRecord("audio", f"{path} is truncated: its header promises more bytes than the file has")
    if damage:
        raise BadRecord("audio", f"{path} is truncated or damaged: {damage}")
    if contradiction := _contradiction(head):
        raise BadRecord("audio", f"{path} has a header that contradicts itself: {contradiction}")


def _declared_bytes(head: bytes) -> int:
    """Bytes that the header of a WAV file promises; 0 where it says nothing (other formats, streams)."""
    if len(head) < 8 or head[:4] != b"RIFF":
        return 0
    (size,) = struct.unpack_from("<I", head, 4)
    # Programs that write into a pipe do not know the size beforehand and promise about the most that there can be.
    return 0 if size == 0 or size >= 0x7FFF0000 else size + 8


def _contradiction(head: bytes) -> str:
    """What in the format chunk of an uncompressed WAV file cannot be true together; nothing for other formats."""
    at = 12
    while head[:4] == b"RIFF" and at + 24 <= len(head):
        name, size = struct.unpack_from("<4sI", head, at)
        if name == b"fmt ":
            return _unlike(*struct.unpack_from("<HHIIHH", head, at + 8))
        at += 8 + size + size % 2
    return ""


def _unlike(tag: int, channels: int, rate: int, bytes_a_second: int, bytes_a_frame: int, bits: int) -> str:
    if tag not in _PLAIN:
        return ""
    if bytes_a_frame != channels * ((bits + 7) // 8):
        return f"{channels} channels of {bits} bits are not {bytes_a_frame} bytes"
    if bytes_a_second != rate * bytes_a_frame:
        return f"{rate} Hz times {bytes_a_frame} bytes are not {bytes_a_second} bytes a second"
    return ""
