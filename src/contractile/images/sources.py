"""Places where images are (a folder, a glob, a file, a stack of pages) -> one Source per image."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from contractile.errors import ContractileError, NotFound
from contractile.images.axes import Layout, arrange
from contractile.images.drawings import Numbering
from contractile.images.formats import PICTURES, SUPPORTED, kind_of, misnamed, open_rasters, refusal
from contractile.images.gate import check_pages
from contractile.images.image import Stack
from contractile.images.naming import Guess, check_axes, fit_to_labels
from contractile.images.notes import say
from contractile.images.npy import pickled
from contractile.images.raster import Raster, one_clear_line
from contractile.images.shape_files import numbering_of, shape_kind
from contractile.images.zarr_metadata import is_zarr


@dataclass(frozen=True, slots=True)
class Drawn:
    """Labels that are drawn from the shapes in a file: those of its image number `entry`, which lie `on` an image."""

    entry: int = 0
    on: Source | None = None
    numbering: Numbering = field(default_factory=Numbering)


@dataclass(frozen=True, slots=True)
class Source:
    """One image on disk.

    `page` counts the images in a file from 0; it is None for a file with a single image. `name` is the stem of the
    file, followed by the page where there is one: `stack_0007`. `axes` are the letters that somebody gave for the axes
    of the file; None leaves them to what the file says. `stack` says what the pages of the file are. `guess` is how
    the axes are read where the file does not name them and nobody else does. Where several files hold one image they
    are the `parts`, and `path` is the first: of an image each holds channels, of labels each holds one object. Labels
    that a file holds as shapes are `drawn`.
    """

    name: str
    path: Path
    page: int | None = None
    axes: str | None = None
    stack: Stack | None = None
    guess: Guess | None = field(default=None, compare=False)
    parts: tuple[Path, ...] = ()
    drawn: Drawn | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The file, or all parts."""
        return self.parts or (self.path,)

    @property
    def stem(self) -> str:
        """The name without the page: that of the file, or of all parts."""
        return self.name if self.page is None else self.name.removesuffix(f"_{self.page:04d}")


def find(
    where: str | Path | Sequence[str | Path],
    *,
    dims: int = 2,
    axes: str | None = None,
    labels: bool = False,
    quiet: bool = False,
) -> list[Source]:
    """The images at a folder, glob, file, or list of those, in natural order (t2 before t10).

    With `dims` 2 each plane of a stack is an image; with 3 each volume is one. TIFFs are opened to count their pages.
    A truncated one is found here only where that costs nothing; `read` finds all. A set of files that holds one image
    is listed once.

    `axes` has a letter for each axis of the files, in order, such as "YXC" or "TZCYX". It wins over what the files say
    and over a guess. Files without channels, without pages, or without both may miss these axes. With `labels` no axis
    is guessed to be channels. A guess that may be wrong is logged as a warning, one for all files alike; with `quiet`
    the caller does so (`say_guesses`), once it has looked for evidence (`settle_axes`).

    Raises NotFound where nothing is there, and ContractileError for an empty folder, a format that is not read, a
    truncated file, too many pages, `axes` that do not fit, or axes that make no image of `dims` dimensions.
    """
    axes = None if axes is None else check_axes(axes)
    sources: list[Source] = []
    held: set[Path] = set()
    notes: dict[str, list[Path]] = {}
    for path in list_files(where):
        if held and path.resolve() in held:
            continue
        found = _look_into(path, dims, axes, labels)
        sources += found.sources
        held.update(file.resolve() for file in found.files)
        for note in found.notes:
            notes.setdefault(note, []).append(path)
    for note, paths in notes.items():
        say(note, paths)
    if not quiet:
        say_guesses(sources)
    return sources


def say_guesses(sources: Sequence[Source]) -> None:
    """Log a warning for each way in which files without named axes are read, where they may mean something else."""
    kinds: dict[str, dict[Path, Guess]] = {}
    last: Guess | None = None  # all pages of a file have one
    for source in sources:
        if source.guess is not None and source.guess is not last and source.guess.is_open:
            kinds.setdefault(source.guess.axes, {})[source.path] = source.guess
        last = source.guess
    for files in kinds.values():
        say(str(next(iter(files.values()))), list(files))


