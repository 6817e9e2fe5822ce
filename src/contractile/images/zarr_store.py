"""A Zarr on disk behind the gate: plain files alone are opened, and no chunk decodes to more than was declared."""

from __future__ import annotations

import asyncio
import copy
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs.abc import Codec as OldCodec  # type: ignore[import-untyped]
from zarr.abc.codec import BytesBytesCodec, Codec
from zarr.codecs import ShardingCodec
from zarr.storage import LocalStore

from contractile.images.gate import check_chunks, check_piece, limits, what_is
from contractile.images.raster import Damaged
from contractile.images.unpacking import COMPRESSORS, excess, unpack
from contractile.images.zarr_metadata import check_numbers

METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")
WIDEST = 8  # bytes of a number, which a filter may have made of a smaller one
SPARE = 2**16  # bytes that a compressed chunk may have more than twice its size


class _Plain(LocalStore):  # type: ignore[misc]
    """A folder of plain files, read only; `most` is the size of the largest chunk."""

    most = 0

    def check(self, key: str) -> None:
        """Raise Damaged for a file that must not be read."""
        try:
            found = os.stat(self.root / key)
        except OSError:
            return  # it is missing
        what = what_is(found.st_mode)
        if what is not None:
            raise Damaged(f"{key} in it is {what}, not a file")
        name = key.rsplit("/", 1)[-1]
        most = limits().metadata if name in METADATA else self.most
        if most and found.st_size > most:
            raise Damaged(f"{key} in it has {found.st_size} bytes, more than the {most} that it may have")

    def get(self, key: str, *args: Any, **more: Any) -> Any:
        self.check(key)
        return super().get(key, *args, **more)

    def get_partial_values(self, prototype: Any, key_ranges: Iterable[tuple[str, Any]]) -> Any:
        wanted = list(key_ranges)
        for key, _ in wanted:
            self.check(key)
        return super().get_partial_values(prototype, wanted)


def open_node(folder: Path) -> Any:
    """The group or array in a folder, of which only the metadata may be used. Raises what Zarr raises."""
    version: Any = 3 if (folder / "zarr.json").exists() else 2
    return zarr.open(store=_Plain(folder, read_only=True), mode="r", use_consolidated=False, zarr_format=version)


def open_array(folder: Path, *, fill: int | None = None) -> zarr.Array:
    """The array in a folder; `fill` stands in place of missing chunks (None: what the array says).

    Raises what `check_numbers` and `limit_array` raise, and what Zarr raises.
    """
    check_numbers(folder)
    array = open_node(folder)
    if not isinstance(array, zarr.Array):
        raise Damaged("it holds no array where its metadata name one")
    return limit_array(array, folder, fill=fill)


