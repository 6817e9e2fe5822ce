"""Ways to damage a file: at random, and where its format keeps sizes, places and kinds."""

from __future__ import annotations

import hashlib
import json
import re
import struct
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

from contractile.model.seal import EMPTY, seal

Mutation = Callable[[bytes, Random], bytes]

BYTES = (0, 1, 0x7F, 0x80, 0xFF)
WORDS = (0, 1, 2, 255, 256, 32767, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
NUMBERS: tuple[Any, ...] = (0, -1, 1, 2, 3, 10**3, 2**31, 2**63, 10**18, 10**400, 1e308, -1e-308, 0.5, True, None)
TEXTS = ("", "../secret", "/dev/zero", "\0", "\x1b[31m", "[/b]", "é" * 50, "A" * 10**5, "pickle", "|O", "NaN", "1e999")
STATE_DIGEST = 32  # bytes of the checksum of a state, behind its first line
PIECE = 64  # bytes that are moved, overwritten or repeated, at most


def flip_bits(data: bytes, rng: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 8, 64))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def set_word(data: bytes, rng: Random) -> bytes:
    """A number of 1, 2, 4 or 8 bytes somewhere, most often in the first half kilobyte, where headers are."""
    form = rng.choice("BHIQ")
    size = struct.calcsize(form)
    if len(data) < size:
        return data
    last = len(data) - size
    at = rng.randint(0, min(last, 512)) if rng.random() < 0.7 else rng.randint(0, last)
    value = rng.choice(WORDS) % 2 ** (8 * size)
    return data[:at] + struct.pack(rng.choice("<>") + form, value) + data[at + size :]


def truncate(data: bytes, rng: Random) -> bytes:
    return data[: rng.randint(0, len(data))]


def overwrite(data: bytes, rng: Random) -> bytes:
    """A hole of one value, such as a lost block of a disk leaves."""
    start = rng.randint(0, len(data))
    length = rng.choice((1, PIECE, len(data) // 3))
    return data[:start] + bytes([rng.choice(BYTES)]) * min(length, len(data) - start) + data[start + length :]


def repeat(data: bytes, rng: Random) -> bytes:
    start = rng.randint(0, len(data))
    piece = data[start : start + rng.randint(1, PIECE)]
    return data[:start] + piece * rng.choice((2, 3, 100)) + data[start:]


def remove(data: bytes, rng: Random) -> bytes:
    start = rng.randint(0, len(data))
    return data[:start] + data[start + rng.randint(1, PIECE) :]


def move(data: bytes, rng: Random) -> bytes:
    """A piece of the file in another place of it."""
    start, at = rng.randint(0, len(data)), rng.randint(0, len(data))
    piece = data[start : start + rng.randint(1, PIECE)]
    return data[:at] + piece + data[at + len(piece) :]


def change_png(data: bytes, rng: Random) -> bytes:
    """Other content of a block of a PNG, with a checksum that fits: a decoder believes it."""
    if not data.startswith(b"\x89PNG") or len(data) < 45:
        return flip_bits(data, rng)
    blocks, place = [], 8
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4])
        blocks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    number = rng.randrange(len(blocks))
    name, body = blocks[number]
    blocks[number] = (name, rng.choice((set_word, flip_bits, truncate))(body, rng))
    if rng.random() < 0.2:
        blocks.insert(rng.randrange(len(blocks)), rng.choice(blocks))
    parts = [len(body).to_bytes(4) + name + body + zlib.crc32(name + body).to_bytes(4) for name, body in blocks]
    return data[:8] + b"".join(parts)


def change_tiff(data: bytes, rng: Random) -> bytes:
    """Another tag, type, count or value in an entry of the first directory of a little-endian TIFF."""
    if data[:4] != b"II*\0" or len(data) < 16:
        return set_word(data, rng)
    first = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[first : first + 2], "little")
    at = first + 2 + 12 * rng.randrange(max(1, count))
    form, shift = rng.choice((("<H", 0), ("<H", 2), ("<I", 4), ("<I", 8), ("<I", 8), ("<I", 8)))
    size = struct.calcsize(form)
    if at + shift + size > len(data):
        return set_word(data, rng)
    value = rng.choice((*WORDS, rng.randint(0, 40), len(data) + rng.randint(-20, 20))) % 2 ** (8 * size)
    return data[: at + shift] + struct.pack(form, value) + data[at + shift + size :]


def change_text(data: bytes, rng: Random) -> bytes:
    """Another number, word or bracket in JSON, XML or TOML, or in text within another format."""
    tokens = list(re.finditer(rb"-?\d+(?:\.\d+)?|[A-Za-z_]{3,}|[\[\]{}<>\"]", data))
    if not tokens:
        return flip_bits(data, rng)
    token = rng.choice(tokens)
    new: Any = rng.choice(NUMBERS) if token[0][:1].isdigit() else rng.choice((*TEXTS, *NUMBERS))
    if rng.random() < 0.1:
        new = rng.choice(("[", "{", "<a>", '"')) * rng.choice((1, 1000, 50000))
    return data[: token.start()] + str(new).encode() + data[token.end() :]


