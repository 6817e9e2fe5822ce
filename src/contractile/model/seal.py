"""The checksum of a model file: of every byte of it, with zeros where the checksum itself stands in the card."""

from __future__ import annotations

import hashlib

DIGITS = 64  # hexadecimal
EMPTY = "0" * DIGITS  # a card is written with this, and the checksum of the whole file then takes its place


def seal(content: bytes) -> bytes:
    """A file whose card holds an empty checksum -> the same file with its checksum."""
    return content.replace(EMPTY.encode(), compute_checksum(content).encode(), 1)


def compute_checksum(*parts: bytes) -> str:
    """The checksum of the parts of a file, one after another."""
    digest = hashlib.blake2b(digest_size=DIGITS // 2)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def is_whole(header: bytes, body: bytes, checksum: str) -> bool:
    """Whether a file, as its header and its body, still has the checksum that its card holds."""
    written = header.replace(checksum.encode(), EMPTY.encode(), 1)
    return len(checksum) == DIGITS and compute_checksum(written, body) == checksum
