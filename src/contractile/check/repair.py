"""Repair the labels of a dataset: what needs no person."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.check.background import find_instead
from contractile.check.colours import SHOWN, apply_numbers, find_colours, list_numbers, number_colours
from contractile.check.fractions import can_mend, find_whole
from contractile.check.greys import count_greys, drop_stray, find_stray, mend_greys, name_greys
from contractile.check.large import Stored, count_up, take_apart
from contractile.check.objects import find_task, holds_pieces
from contractile.check.pieces import fill_outlines, remove_specks, separate_split
from contractile.check.tops import find_mixed
from contractile.dataset import Pair, pair_up
from contractile.errors import ContractileError
from contractile.images import Source, describe, open_image, read, read_labels, say_rest, write_labels
from contractile.images.folders import files_in
from contractile.images.names import some
from contractile.images.planes import name_channels
from contractile.labels import find_mark, without_mark
from contractile.storage import claimed

Place = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class Mended:
    """The labels (*S) of one file, and what was done to them.

    `codes` are colours that have no number yet, `stored` numbers beyond 32 bits that have no new one.
    """

    labels: NDArray[np.int32]
    done: tuple[str, ...] = ()
    codes: NDArray[np.int64] | None = None
    stored: Stored | None = None
    channels: int = 1


def fix_dataset(
    images: Place,
    labels: Place | None,
    out: str | Path,
    *,
    dims: int = 2,
    axes: str | None = None,
    ignore_label: int | None = None,
    overwrite: bool = False,
) -> list[str]:
    """Write the repaired labels of every image to the folder `out`, named like the image.

    Colours and fractions become numbers, smoothed masks are cut in two, numbers that were resized get full edges, a
    value in place of background becomes 0, outlines are filled, pieces of one number far apart get different numbers,
    and specks are removed. Without `labels` they are looked for among the `images`. Pixels with `ignore_label` become
    -1, which always means not annotated; without it, a value that looks like such a mark stays as it is. Returns one
    line per repaired file, one for the colours, and one at the end.

    Files of an earlier repair are replaced, unless they were changed since; what else is there only with `overwrite`.
    Raises as `pair_up`, as `check_place`, and ContractileError for labels that cannot be read; AlreadyThere where a
    file would be replaced that is not of an earlier repair, InUse where another process writes one of the files,
    NotWritten or NotWritable where one cannot be written.
    """
    out = Path(os.path.expanduser(out))
    pairs = pair_up(images, labels, dims=dims, axes=axes)
    sources = list(dict.fromkeys(file for pair in pairs for file in pair.files))
    _check_apart(out, sources)
    files = _name_files(pairs, out)
    with claimed(files, by="check", inputs=sources, overwrite=overwrite) as claim:
        mended = [_ignore(_read(pair.labels, dims, ignore_label), ignore_label) for pair in pairs]
        say_rest(sources)
        mended, large = _number_large(mended)
        mended, coloured = _number_colours(mended, [describe(pair.labels) for pair in pairs])
        lines = large + coloured
        mended = _mend_background(mended, named=ignore_label is not None)
        mended = _mend_masks(mended)
        mark = find_mark([np.unique(one.labels) for one in mended])
        marked = [one.labels == mark for one in mended]
        mended = _mend_classes([replace(one, labels=without_mark(one.labels, mark)) for one in mended])
        task, repaired = find_task(one.labels for one in mended), 0
        for pair, file, one, there in zip(pairs, files, mended, marked, strict=True):
            values, done = _mend_objects(one, task)
            if mark is not None:
                values = _put_back(values, mark, there)
            with claim.together():
                write_labels(file, values, pixel_size_um=_pixel_size(pair, dims))
            repaired += bool(done)
            lines += [f"{describe(pair.labels)}: {', '.join(done)}"] if done else []
    return [*lines, f"{len(pairs)} label file(s) written to {out}, {repaired} of them repaired"]


def check_place(images: Place, labels: Place | None, out: str | Path) -> None:
    """Raise ContractileError where `out` is the folder of the images or the labels, or holds it; opens no file.

    Repaired labels have the names of their images: they would take their place.
    """
    sources: list[Path] = []
    for place in (images, labels):
        with suppress(ContractileError):  # said by `pair_up`
            sources += [] if place is None else files_in(place)
    _check_apart(Path(os.path.expanduser(out)), sources)


def _check_apart(out: Path, sources: Sequence[Path]) -> None:
    places = {path.parent for path in sources}
    places = {place.resolve() for place in places} | {path.resolve().parent for path in sources}
    if any(place.is_relative_to(out.resolve()) for place in places):
        problem = f"out must not be the folder of the images or the labels, nor hold it, got {out}"
        raise ContractileError(problem, "choose a new folder")


def _name_files(pairs: Sequence[Pair], out: Path) -> list[Path]:
    """The file of each pair. Raises ContractileError where two have one."""
    owners: dict[Path, Pair] = {}
    for pair in pairs:
        other = owners.setdefault(out / f"{pair.name}.tif", pair)
        if other is not pair:
            problem = f"images must have different names, got {other.image.path} and {pair.image.path}"
            raise ContractileError(problem, "repair them into two folders")
    return list(owners)


def _pixel_size(pair: Pair, dims: int) -> tuple[float, ...] | None:
    with open_image(pair.image, dims=dims) as image:
        return image.pixel_size_um


def _read(source: Source, dims: int, ignore_label: int | None) -> Mended:
    """Labels of one file. Raises ContractileError for what cannot be made labels.

    Numbers beyond 32 bits are looked through for `ignore_label` here, before they get new ones.
    """
    try:
        values: NDArray[Any] = read_labels(source, dims=dims)
    except ContractileError as error:
        if source.drawn is not None:
            raise
        pixels = read(source, dims=dims).pixels  # raises again what concerns the file
        if name_channels(pixels):
            return Mended(pixels.argmax(axis=0).astype(np.int32), ("each pixel given the number of its largest plane",))
        codes = find_colours(pixels) if len(pixels) > 1 else None
        if codes is not None:
            return Mended(np.zeros(codes.shape, np.int32), codes=codes, channels=len(pixels))
        values = pixels[0]
        whole = np.array_equal(values, np.rint(values))
        if len(pixels) > 1 or not (whole or can_mend(values)):
            cure = "save the numbers of objects or classes as grey TIFF: nothing here can be mended"
            raise ContractileError(error.problem, cure, where=error.where) from error
        if whole:
            stored = take_apart(values, ignore_label)
            done = (_say_ignored(ignore_label),) if ignore_label != -1 and (values == ignore_label).any() else ()
            if stored.fits:
                return Mended(stored.numbered({value: value for value in stored.values}), done)
            return Mended(np.zeros(values.shape, np.int32), done, stored=stored)
        if found := find_whole(values):
            mended = _mend_values(found.values, source)
            return replace(mended, done=(found.done, *mended.done))
    return _mend_values(values, source)


def _ignore(one: Mended, ignore_label: int | None) -> Mended:
    """The same labels with -1 in place of `ignore_label`."""
    if ignore_label is None or ignore_label == -1 or one.codes is not None or one.stored is not None:
        return one
    if not (one.labels == ignore_label).any():
        return one
    labels = without_mark(one.labels, ignore_label)
    return replace(one, labels=labels, done=(*one.done, _say_ignored(ignore_label)))


def _say_ignored(ignore_label: int | None) -> str:
    return f"{ignore_label} made -1, not annotated"


def _put_back(labels: NDArray[np.int32], mark: int, there: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Labels with the `mark` in the pixels where it was; an object that was given that number gets another one."""
    numbers = np.where(labels == mark, labels.max() + 1, labels)
    return np.where(there, mark, numbers).astype(np.int32)