def change_wide_text(data: bytes, rng: Random) -> bytes:
    """Another number, word or bracket in a text of two bytes a letter (UTF-16), such as makers of microscopes write."""
    tokens = list(re.finditer(rb"(?:[0-9]\0)+|(?:[A-Za-z_]\0){3,}|[<>\"=\[\]]\0", data))
    if not tokens:
        return change_text(data, rng)
    token = rng.choice(tokens)
    new: Any = rng.choice(NUMBERS) if token[0][:1].isdigit() else rng.choice((*TEXTS, *NUMBERS))
    return data[: token.start()] + str(new).encode("utf-16-le", "replace") + data[token.end() :]


def set_number(data: bytes, rng: Random) -> bytes:
    """Another number of 2, 4 or 8 bytes where a small one is: a length, a count or a place, wherever it lies."""
    form = rng.choice("HIIIQ")
    size = struct.calcsize(form)
    for _ in range(200):
        at = rng.randint(0, max(0, len(data) - size))
        piece = data[at : at + size]
        if len(piece) == size and 0 < int.from_bytes(piece, "little") < 2**16:
            value = rng.choice((*WORDS, rng.randint(0, 40), len(data) + rng.randint(-20, 20))) % 2 ** (8 * size)
            return data[:at] + struct.pack("<" + form, value) + data[at + size :]
    return set_word(data, rng)


def change_json(data: bytes, rng: Random) -> bytes:
    """Another value, a missing or a new key somewhere in a JSON text; the text stays JSON."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return change_text(data, rng)
    places: list[tuple[Any, Any]] = []
    _collect(tree, places)
    if not places:
        return json.dumps(rng.choice((*NUMBERS, *TEXTS, [], {}))).encode()
    for _ in range(rng.choice((1, 1, 2))):
        owner, key = rng.choice(places)
        new = rng.choice((*NUMBERS, *TEXTS, [], {}, [[]], {"id": "pickle"}, [1] * 20, rng.choice(places)[0]))
        if isinstance(owner, dict) and rng.random() < 0.2:
            owner.pop(key, None)
        elif isinstance(owner, dict) or key < len(owner):
            owner[key] = json.loads(json.dumps(new))  # a copy: no circles
    return json.dumps(tree).encode()


def _collect(node: Any, places: list[tuple[Any, Any]]) -> None:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        places.append((node, key))
        _collect(value, places)


def change_header(data: bytes, rng: Random) -> bytes:
    """Another value in the card of a model file, or in its table of tensors: mostly with length and seal that fit."""
    length = int.from_bytes(data[:8], "little")
    try:
        head = json.loads(data[8 : 8 + length])
        card = json.loads(head["__metadata__"]["contractile"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return change_text(data, rng)
    if rng.random() < 0.7:
        card = _changed(card, rng)
    else:
        head = _changed(head, rng)
    head["__metadata__"] = {"contractile": json.dumps({**card, "checksum": EMPTY})}
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    changed = struct.pack("<Q", len(text)) + text + data[8 + length :]
    return seal(changed) if rng.random() < 0.9 else changed


def change_state(data: bytes, rng: Random) -> bytes:
    """Other content of the state of a run, with a checksum that fits."""
    begin = data.find(b"\n") + 1 + STATE_DIGEST
    rest = rng.choice((change_text, change_text, flip_bits, set_word, truncate))(data[begin:], rng)
    return data[: begin - STATE_DIGEST] + hashlib.blake2b(rest, digest_size=STATE_DIGEST).digest() + rest


def _changed(tree: dict[str, Any], rng: Random) -> dict[str, Any]:
    """The tree with another value somewhere; as it is where that makes another kind of thing of it."""
    try:
        new = json.loads(change_json(json.dumps(tree).encode(), rng))
    except (ValueError, RecursionError):
        return tree
    return new if isinstance(new, dict) else tree


PLAIN: tuple[Mutation, ...] = (flip_bits, set_word, truncate, overwrite, repeat, remove, move)
BY_FORMAT: dict[str, tuple[Mutation, ...]] = {
    ".png": (change_png, change_png),
    ".tif": (change_tiff, change_tiff, change_tiff, change_text),
    ".json": (change_json, change_json, change_json, change_text),
    ".geojson": (change_json, change_json, change_json, change_text),
    ".zarray": (change_json, change_json, change_text),
    ".zattrs": (change_json, change_json, change_text),
    ".zgroup": (change_json, change_text),
    ".toml": (change_text, change_text, change_text),
    ".jsonl": (change_text, change_text),
    ".npy": (change_text, change_text),
    ".xml": (change_text, change_text),
    ".ckpt": (change_state, change_state, change_state),
    ".safetensors": (change_header, change_header, change_header),
    ".lif": (change_wide_text, change_wide_text, change_wide_text, set_number),
    ".oif": (change_wide_text, change_wide_text, change_wide_text),
    ".oib": (change_wide_text, set_number, set_number),
    ".czi": (change_text, set_number, set_number),
    ".nd2": (change_wide_text, set_number, set_number),
    ".h5": (change_text, set_number, set_number),
    ".ims": (change_text, set_number, set_number),
}


def mutate(data: bytes, name: str, rng: Random) -> bytes:
    """The content of a file called `name`, damaged once to three times."""
    suffix = name[name.rfind(".") :] if "." in name else ""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice((*PLAIN, *BY_FORMAT.get(suffix, ()) * 2))(data, rng)
    return data
