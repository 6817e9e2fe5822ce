"""Labels of frames -> tracks by overlap, and the result folder of the Cell Tracking Challenge.

An object goes on with the track of the object that it overlaps most in the frame before, where they share more than
half of the smaller one. Where several objects follow one, it has divided: its track ends, and each begins a new one.
Masks are named mask000.tif ...; a line of `res_track.txt` is the number of a track, its first and its last frame, and
the number of the track that it came from, or 0 (https://celltrackingchallenge.net, "Naming and file content
conventions").
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.images import write_labels
from contractile.images.image import Size
from contractile.images.series import Series
from contractile.storage import replacing

MOST = 2**16 - 1  # masks have 16 bits
FRAME = re.compile(r"(\d+)(?!.*\d)")
TIMES = ("T", "Q")  # axes of pages that are one film; Q are pages without a name


@dataclass(frozen=True)
class Track:
    """One object through the frames `first` to `last`; `parent` is the track that it came from, 0 without one."""

    number: int
    first: int
    last: int
    parent: int = 0

    def __str__(self) -> str:
        return f"{self.number} {self.first} {self.last} {self.parent}"


class Tracker:
    """Gives the objects of one frame after the other the numbers of their tracks."""

    def __init__(self) -> None:
        self.tracks: dict[int, Track] = {}
        self._frame = -1
        self._before: NDArray[np.int32] | None = None

    def add(self, labels: NDArray[np.int32], frame: int) -> NDArray[np.int32]:
        """The labels (*S) of a frame with the numbers of tracks. Frames come in order; after a gap all tracks are new.

        Raises ContractileError for a frame of another size, and where there are more tracks than masks can number.
        """
        before = self._before if frame == self._frame + 1 else None
        if before is not None and before.shape != labels.shape:
            problem = f"frames must have one size, got {labels.shape} after {before.shape}"
            raise ContractileError(problem, "crop them, or predict the sequences apart")
        follows = {} if before is None else _follow(labels, before)
        followers = Counter(follows.values())
        numbers = np.zeros(int(labels.max(initial=0)) + 1, np.int32)
        for one in np.unique(labels[labels > 0]).tolist():
            parent = follows.get(one, 0)
            if followers[parent] == 1:
                numbers[one] = parent
                self.tracks[parent] = replace(self.tracks[parent], last=frame)
            else:
                numbers[one] = len(self.tracks) + 1
                self.tracks[len(self.tracks) + 1] = Track(len(self.tracks) + 1, frame, frame, parent)
        if len(self.tracks) > MOST:
            raise ContractileError(
                f"a result of the Cell Tracking Challenge has at most {MOST} tracks, got {len(self.tracks)}",
                "predict fewer frames at a time",
            )
        self._frame, self._before = frame, numbers[labels]
        return self._before


def _follow(labels: NDArray[np.int32], before: NDArray[np.int32]) -> dict[int, int]:
    """Object -> the track that it overlaps most, where they share more than half of the smaller one."""
    shared = (labels > 0) & (before > 0)
    pairs, counts = np.unique(np.stack([labels[shared], before[shared]], axis=1), axis=0, return_counts=True)
    size, size_before = np.bincount(labels[labels > 0]), np.bincount(before[before > 0])
    found: dict[int, int] = {}
    for index in np.argsort(-counts, kind="stable"):
        one, other = map(int, pairs[index])
        if one not in found and 2 * counts[index] > min(size[one], size_before[other]):
            found[one] = other
    return found


class Movie:
    """The result folder of one sequence of frames: those of a stack, or of all image files in one folder."""

    def __init__(self, folder: Path, series: Sequence[Series]) -> None:
        self.folder = folder
        self._tracker = Tracker()
        numbers = {one.name: _frames(one, alone=len(series) == 1) for one in series}
        every = [frame for frames in numbers.values() for frame in frames]
        if len(set(every)) < len(every):
            names = ", ".join(one.path.name for one in series[:3])
            problem = f"frames must have numbers of their own, got {names} ..."
            raise ContractileError(problem, "name the files t000.tif, t001.tif ...", where=series[0].path.parent)
        digits = max(3, len(str(max(every))))
        self.frames = {
            name: {frame: folder / f"mask{frame:0{digits}d}.tif" for frame in frames}
            for name, frames in numbers.items()
        }
        self.table = folder / "res_track.txt"
        self.last = max(numbers, key=lambda name: max(numbers[name]))

    def files(self, name: str) -> list[Path]:
        """The masks of one series; those of the last one with the table of all tracks."""
        return [*self.frames[name].values(), *([self.table] if name == self.last else [])]

    def write(self, name: str, pages: Sequence[NDArray[np.int32]], sizes: Sequence[Size]) -> None:
        """Write the masks of one series, and the table of tracks so far. Series come in the order of their frames.

        Raises as `Tracker.add`, NotWritten and NotWritable.
        """
        for (frame, file), labels, size in zip(self.frames[name].items(), pages, sizes, strict=True):
            numbered = self._tracker.add(np.asarray(labels), frame)
            write_labels(file, numbered, pixel_size_um=size, count=MOST)
        with replacing(self.table) as partial:
            partial.write_text("".join(f"{track}\n" for track in self._tracker.tracks.values()), encoding="ascii")


def _frames(series: Series, *, alone: bool) -> list[int]:
    """The numbers of the frames of a series: its pages, or the number in the name of its file."""
    if alone or len(series.pages) > 1:
        return list(range(len(series.pages)))
    match = FRAME.search(series.name)
    if match is None:
        problem = "frames must have a number in their names"
        raise ContractileError(problem, "name the files t000.tif, t001.tif ...", where=series.path)
    return [int(match[1])]


def _check_times(series: Series) -> None:
    """Raise ContractileError where neighbouring pages may be planes or images of their own."""
    axes = series.stack.axes if series.stack else "Q"
    if axes in TIMES:
        return
    cure = "save each image as a file of its own"
    if "Z" in axes:
        cure = "use a model that was trained with --dims 3: it takes the planes of one time as one volume"
    if axes == "Z":
        cure += "; if the planes are times, name the axes of the file (--axes TYX)"
    problem = f"the pages of a stack must be times (T) to be tracked (ctc), got {axes}"
    raise ContractileError(problem, cure, where=series.path)


def in_order(series: Sequence[Series], movies: Mapping[str, Movie]) -> list[Series]:
    """Series movie by movie, each in the order of its frames, whatever the order in which they were given."""
    ranks = {id(movie): rank for rank, movie in enumerate(movies.values())}
    return sorted(series, key=lambda one: (ranks[id(movies[one.name])], min(movies[one.name].frames[one.name])))


def plan_movies(series: Sequence[Series], out: Path) -> dict[str, Movie]:
    """The movie of each series, by its name: stacks are movies of their own, the files in one folder are one movie.

    A folder 01 gives 01_RES, and so does a stack 01.tif. Raises ContractileError for stacks whose pages are no times,
    and for frames without a number, or with the same one.
    """
    groups: dict[Path, list[Series]] = {}
    movies: dict[str, Movie] = {}
    for one in series:
        if len(one.pages) > 1:
            _check_times(one)
            movies[one.name] = Movie(out / f"{one.name}_RES", [one])
        else:
            groups.setdefault(one.path.parent, []).append(one)
    for folder, frames in groups.items():
        name = folder.resolve().name if len(frames) > 1 else frames[0].name
        movie = Movie(out / f"{name}_RES", frames)
        movies |= {one.name: movie for one in frames}
    return movies