def _number_large(mended: Sequence[Mended]) -> tuple[list[Mended], list[str]]:
    """Give numbers beyond 32 bits new ones: objects in each file, classes in all files together, and say which."""
    if all(one.stored is None for one in mended):
        return list(mended), []
    stored = [one.stored or take_apart(one.labels) for one in mended]
    numbers = count_up(value for one in stored for value in one.values)
    if find_task(one.numbered(numbers) for one in stored) == "objects":
        return [one if one.stored is None else _anew(one, one.stored) for one in mended], []
    named = [f"{value} = {number}" for value, number in sorted(numbers.items()) if number > 0]
    pairs = zip(mended, stored, strict=True)
    done = [one if one.codes is not None else _anew(one, values, numbers) for one, values in pairs]
    return done, [f"numbers: {some(named, SHOWN)}"]


def _anew(one: Mended, stored: Stored, numbers: Mapping[int, int] | None = None) -> Mended:
    labels = stored.numbered(numbers or count_up(stored.values))
    return replace(one, labels=labels, done=(*one.done, "numbered anew"), stored=None)


def _mend_values(values: NDArray[Any], source: Source) -> Mended:
    """Cut a smoothed mask (*S) in two, give numbers that were resized full edges."""
    greys = count_greys(values)
    if not greys:
        return Mended(values.astype(np.int32))
    mended = mend_greys(values)
    if mended is None:
        raise ContractileError("grey values without two clear levels", "draw the mask again", where=describe(source))
    cut = name_greys(values) == "grey"
    done = f"{greys} grey values cut in two" if cut else "pixels in between given the nearest full number"
    return Mended(mended, (done,))