def settle_axes(image: Source, labels: Source, *, dims: int = 2) -> str | None:
    """The axes that make the file of `image` fit the shape of the file of `labels`, for both files.

    An image (2, Y, X) with labels (Y, X) is CYX, one (Y, X, 5) is YXC; with labels of its own shape it has pages and no
    channels. None where the image's file names its axes, somebody gave them, or the shapes do not fit either way.
    """
    if image.guess is None or labels.drawn is not None:
        return None
    with open_rasters(labels.path, dims=dims, indices=True, axes=labels.axes) as rasters:
        if len(rasters) != 1:
            return None
        truth = rasters[0]
        return fit_to_labels(image.guess, truth.axes, truth.lengths)


def list_files(where: str | Path | Sequence[str | Path], *, shapes: bool = False) -> list[Path]:
    """The files that `find` looks into, not opened; with `shapes` also files of shapes, which are labels.

    Raises as `find` does for places, not for what files hold.
    """
    places = [where] if isinstance(where, str | Path) else list(where)
    if not places:
        raise ContractileError("where must name at least one folder or file, got an empty list", "give one")
    paths: list[Path] = []
    for place in places:
        with one_clear_line(Path(place)):
            paths += _files_at(place, shapes)
    kinds = {
        path: None if shapes and shape_kind(path) else pickled(path) for path in paths if path.suffix.lower() == ".npy"
    }
    kept = [path for path in paths if not kinds.get(path) and not _is_litter(path)]
    if not kept:
        return paths  # whoever opens them says what they are
    for kind in sorted({kind for kind in kinds.values() if kind}):
        say(f"skipped: {kind}, not an image", [path for path in kinds if kinds[path] == kind])
    return kept


def settle_shapes(
    images: Sequence[Source], labels: Sequence[Source], *, task: str | None = None, classes: Sequence[str] = ()
) -> list[Source]:
    """The labels of these images, in which shapes know their image and the numbers that are drawn (`find_numbering`).

    `task` is "objects" or "classes" where somebody settled it, and `classes` are the names of the classes 1 ... K that
    a model knows. Labels that are learned from together are settled together, so that a class has one number in all of
    them. Raises as `open_shapes`.
    """
    files = [(one.path, one.drawn.entry) for one in labels if one.drawn is not None]
    numbering = numbering_of(files, task=task)
    if classes and numbering.classes:
        numbering = replace(numbering, classes=tuple(classes))
    return [
        one if one.drawn is None else replace(one, drawn=replace(one.drawn, on=image, numbering=numbering))
        for image, one in zip(images, labels, strict=True)
    ]


def _is_litter(path: Path) -> bool:
    """Whether an operating system left the file there."""
    return path.name.startswith("._") or path.name.lower() in ("thumbs.db", "desktop.ini", ".ds_store")


def stem(path: Path) -> str:
    """The name of a file without the suffixes of its format: a.ome.tif -> a. A folder keeps all but .zarr."""
    suffix = r"\.zarr" if path.suffix.lower() not in SUPPORTED and os.path.isdir(path) else r"\.[^.]+"
    return re.sub(rf"(\.ome)?{suffix}$", "", path.name, flags=re.IGNORECASE) or path.name


def natural(path: Path) -> list[tuple[int, int, str]]:
    """A key that sorts digits as numbers."""
    parts = re.split(r"(\d+)", str(path))
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part.lower()) for part in parts]


def _files_at(place: str | Path, shapes: bool) -> list[Path]:
    path = Path(os.path.expanduser(place))
    if os.path.isdir(path) and not is_zarr(path):  # unlike the methods of Path, never raises
        return _files_in(path, shapes)
    if os.path.lexists(path):
        return [path]
    if not glob.has_magic(str(place)):
        raise NotFound("nothing there", "check the spelling and the working folder", where=place)
    matches = [Path(match) for match in glob.glob(_pattern(path), recursive=True)]
    if not matches:
        raise NotFound("no file matches", "check the pattern and the working folder", where=place)
    readable = _images_among(matches, shapes)
    if not readable:
        raise refusal(sorted(matches, key=natural)[0]).at(place)
    return readable


