"""Whether an Ogg file (Opus, Vorbis) is whole: decoders drop damaged pages in silence, and no header tells the length."""

from __future__ import annotations

import struct
import zlib

# RFC 3533: bytes of a page's header before its table of segment lengths, and the flag of the page that ends the stream.
_HEADER, _END = 27, 4
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def damage(content: bytes) -> str:
    """What is wrong with the pages of an Ogg file; nothing if all are there with the right checksums."""
    at = 0
    while at < len(content):
        if content[at : at + 4] != b"OggS":
            return f"no Ogg page begins at byte {at}"
        header = content[at : at + _HEADER]
        lengths = content[at + _HEADER : at + _HEADER + header[-1]] if len(header) == _HEADER else b""
        end = at + _HEADER + len(lengths) + sum(lengths)
        if len(header) < _HEADER or len(lengths) < header[-1] or end > len(content):
            return f"the Ogg page at byte {at} is cut off"
        if _checksum(content[at : at + 22] + bytes(4) + content[at + 26 : end]) != struct.unpack_from("<I", header, 22)[0]:
            return f"the Ogg page at byte {at} has a wrong checksum"
        if header[5] & _END:
            return ""
        at = end
    return "no page ends the Ogg stream"


def _checksum(page: bytes) -> int:
    """Ogg's CRC-32 has zlib's polynomial and takes the bits of each byte the other way round; it inverts nothing."""
    mirrored = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)