def _number_colours(mended: Sequence[Mended], places: Sequence[str]) -> tuple[list[Mended], list[str]]:
    """Give colours the same numbers in all files, and say which. `places` are those of the files.

    Raises ContractileError where files in colour and files of numbers hold classes: nothing says which belong together.
    """
    coloured = [one for one in mended if one.codes is not None]
    numbers = number_colours(one.codes for one in coloured if one.codes is not None)
    if not numbers:
        return list(mended), []
    result = []
    for one in mended:
        if one.codes is not None:
            labels = apply_numbers(one.codes, numbers)
            found = len(np.unique(labels))
            one = replace(one, labels=labels, done=(*one.done, f"{found} colours numbered"), codes=None)
        result.append(one)
    grey = [place for one, place in zip(mended, places, strict=True) if one.codes is None and (one.labels > 0).any()]
    values = {int(value) for one in mended if one.codes is None for value in np.unique(one.labels) if value > 0}
    several = len(numbers) > 2 or len(values) > 1
    if grey and several and find_task(one.labels for one in result) != "objects":
        first = next(place for one, place in zip(mended, places, strict=True) if one.codes is not None)
        problem = (
            f"labels of classes must be all in colour or all numbers, got colours in {first}, numbers in {grey[0]}"
        )
        cure = "repair the files in colour alone, which says their numbers; then give the other files the same ones"
        raise ContractileError(problem, cure)
    return result, [f"colours: {list_numbers(numbers, coloured[0].channels)}"]


def _mend_background(mended: Sequence[Mended], *, named: bool) -> list[Mended]:
    """Make the value that stands in place of background 0; `named` is that of `find_instead`."""
    instead = find_instead([one.labels for one in mended], named=named)
    if instead is None:
        return list(mended)
    result = []
    for one, share in zip(mended, instead.shares, strict=True):
        if share is not None:
            labels = np.where(one.labels == instead.value, 0, one.labels).astype(np.int32)
            one = replace(one, labels=labels, done=(*one.done, f"background {instead.value} made 0"))
        result.append(one)
    return result


def _mend_masks(mended: Sequence[Mended]) -> list[Mended]:
    """Make the white of all masks 1, where it is 1 in some of them."""
    white = find_mixed([np.unique(one.labels) for one in mended])
    if white is None:
        return list(mended)
    ones = [np.where(one.labels == white, 1, one.labels).astype(np.int32) for one in mended]
    done = [(f"{white} made 1",) if (one.labels == white).any() else () for one in mended]
    return [replace(m, labels=one, done=m.done + d) for m, one, d in zip(mended, ones, done, strict=True)]


def _mend_classes(mended: Sequence[Mended]) -> list[Mended]:
    """Take away values of class masks that lie only between two others."""
    if find_task(one.labels for one in mended) != "classes":
        return list(mended)
    stray = find_stray([one.labels for one in mended])
    result = []
    for one in mended:
        if np.isin(one.labels, stray).any():
            done = f"value(s) {', '.join(map(str, stray))} given the nearest other number"
            one = replace(one, labels=drop_stray(one.labels, stray), done=(*one.done, done))
        result.append(one)
    return result


def _mend_objects(one: Mended, task: str) -> tuple[NDArray[np.int32], list[str]]:
    """The labels with whole objects, each with a number of its own; and all that was done to them."""
    labels, done = one.labels, list(one.done)
    if task == "objects" or (task == "mask" and holds_pieces(labels)):
        labels, count = fill_outlines(labels)
        done += [f"{count} outline(s) filled"] if count else []
        labels, count = remove_specks(labels)
        done += [f"{count} speck(s) removed"] if count else []
    if task == "objects":
        labels, count = separate_split(labels)
        done += [f"{count} number(s) of several pieces split"] if count else []
    return labels, done
