"""Which letters the axes of an array get: those that somebody gives, those of its file, or a guess.

Letters given by a person (`--axes YXC`), a model card, or the shape of a label file win over the file and over a guess.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from contractile.errors import ContractileError
from contractile.images.axes import guess_axes
from contractile.images.photometric import OPAQUE_NOT, TRANSPARENT
from contractile.images.raster import Raster

PLANES = "its samples of a colour are read as planes of a volume"
OF_ALPHA = (OPAQUE_NOT, TRANSPARENT)
OPEN_PAGES = 16  # more pages than this are hardly channels
EXAMPLES = "such as YXC, CYX, TZCYX (C channels, Z planes, T or Q pages)"


@dataclass(frozen=True)
class Guess:
    """How an array whose file does not name its axes is read: a letter for each of its `lengths`."""

    lengths: tuple[int, ...]
    axes: str

    @property
    def is_open(self) -> bool:
        """Whether somebody could well mean something else by this shape."""
        named = [(letter, n) for letter, n in zip(self.axes, self.lengths, strict=True) if letter not in "YX" and n > 1]
        if [letter for letter, _ in named] == ["Q"] and self.axes[0] == "Q":
            return named[0][1] <= OPEN_PAGES
        return bool(named) and self.axes != "ZYX"

    def agrees(self, axes: str) -> bool:
        """Whether these letters read the same images: axes of one without a side of the image do not count."""
        sides = zip(self.axes, axes, self.lengths, strict=True)
        return all(one == other or (n == 1 and not {one, other} & set("ZYX")) for one, other, n in sides)

    def __str__(self) -> str:
        """`shape (96, 96, 5) is read as Y, X and 5 channels; --axes YXQ reads it as 5 pages of Y, X`."""
        read, other = _in_words(self.axes, self.lengths), _in_words(self.other, self.lengths)
        return f"shape {self.lengths} is read as {read}; --axes {self.other} reads it as {other}"

    @property
    def other(self) -> str:
        """What the shape may be as well: pages instead of channels, or channels instead of the shortest of pages."""
        if set("CS") & set(self.axes):
            return self.axes.replace("C", "Q").replace("S", "Q")
        if "Q" not in self.axes:
            return "ZYX" if self.axes == "YXZ" else "YXZ"
        pages = [place for place, letter in enumerate(self.axes) if letter == "Q"]
        shortest = min(pages, key=lambda place: self.lengths[place])
        return f"{self.axes[:shortest]}C{self.axes[shortest + 1 :]}"


def _in_words(axes: str, lengths: tuple[int, ...]) -> str:
    """`12 pages of Y, X and 3 channels`."""
    space = ", ".join(letter for letter in axes if letter in "ZYX")
    pages = math.prod(n for letter, n in zip(axes, lengths, strict=True) if letter not in "CSZYX")
    channels = math.prod(n for letter, n in zip(axes, lengths, strict=True) if letter in "CS")
    words = f"{pages} pages of {space}" if pages > 1 else space
    return f"{words} and {channels} channels" if channels > 1 else words


def check_axes(axes: str) -> str:
    """The letters in capitals. Raises ContractileError where they cannot be the axes of an image."""
    letters = axes.upper()
    once = all(letters.count(letter) <= 1 for letter in set(letters) - {"Q"})
    channels = sum(letters.count(letter) for letter in "CS")
    if letters.isascii() and letters.isalpha() and once and channels <= 1 and {"Y", "X"} <= set(letters):
        return letters
    problem = (
        f"axes must hold one Y, one X, at most one C and no letter twice (pages without a name are Q), got {axes!r}"
    )
    raise ContractileError(problem, f"give one letter for each axis of the files, {EXAMPLES}")


def name_axes(
    raster: Raster, axes: str | None, *, dims: int, file: str, pages_first: bool = False, labels: bool = False
) -> Raster:
    """The raster with the letters `axes`, or with a guess where neither `axes` nor its file names its axes.

    Raises ContractileError where `axes` does not fit the array.
    """
    if raster.guessed and "SYX" in raster.axes:  # tifffile writes three or four pages like this when they have no names
        raster = _as_pages(raster, dims=dims, labels=labels)
    elif raster.guessed:
        try:
            guess = guess_axes(raster.lengths, dims=dims, file=file, pages_first=pages_first, labels=labels)
        except ContractileError:
            if axes is None:
                raise
            guess = "Q" * len(raster.lengths)
        raster = _renamed(replace(raster, guessed=True), guess)
    if axes is None:
        return raster
    letters = _fitting(check_axes(axes), raster, labels)
    if letters is None:
        own = "" if raster.guessed else f" and axes {raster.axes} of its own"
        problem = f"axes {axes} must name each axis of the array, which has shape {raster.lengths}{own}"
        raise ContractileError(problem, f"give {len(raster.lengths)} letters, {EXAMPLES}", where=file)
    return replace(_renamed(raster, letters), guessed=False)


def note_on_picture(axes: str | None, own: str) -> tuple[str, ...]:
    """What to tell about `axes` that somebody gives for a picture whose `own` are known: YX, or YXS of a colour one."""
    given, known = set((axes or "").replace("S", "C")), set(own.replace("S", "C"))
    if axes is None or ((given <= known or known <= given) and axes.index("Y") < axes.index("X")):
        return ()
    return (f"axes {axes} do not fit a picture, whose axes are {own}: it is read by its own",)


def fit_to_labels(guess: Guess, axes: str, lengths: tuple[int, ...]) -> str | None:
    """The axes of an image without names when its labels have these `axes` and `lengths`; None where nothing fits.

    Labels of the same shape have the same axes. Labels with one axis less show which axis of the image is channels.
    Samples of colour in the labels do not count.
    """
    pages = axes.replace("C", "Q")  # labels have no channels
    known = [(one, n) for one, n in zip(pages, lengths, strict=True) if one != "S" and (n > 1 or one in "YX")]
    sides = [n for _, n in known]
    long = [place for place, n in enumerate(guess.lengths) if n > 1] if len(guess.lengths) > len(known) else []
    long = long if len(long) >= len(known) else list(range(len(guess.lengths)))
    found = [guess.lengths[place] for place in long]
    letters = [letter for letter, _ in known]
    if found != sides:
        channels = [i for i in range(len(found)) if found[:i] + found[i + 1 :] == sides]
        if not channels:
            return None
        guessed = [i for i in channels if guess.axes[long[i]] in "CS"]
        letters.insert((guessed or channels)[0], "C")
    named = dict(zip(long, letters, strict=True))
    return "".join(named.get(place, "Q") for place in range(len(guess.lengths)))


def _as_pages(raster: Raster, *, dims: int, labels: bool) -> Raster:
    """Samples as pages, where there can be no colours: labels have none, and a volume of one pixel is nothing."""
    if dims == 3 and raster.axes == "SYX":
        planes = _renamed(raster, "ZYX")
        return planes if labels else replace(planes, notes=(*planes.notes, PLANES))
    return _renamed(raster, raster.axes.replace("S", "Q")) if labels else raster


def _renamed(raster: Raster, axes: str) -> Raster:
    """The raster with other letters. Its transparency stays only where its samples still are channels."""
    old, new = (next((place for place, one in enumerate(it) if one in "CS"), None) for it in (raster.axes, axes))
    if old == new:
        return replace(raster, axes=axes)
    return replace(raster, axes=axes, alpha=0, notes=tuple(one for one in raster.notes if one not in OF_ALPHA))


def _fitting(axes: str, raster: Raster, labels: bool) -> str | None:
    """The letters of the raster's axes when the axes of the files are `axes`; None where they do not fit."""
    own, count = raster.axes, len(raster.lengths)
    named, given = set(own.replace("S", "C")), set(axes.replace("S", "C"))
    if "S" in own and named == given:
        return own  # the samples of a pixel lie where the file has them
    if count == len(axes):
        return axes
    if not raster.guessed and (named <= given or given <= named):
        return own
    long = [place for place, n in enumerate(raster.lengths) if n > 1 or own[place] in "YX"]
    if len(long) == len(axes) < count:
        letters = dict(zip(long, axes, strict=True))
        return "".join(letters.get(place, "Q") for place in range(count))
    shorter = [one for one in _without_some(axes) if len(one) == count]
    alike = [one for one in shorter if not labels and ("C" in one) == ("C" in own)]
    return next(iter((*alike, *shorter)), None)


def _without_some(axes: str) -> list[str]:
    """The axes of labels and grey pictures (no channels), of single images (no pages), and of both."""
    kept = (set(axes) - set("CS"), set("CSZYX"), set("ZYX"), set("YX"))
    return ["".join(letter for letter in axes if letter in some) for some in kept]