def limit_array(array: zarr.Array, folder: Path, *, fill: int | None = None) -> zarr.Array:
    """An array that `open_node` gave, whose chunks may be read; `fill` as in `open_array`.

    Raises ContractileError for chunks that are too large or too many. Reading raises Damaged where a chunk holds more
    than it should.
    """
    partly = _is_read_in_parts(array.metadata)
    unit = array.chunks if partly or array.shards is None else array.shards
    check_piece("a chunk of it", unit, folder)
    files = array.shards or array.chunks
    check_chunks("chunks", math.prod(math.ceil(n / size) for n, size in zip(array.shape, files, strict=True)), folder)
    if array.shards is not None:
        check_chunks("chunks", math.prod(array.shards) // max(1, math.prod(array.chunks)), folder)
    number = array.dtype.itemsize
    metadata = _with_limits(array.metadata, math.prod(array.chunks), math.prod(files), number)
    if fill is not None:
        object.__setattr__(metadata, "fill_value", array.dtype.type(fill))
    store = array.store
    store.most = 2 * math.prod(files) * max(number, WIDEST if _has_filters(metadata) else 0) + SPARE
    store.most += 16 * (math.prod(files) // max(1, math.prod(array.chunks)))  # the index of a shard
    return zarr.Array(zarr.AsyncArray(metadata=metadata, store_path=array.store_path))


def _is_read_in_parts(metadata: Any) -> bool:
    """Whether the chunks within a shard are decoded one by one: nothing is done to the whole shard."""
    codecs: tuple[Codec, ...] = getattr(metadata, "codecs", ())
    return len(codecs) == 1 and isinstance(codecs[0], ShardingCodec)


def _has_filters(metadata: Any) -> bool:
    filters = getattr(metadata, "filters", None)
    return bool(filters) or len(getattr(metadata, "codecs", ())) > 2


def _with_limits(metadata: Any, chunk: int, shard: int, itemsize: int) -> Any:
    """A copy of an array's metadata whose codecs have limits; `chunk` and `shard` are their numbers of values."""
    found = copy.copy(metadata)
    if metadata.zarr_format == 3:
        object.__setattr__(found, "codecs", _limit_all(metadata.codecs, chunk, shard, itemsize))
        return found
    most = chunk * itemsize
    widest = chunk * max(itemsize, WIDEST) + SPARE if metadata.filters else most
    if metadata.compressor is not None:
        object.__setattr__(found, "compressor", _Old(metadata.compressor, widest))
    if metadata.filters:
        object.__setattr__(found, "filters", tuple(_Old(one, widest) for one in metadata.filters))
    return found


def _limit_all(codecs: Iterable[Codec], chunk: int, whole: int, itemsize: int) -> tuple[Codec, ...]:
    """Codecs of pieces of `whole` values, with limits; within sharding those of a `chunk`.

    The first that packs bytes gives the values themselves, the next what that one packed.
    """
    found: list[Codec] = []
    most, changed = whole * itemsize, False
    for one in codecs:
        if isinstance(one, ShardingCodec):
            inner = _limit_all(one.codecs, chunk, math.prod(one.chunk_shape), itemsize)
            found.append(
                ShardingCodec(
                    chunk_shape=one.chunk_shape,
                    codecs=inner,
                    index_codecs=one.index_codecs,
                    index_location=one.index_location,
                )
            )
            most, changed = 2 * most + SPARE + 16 * (whole // max(1, math.prod(one.chunk_shape))), True
            continue
        described = one.to_dict()
        name = str(described["name"]).removeprefix("numcodecs.")
        if name in COMPRESSORS:
            settings = described.get("configuration")
            found.append(_New(name, tuple(settings.items()) if isinstance(settings, dict) else (), most))
            most = 2 * most + SPARE
            continue
        if name not in ("bytes", "endian", "transpose") and not changed:
            most, changed = whole * max(itemsize, WIDEST) + SPARE, True
        found.append(one)
    return tuple(found)


@dataclass(frozen=True)
class _New(BytesBytesCodec):  # type: ignore[misc]
    """A codec of Zarr 3 that stops at `most` bytes."""

    name: str
    settings: tuple[tuple[str, Any], ...]
    most: int
    is_fixed_size = False

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        packed = chunk_bytes.to_bytes()
        data = await asyncio.to_thread(unpack, self.name, packed, self.most, dict(self.settings))
        return chunk_spec.prototype.buffer.from_bytes(data)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: Any) -> int:
        raise NotImplementedError  # the size of compressed data is not known before


class _Old(OldCodec):  # type: ignore[misc]
    """A codec of Zarr 2 that stops at `most` bytes."""

    codec_id = "limited"

    def __init__(self, codec: OldCodec, most: int) -> None:
        self._codec, self._most = codec, most

    def decode(self, buf: Any, out: Any = None) -> Any:
        if np.asarray(buf).nbytes > 2 * self._most + SPARE:
            raise excess(self._most)
        if self._codec.codec_id in COMPRESSORS:
            return unpack(self._codec.codec_id, bytes(buf), self._most, self._codec.get_config())
        return self._codec.decode(buf)

    def encode(self, buf: Any) -> Any:
        raise NotImplementedError  # arrays are read only
