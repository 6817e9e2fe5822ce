"""Look at a dataset file by file, collect what is wrong, and write repaired labels."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.check.findings import LEVELS, Finding, Spot, gather
from contractile.check.repair import (
    count_greys,
    cut_greys,
    find_pieces,
    find_specks,
    find_split,
    remove_specks,
    separate_split,
)
from contractile.dataset import Pair, pair_up
from contractile.errors import ContractileError
from contractile.images import Source, describe, find, list_files, open_image, read, read_labels, write_labels
from contractile.labels import find_meaning

SATURATED = 0.01  # share of pixels at the upper limit above which it is a fault
LIMITS = {2**bits - 1 for bits in (8, 10, 12, 14, 16)}  # upper limits of cameras
ALIKE = 1.1  # pixel sizes may differ by this factor


@dataclass(frozen=True)
class Seen:
    """The properties of an image that are kept once its pixels are gone."""

    shape: tuple[int, ...]  # (C, *S)
    dtype: str
    digest: bytes
    pixel_size_um: tuple[float, ...] | None


def check_dataset(images: str | Path, labels: str | Path | None = None, *, dims: int = 2) -> list[Finding]:
    """The faults of a dataset, worst first; an empty list where there are none.

    `images` and `labels` are what training takes: folders, globs, files or stacks. A file that cannot be read is a
    finding, not an exception: the other files are still looked at.
    """
    findings: list[Finding] = []
    spots: list[Spot] = []
    seen = _look_at_images(_find_each(images, dims, findings), dims, findings, spots)
    if labels is not None:
        pairs: list[Pair] = []
        with _noted(findings):
            pairs = pair_up(images, labels, dims=dims)
        if not pairs:
            _find_each(labels, dims, findings)
        paired = {pair.image for pair in pairs}
        spots += [Spot("unlabelled", describe(one)) for one in seen if pairs and one not in paired]
        _look_at_labels(pairs, dims, seen, findings, spots)
    return sorted(dict.fromkeys([*findings, *gather(spots)]), key=lambda finding: LEVELS.index(finding.level))


def fix_dataset(images: str | Path, labels: str | Path, out: str | Path, *, dims: int = 2) -> list[str]:
    """Write the repaired labels of every image to the folder `out`, named like the image.

    Smoothed masks are cut in two, colour pictures of grey masks become grey, pieces of one number far apart get
    different numbers, and specks are removed. Returns one line per repaired file, and one at the end.
    Raises as `pair_up`, and ContractileError for labels that cannot be read, or when `out` holds the labels.
    """
    pairs = pair_up(images, labels, dims=dims)
    folder = Path(out)
    if any(folder.resolve() in pair.labels.path.resolve().parents for pair in pairs):
        raise ContractileError(f"out must not be the folder of the labels, got {out}", "choose a new folder")
    loaded = [_read_repaired(pair.labels, dims) for pair in pairs]
    task = _task(labels for labels, _ in loaded)
    lines: list[str] = []
    for pair, (values, done) in zip(pairs, loaded, strict=True):
        values, more = _repair(values, task)
        with open_image(pair.image, dims=dims) as image:
            write_labels(folder / f"{pair.name}.tif", values, pixel_size_um=image.pixel_size_um)
        if done + more:
            lines.append(f"{describe(pair.labels)}: {', '.join(done + more)}")
    return [*lines, f"{len(pairs)} label file(s) written to {folder}, {len(lines)} of them repaired"]


@contextmanager
def _noted(findings: list[Finding], where: str = "") -> Iterator[None]:
    """Turn an error into a finding about `where`, or about the place that the error names."""
    try:
        yield
    except ContractileError as error:
        findings.append(Finding("error", where or error.where, error.problem, error.cure))


def _find_each(place: str | Path, dims: int, findings: list[Finding]) -> list[Source]:
    """The sources at a place. A file that cannot be opened becomes a finding."""
    sources: list[Source] = []
    with _noted(findings, str(place)):
        for path in list_files(place):
            with _noted(findings, str(path)):
                sources += find(path, dims=dims)
    return sources


def _look_at_images(
    sources: Sequence[Source], dims: int, findings: list[Finding], spots: list[Spot]
) -> dict[Source, Seen]:
    seen: dict[Source, Seen] = {}
    first: dict[bytes, str] = {}
    for source in sources:
        where = describe(source)
        with _noted(findings, where):
            image = read(source, dims=dims)
            digest = _digest(image.pixels)
            seen[source] = Seen(image.shape, str(image.dtype), digest, image.pixel_size_um)
            spots += _faults_of_pixels(image.pixels, where)
            if first.setdefault(digest, where) != where:
                spots.append(Spot("duplicate", where, first[digest]))
    spots += _compare(seen)
    return seen


def _digest(array: NDArray[Any]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(array).data, key=str(array.shape).encode(), digest_size=16).digest()


def _faults_of_pixels(pixels: NDArray[Any], where: str) -> Iterator[Spot]:
    for number, channel in enumerate(pixels):
        high = channel.max()
        if channel.min() == high:
            yield Spot("constant", where, str(number))
            continue
        share = float(np.mean(channel == high))
        if share > SATURATED and (pixels.dtype.kind == "f" or int(high) in LIMITS):
            yield Spot("saturated", where, f"{share:.0%}")


def _compare(seen: dict[Source, Seen]) -> Iterator[Spot]:
    """Images of a dataset must be of one kind. Where they are of several, one of the rarest kind is named."""
    kinds = {
        "channels": {source: str(one.shape[0]) for source, one in seen.items()},
        "types": {source: one.dtype for source, one in seen.items()},
    }
    for kind, values in kinds.items():
        counts = Counter(values.values()).most_common()
        if len(counts) > 1:
            rare = next(source for source, value in values.items() if value == counts[-1][0])
            yield Spot(kind, describe(rare), ", ".join(f"{n} x {value}" for value, n in counts))
    sizes = {source: one.pixel_size_um for source, one in seen.items() if one.pixel_size_um}
    if sizes:
        ordered = sorted(sizes.items(), key=lambda item: item[1])
        (_, low), (source, high) = ordered[0], ordered[-1]
        if any(b > ALIKE * a for a, b in zip(low, high, strict=True)):
            yield Spot("pixel sizes", describe(source), f"{low[-1]:.4g} to {high[-1]:.4g}")


def _look_at_labels(
    pairs: Sequence[Pair], dims: int, seen: dict[Source, Seen], findings: list[Finding], spots: list[Spot]
) -> None:
    good: list[tuple[str, NDArray[np.int32]]] = []
    first: dict[bytes, Pair] = {}
    for pair in pairs:
        where = describe(pair.labels)
        with _noted(findings, where):
            labels = read_labels(pair.labels, dims=dims)
            image = seen.get(pair.image)
            if image is not None and image.shape[1:] != labels.shape:
                spots.append(Spot("size", where, f"{image.shape[1:]} and {labels.shape}"))
            greys = count_greys(labels)
            if greys:
                spots.append(Spot("picture" if cut_greys(labels) is None else "grey", where, str(greys)))
                continue
            good.append((where, labels))
            twin = first.setdefault(_digest(labels), pair)
            if twin is not pair and (labels > 0).any() and not _same_image(seen, twin, pair):
                spots.append(Spot("duplicate labels", where, describe(twin.labels)))
    if len(pairs) == 1:
        spots.append(Spot("few", describe(pairs[0].labels), "1"))
    spots += _faults_of_labels(good)


def _same_image(seen: dict[Source, Seen], one: Pair, other: Pair) -> bool:
    a, b = seen.get(one.image), seen.get(other.image)
    return a is not None and b is not None and a.digest == b.digest


def _faults_of_labels(good: Sequence[tuple[str, NDArray[np.int32]]]) -> Iterator[Spot]:
    values = sorted({int(value) for _, labels in good for value in np.unique(labels) if value >= 0})
    if len(values) < 2:
        yield from [Spot("one value", where, str(values[0] if values else "-1 (ignored)")) for where, _ in good[:1]]
        return
    task = _task(labels for _, labels in good)
    for where, labels in good:
        found = np.unique(labels)
        if len(found) == 1 and found[0] >= 0:
            yield Spot("empty", where, str(found[0]))
        if found[0] < 0:
            yield Spot("ignored", where, f"{np.mean(labels < 0):.0%}")
        if task == "objects":
            yield from _faults_of_objects(labels, where)
        elif len(values) == 2:
            yield Spot("mask", where)
            specks = find_specks(find_pieces(labels))
            if len(specks):
                yield Spot("specks", where, str(len(specks)))


def _faults_of_objects(labels: NDArray[np.int32], where: str) -> Iterator[Spot]:
    pieces = find_pieces(labels)
    split = find_split(pieces)
    if split:
        yield Spot("split", where, ", ".join(str(number) for number in split[:5]))
    specks = find_specks(pieces)
    if len(specks):
        yield Spot("specks", where, str(len(specks)))
    numbers = np.unique(labels[labels > 0])
    if numbers.size and numbers[-1] != numbers.size:
        yield Spot("gaps", where, f"{numbers.size} numbers up to {numbers[-1]}")


def _task(labels: Iterable[NDArray[np.int32]]) -> str:
    """objects, classes, or mask (two classes), by the rule that training uses."""
    meaning = find_meaning(labels)
    return "mask" if len(meaning.class_values) == 2 else meaning.task


def _read_repaired(source: Source, dims: int) -> tuple[NDArray[np.int32], list[str]]:
    """Labels, and what had to be done to the file so that it could be read as labels."""
    try:
        labels = read_labels(source, dims=dims)
        done: list[str] = []
        values: NDArray[Any] = labels
    except ContractileError as error:
        pixels = read(source, dims=dims).pixels
        if pixels.shape[0] > 1 and (pixels != pixels[:1]).any():
            raise error
        values = pixels[0]
        done = ["colour made grey"] if pixels.shape[0] > 1 else []
        labels = values.astype(np.int32)
        if not count_greys(values) and (labels != values).any():
            raise error
    if not count_greys(values):
        return labels, done
    cut = cut_greys(values)
    if cut is None:
        raise ContractileError("grey values without two clear levels", "draw the mask again", where=describe(source))
    return cut, [*done, f"{len(np.unique(values))} grey values cut in two"]


def _repair(labels: NDArray[np.int32], task: str) -> tuple[NDArray[np.int32], list[str]]:
    done: list[str] = []
    if task in ("objects", "mask"):
        labels, count = remove_specks(labels)
        done += [f"{count} speck(s) removed"] if count else []
    if task == "objects":
        labels, count = separate_split(labels)
        done += [f"{count} number(s) of several pieces split"] if count else []
    return labels, done