def _pattern(path: Path) -> str:
    """A path as a pattern, in which the folders that are there stand for themselves: `exp [1]/*.tif`."""
    there = next((parent for parent in path.parents if os.path.isdir(parent)), None)
    if there is None:
        return str(path)
    return os.path.join(glob.escape(str(there)), path.relative_to(there))


def _files_in(folder: Path, shapes: bool) -> list[Path]:
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    readable = _images_among(entries, shapes)
    if readable:
        return readable
    if not entries:
        what = "labels" if shapes else "images"
        raise ContractileError("the folder is empty", f"give the folder that holds the {what}", where=folder)
    folders = sorted(entry.name for entry in entries if entry.is_dir())
    if folders:
        problem = f"no image in it, only folders ({', '.join(folders[:3])})"
        raise ContractileError(problem, "give one of those", where=folder)
    [(suffix, count)] = Counter(entry.suffix for entry in entries).most_common(1)
    error = refusal(min((entry for entry in entries if entry.suffix == suffix), key=natural))
    raise ContractileError(f"no image in it, only {count} file(s): {error.problem}", error.cure, where=folder)


def _images_among(paths: Sequence[Path], shapes: bool) -> list[Path]:
    """Those that may be images, by their suffix, in natural order; with `shapes` also those that hold shapes."""

    def is_chosen(path: Path) -> bool:
        if path.is_dir():
            return is_zarr(path)
        return path.suffix.lower() in SUPPORTED or (shapes and shape_kind(path) is not None)

    return sorted(filter(is_chosen, paths), key=natural)


@dataclass(frozen=True)
class _Found:
    """The images in a file, all files that hold pixels of them, and what to tell about them."""

    sources: list[Source]
    files: tuple[Path, ...]
    notes: tuple[str, ...]


def _look_into(path: Path, dims: int, axes: str | None, labels: bool) -> _Found:
    name = stem(path)
    kind = kind_of(path)
    if kind in PICTURES:  # one page each
        note = misnamed(path, kind)
        return _Found([Source(name, path, axes=axes)], (), (note,) if note else ())
    with open_rasters(path, dims=dims, indices=labels, axes=axes) as rasters:
        layouts = [arrange(one.axes, one.lengths, dims=dims, file=str(path)) for one in rasters]
    pages = sum(layout.pages for layout in layouts)
    check_pages(pages, path)
    guess = Guess(rasters[0].lengths, rasters[0].axes) if len(rasters) == 1 and rasters[0].guessed else None
    source = Source(name, path, None, axes, _stack(rasters, layouts), guess)
    sources = (
        [source]
        if pages == 1
        else [Source(f"{name}_{page:04d}", path, page, axes, source.stack, guess) for page in range(pages)]
    )
    files = tuple(file for raster in rasters for file in raster.files)
    return _Found(sources, files, tuple(dict.fromkeys(note for raster in rasters for note in raster.notes)))


def _stack(rasters: Sequence[Raster], layouts: Sequence[Layout]) -> Stack | None:
    """What the pages of a file are. Several images of the same kind are pages without a name."""
    stacks = {_stack_of(raster, layout) for raster, layout in zip(rasters, layouts, strict=True)}
    if len(stacks) > 1 or len({layout.shape for layout in layouts}) > 1:
        return None
    (stack,) = stacks
    if len(rasters) == 1:
        return stack
    stack = stack or Stack("", ())
    return replace(stack, axes=f"Q{stack.axes}", lengths=(len(rasters), *stack.lengths))


def _stack_of(raster: Raster, layout: Layout) -> Stack | None:
    places = counting_axes(raster, layout)
    return stack_along(raster, places) if places else None


def counting_axes(raster: Raster, layout: Layout) -> list[int]:
    """The places of the axes that count pages."""
    return [place for place in layout.page_axes if raster.lengths[place] > 1]


def stack_along(raster: Raster, places: Sequence[int]) -> Stack:
    """What is counted along the axes at these places."""
    axes = "".join(raster.axes[place] for place in places)
    interval = raster.interval_s if "T" in axes else None
    spacing = raster.scale.get("Z") if "Z" in axes else None
    return Stack(axes, tuple(raster.lengths[place] for place in places), interval, spacing)
