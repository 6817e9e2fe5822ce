"""The header of a safetensors file, read and checked before anything else of the file is.

The file is: the length of the header in eight bytes, the header in JSON, and the values of the tensors one after
another. The library checks the same once more when it reads the tensors; by then the file is in memory.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel, NonNegativeInt, TypeAdapter, ValidationError

from contractile.errors import ContractileError, describe_invalid, printable

METADATA_KEY = "contractile"
LENGTH = 8  # bytes that hold the length of the header
LARGEST_HEADER = 2**22  # bytes; the header of the largest network takes 2^15, and the card some thousands
SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}  # bytes of the numbers that weights may be
COUNTER = "num_batches_tracked"  # the one kind of tensor that holds whole numbers
CURE = "give the model.safetensors that `contractile train` wrote"


class Tensor(BaseModel):
    """One tensor of a file: the type of its numbers, its shape, and where its bytes begin and end."""

    dtype: str
    shape: tuple[NonNegativeInt, ...]
    data_offsets: tuple[NonNegativeInt, NonNegativeInt]

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Header:
    """A header: its bytes with the eight that tell its length, the text of the card, the tensors, their bytes."""

    raw: bytes
    card: str
    tensors: dict[str, Tensor]
    body: int


TENSORS = TypeAdapter(dict[str, Tensor])


def read_header(file: BinaryIO, path: Path) -> Header:
    """The header of a file opened for reading, which is then at the first tensor.

    Raises ContractileError for a file that is no safetensors file, that is cut short, or that has no card.
    """
    start = file.read(LENGTH)
    length, left = int.from_bytes(start, "little"), os.fstat(file.fileno()).st_size - LENGTH
    if length > left:
        raise _no_safetensors(path, f"its header should have {length} bytes, and {max(0, left)} are there")
    if not 2 <= length <= LARGEST_HEADER:
        raise _no_safetensors(path, f"its header must have 2 to {LARGEST_HEADER} bytes, got {length}")
    raw = file.read(length)
    try:
        table = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _no_safetensors(path, f"its header is no JSON: {shown(error, 100)}") from error
    if not isinstance(table, dict):
        raise _no_safetensors(path, "its header must be a table of tensors")
    metadata = table.pop("__metadata__", {})
    card = metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None
    if not isinstance(card, str):
        raise ContractileError("has no contractile card in its metadata", CURE, where=path)
    return Header(start + raw, card, _check_tensors(table, left - length, path), left - length)


def _check_tensors(table: dict[str, Any], body: int, path: Path) -> dict[str, Tensor]:
    """The tensors of a header, whose bytes lie one after another in the `body` bytes after it."""
    try:
        tensors = TENSORS.validate_python(table)
    except ValidationError as error:
        raise _no_safetensors(path, f"its header has {shown(': '.join(describe_invalid(error)), 100)}") from error
    end = 0
    for name, one in sorted(tensors.items(), key=lambda item: item[1].data_offsets):
        sizes, kinds = ({"I64": 8}, "I64") if name.endswith(COUNTER) else (SIZES, ", ".join(SIZES))
        if one.dtype not in sizes:
            problem = f"tensor {shown(name)} must hold numbers of type {kinds}, got {shown(one.dtype)}"
            raise ContractileError(problem, "train it again", where=path)
        if one.data_offsets != (end, end + one.size * sizes[one.dtype]):
            raise _no_safetensors(path, f"the bytes of tensor {shown(name)} are not where its shape says")
        end = one.data_offsets[1]
    if end != body:
        raise _no_safetensors(path, f"its tensors should have {end} bytes, and {body} are there")
    return tensors


def shown(value: object, most: int = 60) -> str:
    """A value from a file as text for an error: short, and without characters that steer a terminal."""
    text = str(value)
    return printable(text if len(text) <= most else f"{text[:most]}...")


def _no_safetensors(path: Path, reason: str) -> ContractileError:
    return ContractileError(f"cannot be read as safetensors ({reason})", CURE, where=path)
