"""The state file of a run: a mark, a checksum of the rest, a description as JSON, and tensors as safetensors.

No part of it is a pickle: reading it runs no code. Nothing is used before the checksum fits.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as deserialise
from safetensors.torch import save as serialise
from torch import Tensor

from contractile.errors import ContractileError, describe_invalid
from contractile.recipe import Recipe

MARK = b"contractile state "
FORMAT = b"1\n"
DIGEST, LENGTH = 32, 8  # bytes of the checksum, and of the length of the description
LARGEST, PIECE = 2**33, 2**20  # bytes of a file, and of what is hashed at once
SPARSE = 16  # a network has at most so many times as many weights as the state has numbers: tied ones share them
ANEW = "start anew with --overwrite (overwrite=True), or in another folder"


class Origin(BaseModel):
    """What a run began with, beside its recipe: data, versions, and the words of the command line.

    `data` is the SHA-256 of all images and labels; `prints` has, for each side of the data, a short hash by name.
    `start` is the name of the model that the run started from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str = ""
    prints: dict[str, dict[str, str]] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    command: str = ""
    start: str = ""


class Saved(BaseModel):
    """The part of a state that is no tensor.

    `step` counts the steps taken, `validated` is the step of the last validation, `kept` the step of the network in the
    model file and `best` the best steering score; `history` holds a row for each point of the curves, `losses` those
    of the steps since the last row.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    recipe: Recipe
    origin: Origin
    step: int = Field(ge=0)
    validated: int = Field(ge=0)
    kept: int | None
    best: float | None
    losses: list[float]
    history: list[dict[str, float]]


class Found(NamedTuple):
    """What a state file holds."""

    saved: Saved
    tensors: dict[str, Tensor]


def encode(saved: Saved, tensors: Mapping[str, Tensor]) -> list[bytes]:
    """The content of a state file, in pieces."""
    text = saved.model_dump_json().encode()
    pieces = [len(text).to_bytes(LENGTH, "little"), text, serialise(dict(tensors))]
    return [MARK + FORMAT, _digest(pieces), *pieces]


def is_state(path: Path) -> bool:
    """Whether a file begins as the state files of this package do."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MARK)) == MARK


def decode(path: Path) -> Found:
    """Read a state file. Raises ContractileError for one that is damaged, foreign or of another version."""
    try:
        with path.open("rb") as file:
            _check_mark(file.read(len(MARK + FORMAT)), path)
            text, rest = _read(file)
        saved = Saved.model_validate_json(text)
        tensors = deserialise(rest)
        _check(saved, tensors)
    except OSError as error:
        raise ContractileError(f"cannot be read ({error.strerror})", ANEW, where=path) from error
    except ValidationError as error:
        problem = f"is not the state of a run ({': '.join(describe_invalid(error)):.300})"
        raise ContractileError(problem, ANEW, where=path) from error
    except (_Unfit, SafetensorError, KeyError, RuntimeError) as error:
        raise ContractileError(f"is damaged ({error})", ANEW, where=path) from error
    return Found(saved, tensors)


class _Unfit(Exception):
    """What is wrong with a state file."""


def _read(file: BinaryIO) -> tuple[bytes, bytes]:
    """(description, tensors), read into memory once their checksum fits."""
    size = os.fstat(file.fileno()).st_size
    if size > LARGEST:
        raise _Unfit("it is too large")
    expected, begin = file.read(DIGEST), file.tell()
    if _digest(iter(lambda: file.read(PIECE), b"")) != expected:
        raise _Unfit("its checksum does not fit")
    file.seek(begin)
    length = int.from_bytes(file.read(LENGTH), "little")
    return file.read(min(length, size)), file.read()


def _digest(pieces: Iterable[bytes]) -> bytes:
    found = hashlib.blake2b(digest_size=DIGEST)
    for piece in pieces:
        found.update(piece)
    return found.digest()


def _check_mark(head: bytes, path: Path) -> None:
    if head == MARK + FORMAT:
        return
    if head.startswith(b"PK"):
        problem = "is not the state of a run, or that of contractile 0.2, which has no checksum"
        raise ContractileError(problem, f"resume it with that version, or {ANEW}", where=path)
    if head.startswith(MARK):
        problem = f"is of state format {head[len(MARK) : -1].decode(errors='replace')!r}, and this version reads '1'"
        raise ContractileError(problem, f"resume with the version that began the run, or {ANEW}", where=path)
    raise ContractileError("is not the state of a run", ANEW, where=path)


def _check(saved: Saved, tensors: Mapping[str, Tensor]) -> None:
    """Check what would show late, or take memory."""
    steps = saved.recipe.steps
    if steps is None or not saved.validated <= saved.step <= steps:
        raise _Unfit(f"step {saved.step} of {steps} steps, validated at step {saved.validated}")
    numbers = sum(value.numel() for name, value in tensors.items() if name.startswith("network."))
    if saved.recipe.network.parameters > SPARSE * numbers:
        raise _Unfit("it does not hold the network of its recipe")
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise _Unfit(f"{name} holds values that are no numbers")
